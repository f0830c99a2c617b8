"""`ovrecipe new`: a commented recipe for a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import session_of
from ovrecipe.errors import ProjectError, RecipeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def command(
    ctx: typer.Context,
    model_id: Annotated[str, typer.Argument(help="Hub id, ./directory, ./file.gguf, dist:...")],
    *,
    name: Annotated[str | None, typer.Option(help="Name of the recipe.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a recipe.")] = False,
) -> None:
    """Write a commented recipe for a model, with the INT4 values that are known to suit it.

    The values come from optimum-intel's table of tuned models, when it is installed and has the
    model. Nothing is downloaded.

    Example: ovrecipe new Qwen/Qwen3-8B
    """
    from ovrecipe.recipe.load import load_recipe_file
    from ovrecipe.recipe.project import check_name
    from ovrecipe.recipe.schema import model_id_objection
    from ovrecipe.recipe.writing import draft_name, draft_text

    if objection := model_id_objection(model_id):
        raise RecipeInvalid(objection)
    session = session_of(ctx)
    project = session.project
    name = name or draft_name(model_id)
    check_name(name)
    path = _free_path(project.recipes_dir, name, force=force)
    int4, reason = _int4_of(model_id)
    seen = _seen_from_recipe(model_id, session.cwd, project.recipes_dir)
    _write(path, draft_text(seen, int4, reason))
    load_recipe_file(path, shown_from=project.root)
    typer.echo(path)
    typer.echo(f"{reason}\nnext: ovrecipe build {name}", err=True)


def _seen_from_recipe(model_id: str, cwd: Path, recipes_dir: Path) -> str:
    """Return the id as the recipe must say it: its relative paths start at its own folder."""
    from ovrecipe.recipe.schema import split_model_id

    scheme, location = split_model_id(model_id)
    if scheme not in ("local", "gguf") or location != model_id or not location.startswith("."):
        return model_id
    path = os.path.relpath(cwd / location, recipes_dir).replace(os.sep, "/")
    return path if path.startswith("..") else f"./{path}"


def _free_path(recipes_dir: Path, name: str, *, force: bool) -> Path:
    """Return the file to write: the one that has the name already, if that is allowed."""
    from ovrecipe.recipe.project import recipe_paths

    taken = [path for path in recipe_paths(recipes_dir) if path.stem == name]
    if taken and not force:
        raise ProjectError(f"{taken[0]} exists", remedy="choose another --name, or give --force")
    return taken[0] if taken else recipes_dir / f"{name}.yaml"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"{path} cannot be written: {error.strerror}") from error


def _int4_of(model_id: str) -> tuple[Mapping[str, Any], str]:
    """Return the INT4 knobs for a model, and a sentence on where they come from."""
    from ovrecipe.recipe.writing import GENERAL_INT4, int4_knobs

    tuned, missing = _tuned(model_id)
    knobs = int4_knobs(tuned) if tuned else {}
    if knobs:
        return knobs, "INT4 values from optimum-intel's table of tuned models, found by this name."
    return GENERAL_INT4, f"General INT4 values: {missing}."


def _tuned(model_id: str) -> tuple[Mapping[str, Any] | None, str]:
    """Return optimum-intel's configuration, or None and why there is none."""
    from importlib.util import find_spec

    if find_spec("optimum") is None or find_spec("optimum.intel") is None:
        return None, "optimum-intel is not installed (pip install 'ovrecipe[build]')"
    typer.echo("asking optimum-intel for tuned values ...", err=True)
    from optimum.intel.openvino.configuration import get_default_quantization_config

    found = get_default_quantization_config(model_id, weight_format="int4")
    return found, "optimum-intel has no tuned values for this model"
