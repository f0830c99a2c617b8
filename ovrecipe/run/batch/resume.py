"""Where a batch that was stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ovrecipe.errors import ProjectError
from ovrecipe.run.batch.lines import ADDED, is_openai


def answered_lines(output_path: Path, inputs: Iterator[tuple[int, str]]) -> int:
    """Return how many lines are answered already, having read as many of `inputs`.

    Half a line at the end of the output, which a kill leaves behind, is cut off.

    Raises:
        ProjectError: the output answers something else, or cannot be read.
    """
    try:
        count, whole_bytes = 0, 0
        with output_path.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                _check_pair(output_path, count + 1, line, next(inputs, None))
                count, whole_bytes = count + 1, whole_bytes + len(line)
        if output_path.stat().st_size > whole_bytes:
            os.truncate(output_path, whole_bytes)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise ProjectError(f"{output_path} cannot be read: {error.strerror}") from error
    return count


def _check_pair(output_path: Path, number: int, line: bytes, asked: tuple[int, str] | None) -> None:
    try:
        answer = json.loads(line)
        fits = asked is not None and _answers(answer, *asked)
    except ValueError:
        fits = False
    if not fits:
        raise ProjectError(
            f"{output_path}:{number}: is no answer to that line of the input",
            remedy="name another output, or remove this one to begin anew",
        )


def _answers(answer: Mapping[str, Any], number: int, text: str) -> bool:
    """Return whether a line of the output belongs to one of the input."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        return answer.get("line") == number
    if is_openai(given):
        return bool(answer.get("custom_id") == given.get("custom_id") and "response" in answer)
    kept = {key: value for key, value in given.items() if key not in ADDED}
    return bool(kept.items() <= answer.items()) if kept else answer.get("line") == number
