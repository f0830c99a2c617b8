"""The `ovrecipe` command as a process, in a project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def ovrecipe(
    *words: str,
    cwd: Path,
    stdin: bytes | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command and return what it printed and its exit code; no traceback is ever fine."""
    done = subprocess.run(
        [sys.executable, "-m", "ovrecipe", *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=b"" if stdin is None else stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    assert b"Traceback" not in done.stderr + done.stdout, done.stderr.decode()
    return done


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return standard error, on one line, as a person would read it."""
    return " ".join(done.stderr.decode().split())
