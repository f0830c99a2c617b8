"""`ovrecipe schema`: the JSON schema of recipes, for editors."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer

from ovrecipe.errors import ProjectError


def command(
    write: Annotated[Path | None, typer.Option(help="Write it to a file instead.")] = None,
) -> None:
    """Print the JSON schema of a recipe, with which editors complete and check recipes.

    Example: ovrecipe schema --write recipes/recipe.schema.json
    """
    from ovrecipe.recipe.writing import schema_text

    if write is None:
        typer.echo(schema_text(), nl=False)
        return
    try:
        write.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"{write} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {write}", err=True)
