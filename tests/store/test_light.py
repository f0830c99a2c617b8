"""A build in which nothing changed asks the store a few stats; its imports have to be as light."""

from __future__ import annotations

import subprocess
import sys

PLANNING = (
    "ovrecipe.store.store",
    "ovrecipe.store.key",
    "ovrecipe.store.views",
    "ovrecipe.store.digests",
    "ovrecipe.store.pins",
)
HEAVY = {"filelock", "rich", "psutil", "shutil", "tempfile", "yaml", "asyncio", "difflib"}


def test_planning_imports_nothing_heavy() -> None:
    """The lock library alone costs four times the store's own modules."""
    added = modules_of(*PLANNING) - modules_of("ovrecipe.recipe.schema")
    assert not HEAVY & added


def modules_of(*names: str) -> set[str]:
    script = f"import sys, {', '.join(names)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())
