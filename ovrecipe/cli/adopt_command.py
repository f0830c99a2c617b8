"""`ovrecipe adopt`: a recipe for an OpenVINO folder that is there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovrecipe.cli.new_commands import seen_from_recipe
from ovrecipe.cli.output import AsJson, print_json, write_text
from ovrecipe.cli.session import session_of
from ovrecipe.errors import ProjectError, RecipeInvalid
from ovrecipe.recipe import writing
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import check_name, recipe_paths
from ovrecipe.recipe.schema import model_id_objection

if TYPE_CHECKING:
    from ovrecipe.build.adopted import Adopted


def command(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A folder with openvino_model.xml.")],
    name: Annotated[
        str | None, typer.Argument(help="Name of the recipe (default: the folder's).")
    ] = None,
    *,
    model_id: Annotated[
        str | None,
        typer.Option(help="The checkpoint it was made from, where no file in it says so."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the recipe that would make an OpenVINO folder, as optimum-cli leaves one.

    Mode, group_size, ratio, awq and so on are read from what optimum and NNCF note in
    openvino_model.xml, prompt and generation from the files beside it. What no file tells is said,
    and stands in the recipe as a comment. The folder is not changed. Exits with 3 when the model
    is not named or the folder says what no recipe can, 5 for a folder without a model, 12 for a
    recipe that exists.

    Example: ovrecipe adopt ./Qwen3-8B-int4-ov qwen3-8b
    """
    from ovrecipe.build.adopted import adopt

    session = session_of(ctx)
    # Not resolved: a view leads to a folder that is named after a digest.
    folder_name = directory.absolute().name
    name = name or writing.draft_name(folder_name)
    check_name(name)
    recipes_dir = session.project.recipes_dir
    taken = [path for path in recipe_paths(recipes_dir) if path.stem == name]
    if taken:
        remedy = "give another name behind the folder, or remove that recipe"
        raise ProjectError(f"{taken[0]} exists", remedy=remedy)
    if model_id and (objection := model_id_objection(model_id)):
        raise RecipeInvalid(objection)
    found = adopt(directory, seen_from_recipe(model_id, session) if model_id else None)
    path = recipes_dir / f"{name}.yaml"
    write_text(path, recipe_text(found, folder_name))
    load_recipe_file(path, shown_from=session.project.root)
    if as_json:
        print_json({"recipe": name, "path": str(path), **vars(found)})
        return
    typer.echo(path)
    for sentence in found.unknown:
        typer.echo(f"not told: {sentence}", err=True)
    typer.echo(f"next: ovrecipe build {name}:{found.precision}", err=True)


def recipe_text(found: Adopted, folder_name: str) -> str:
    """Return the recipe with what made the folder, and what it does not tell, in comments."""
    made_with = ", ".join(
        f"{package.removesuffix('_version').replace('_', '-')} {version}"
        for package, version in found.made_with.items()
    )
    return writing.adopted_text(
        found.model_id,
        {found.precision: found.knobs},
        chat_template=found.chat_template,
        generation=found.generation,
        comments=[
            f"Adopted from {folder_name}, made with {made_with or 'what it does not say'}.",
            *(f"Not told: {sentence}" for sentence in found.unknown),
        ],
    )
