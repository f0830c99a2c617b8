"""Where a batch that was stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from ovrecipe.errors import ProjectError
from ovrecipe.run.batch.lines import is_openai, kept_of, written


def answered_lines(
    output_path: Path, inputs: Iterator[tuple[int, str]], *, input_path: Path | None = None
) -> tuple[int, Iterator[tuple[int, str]]]:
    """Return how many lines are answered already, and those of `inputs` that are not.

    Half a line at the end of the output, which a kill leaves behind, is cut off.

    Raises:
        ProjectError: the output answers something else, is the input, or cannot be read.
    """
    try:
        if input_path is not None and output_path.samefile(input_path):
            raise ProjectError(f"{output_path} is the input", remedy="name another output")
        count, whole_bytes = 0, 0
        with output_path.open("rb") as stream:
            for line in stream:
                asked = next(inputs, None)
                is_whole = line.endswith(b"\n")
                if asked is None or not (_answers if is_whole else _begins)(line, *asked):
                    _refuse(output_path, count + 1)
                if not is_whole:
                    os.truncate(output_path, whole_bytes)
                    return count, chain([asked], inputs)
                count, whole_bytes = count + 1, whole_bytes + len(line)
    except FileNotFoundError:
        return 0, inputs
    except OSError as error:
        raise ProjectError(f"{output_path} cannot be read: {error.strerror}") from error
    return count, inputs


def _refuse(output_path: Path, number: int) -> NoReturn:
    raise ProjectError(
        f"{output_path}:{number}: is no answer to that line of the input",
        remedy="name another output, or remove this one to begin anew",
    )


def _answers(line: bytes, number: int, text: str) -> bool:
    """Return whether a line of the output belongs to one of the input."""
    answer, given = _object(line), _object(text)
    if answer is None:
        return False
    if given is not None and is_openai(given):
        return answer.get("custom_id") == given.get("custom_id") and "response" in answer
    kept = kept_of(given or {}) or {"line": number}
    has_answer = "answer" in answer or "error" in answer
    return has_answer and all(key in answer and answer[key] == kept[key] for key in kept)


def _begins(half: bytes, number: int, text: str) -> bool:
    """Return whether half a line can be the beginning of what answers one of the input."""
    given = _object(text)
    if given is not None and is_openai(given):
        head = '{"id": "batch_req_'
    else:
        kept = kept_of(given or {}) or {"line": number}
        head = written(kept).rstrip().removesuffix("}") + ", "
    begun = head.encode(errors="backslashreplace")
    return half.startswith(begun) or begun.startswith(half)


def _object(text: str | bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
