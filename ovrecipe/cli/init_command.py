"""`ovrecipe init`: a project of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ovrecipe.errors import ProjectError

FIRST_RECIPE = "smollm2-135m.yaml"
#: The same text as this repository's own dodo.py; a test compares them.
DODO = '''"""doit's door to ovrecipe: `doit list`, `doit build:NAME`, `doit build:NAME:VARIANT`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovrecipe.build.dodo import DOIT_CONFIG, all_tasks

__all__ = ["DOIT_CONFIG", "task_recipes"]


def task_recipes() -> Iterator[dict[str, Any]]:
    """Yield the tasks of every recipe in recipes/."""
    yield from all_tasks(Path(__file__).parent)
'''
GITIGNORE = "/store/\n/models/\n.doit.db*\n"


def command(
    directory: Annotated[Path, typer.Argument(help="Folder of the project; made if missing.")],
) -> None:
    """Start a project: recipes/ with a first recipe, dodo.py and .gitignore.

    Files that are there already are never written over.

    Example: ovrecipe init my-models && cd my-models && ovrecipe build smollm2-135m
    """
    files = _files()
    _refuse_to_overwrite(directory, files)
    for name, text in files.items():
        if name != ".gitignore" or not (directory / name).exists():
            _write(directory / name, text)
    typer.echo(f"made a project in {directory}; next:\n")
    if directory.resolve() != Path.cwd():
        typer.echo(f"  cd {shlex.quote(str(directory))}")
    typer.echo("  ovrecipe build smollm2-135m")
    typer.echo('  ovrecipe run smollm2-135m:int4 "What is the capital of France?"')


def _files() -> dict[str, str]:
    from ovrecipe.recipe.project import bundled_recipes_dir
    from ovrecipe.recipe.writing import FILE_NAME, schema_text

    return {
        f"recipes/{FIRST_RECIPE}": (bundled_recipes_dir() / FIRST_RECIPE).read_text("utf-8"),
        f"recipes/{FILE_NAME}": schema_text(),
        "dodo.py": DODO,
        ".gitignore": GITIGNORE,
    }


def _refuse_to_overwrite(directory: Path, files: dict[str, str]) -> None:
    for name in files:
        # A repository has its own .gitignore, which stays as it is.
        if (directory / name).exists() and name != ".gitignore":
            raise ProjectError(
                f"{directory / name} exists",
                remedy="choose another folder, or remove the file; nothing was written",
            )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"{path} cannot be written: {error.strerror}") from error
