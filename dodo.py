"""doit's door to ovrecipe: `doit list`, `doit build:NAME`, `doit build:NAME:VARIANT`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovrecipe.build.dodo import DOIT_CONFIG, all_tasks

__all__ = ["DOIT_CONFIG", "task_recipes"]


def task_recipes() -> Iterator[dict[str, Any]]:
    """Yield the tasks of every recipe in recipes/."""
    yield from all_tasks(Path(__file__).parent)
