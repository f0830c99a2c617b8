"""A conversation as Markdown or JSON, and an answer's figures as a line."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrecipe import Chat, GenerationResult

SPEAKERS = {"user": "You", "assistant": "Model"}


def model_name(chat: Chat) -> str:
    """Return what answers, as `NAME:VARIANT on DEVICE`."""
    runner = chat.runner
    return f"{runner.recipe.name}:{runner.variant} on {runner.device}"


def as_markdown(chat: Chat) -> str:
    """Return the turns so far for people."""
    parts = [f"# {model_name(chat)}"]
    if chat.system:
        parts += ["**System**", chat.system]
    for message in chat.history:
        parts += [f"**{SPEAKERS[message['role']]}**", message["content"].strip()]
    return "\n\n".join(parts) + "\n"


def as_json(history: Sequence[Mapping[str, str]]) -> str:
    """Return the turns so far for programs, as `/save` of the console writes them."""
    return json.dumps([dict(message) for message in history], ensure_ascii=False, indent=2) + "\n"


def save(chat: Chat, folder: Path, name: str) -> Path:
    """Write the conversation into a new file, as JSON where it is called so, else Markdown.

    Raises:
        OSError: the file is there already, or cannot be written.
    """
    try:
        path = folder / Path(name).expanduser()
    except RuntimeError as error:  # ~NAME of nobody
        raise FileNotFoundError(errno.ENOENT, str(error), name) from error
    text = as_json(chat.history) if path.suffix == ".json" else as_markdown(chat)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def free_name(chat: Chat, folder: Path) -> str:
    """Return a name for the transcript that is not taken in `folder`."""
    stem = f"{chat.runner.recipe.name}-{chat.runner.variant}"
    number = 1
    while (folder / (name := f"{stem}-{number}.md")).exists():
        number += 1
    return name


def ending(result: GenerationResult) -> str:
    """Return why an answer ended, or nothing when the model had said all."""
    return {"cancelled": "stopped", "length": "cut at the limit"}.get(result.finish_reason, "")


def figures(result: GenerationResult) -> str:
    """Return why an answer ended and GenAI's own figures of it, as one line."""
    parts = [ending(result)]
    if result.generated_tokens is not None:
        parts.append(f"{result.generated_tokens} tokens")
    if result.metrics is not None:
        parts.append(f"first after {result.metrics.ttft_ms:.0f} ms")
        if result.metrics.throughput is not None:
            parts.append(f"{result.metrics.throughput:.1f} tokens/s")
    parts.append(f"prompt {result.prompt_tokens} tokens")
    return " · ".join(part for part in parts if part)


def megabytes(size_bytes: int) -> str:
    """Return a size as people compare them."""
    return f"{size_bytes / 1e6:,.0f} MB"
