"""JSON objects in files, and how the files beside a model are called."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovrecipe.errors import OvrecipeError

CHAT_TEMPLATE = "chat_template.jinja"
GENERATION_CONFIG = "generation_config.json"
#: How a model is asked that writes no text.
VECTOR_CONFIG = "vector_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"


def read_object(
    path: Path, *, shown: str | None = None, error: type[OvrecipeError] = OvrecipeError
) -> dict[str, Any]:
    """Return the object that a JSON file holds, {} when there is no such file.

    Raises:
        OvrecipeError: of kind `error`; the file, called `shown`, cannot be read, or is no UTF-8,
            no JSON or no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise error(f"{shown or path}: cannot be read: {problem.strerror}") from problem
    except (ValueError, RecursionError) as problem:
        raise error(f"{shown or path}: is not JSON ({problem})") from problem
    if not isinstance(found, dict):
        raise error(f"{shown or path}: is not a JSON object")
    return found


def write_object(path: Path, document: Mapping[str, Any], *, sort_keys: bool = True) -> None:
    """Write an object as JSON that people can read and compare: indented, not escaped."""
    text = json.dumps(document, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
