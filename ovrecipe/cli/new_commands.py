"""`ovrecipe new`, `get` and `init`: a recipe for a model, all the way to an answer, a project."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import Session, session_of
from ovrecipe.errors import ProjectError, RecipeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

ModelId = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_ID",
        help="An id on the hub, ./directory, ./file.gguf, dist:... or a plugin's.",
    ),
]
RecipeName = Annotated[str | None, typer.Option(help="Name of the recipe.")]


def new(
    ctx: typer.Context,
    model_id: ModelId,
    *,
    name: RecipeName = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a recipe.")] = False,
) -> None:
    """Write a commented recipe for a model, with the INT4 values that are known to suit it.

    The values come from optimum-intel's table of tuned models, when it is installed and has the
    model. Nothing is downloaded. Exits with 3 for an id that is none, 12 for a recipe that exists.

    Example: ovrecipe new Qwen/Qwen3-8B
    """
    path = _new_recipe(session_of(ctx), model_id, name, force=force)
    typer.echo(path)
    typer.echo(f"next: ovrecipe build {path.stem}", err=True)


def get(
    ctx: typer.Context,
    model_id: ModelId,
    *,
    name: RecipeName = None,
    variant: Annotated[str, typer.Option(help="The variant to build.")] = "int4",
    question: Annotated[
        str, typer.Option("--ask", help="The first instruction.")
    ] = "What is the capital of France?",
    no_run: Annotated[bool, typer.Option("--no-run", help="Build, and ask nothing.")] = False,
) -> None:
    """Write a recipe for a model, build one variant of it and let it answer: new, build and run.

    A recipe of that name for the same model is taken as it is, so the command can be given again
    after a failure. The exit codes are those of 'new', 'build' and 'run'.

    Example: ovrecipe get Qwen/Qwen3-0.6B
    """
    from ovrecipe.recipe.project import recipe_names
    from ovrecipe.recipe.writing import draft_name

    session = session_of(ctx)
    name = name or draft_name(model_id)
    if name in recipe_names(session.project):
        recipe = session.recipe(name)
        if recipe.model.id != _seen_from_recipe(model_id, session):
            there = f"{recipe.path} is there, for {recipe.model.id}"
            raise ProjectError(there, remedy="choose another --name, or remove that recipe")
        typer.echo(f"taking the recipe {name} as it is", err=True)
    else:
        _new_recipe(session, model_id, name)
    target = f"{name}:{variant}"
    _call(ctx, "build", target)
    if not no_run:
        typer.echo(f'$ ovrecipe run {target} "{question}"', err=True)
        _call(ctx, "run", target, "--", question)


def _call(ctx: typer.Context, name: str, *words: str) -> None:
    """Run another command as if the words had been typed."""
    root = ctx.find_root()
    group: Any = root.command
    command = group.get_command(root, name)
    with command.make_context(name, list(words), parent=root) as inner:
        command.invoke(inner)


def _new_recipe(session: Session, model_id: str, name: str | None, *, force: bool = False) -> Path:
    """Write a recipe for a model that can be asked for, and return its path."""
    from ovrecipe.recipe.load import load_recipe_file
    from ovrecipe.recipe.project import check_name
    from ovrecipe.recipe.writing import draft_name, draft_text

    project = session.project
    name = name or draft_name(model_id)
    check_name(name)
    path = _free_path(project.recipes_dir, name, force=force)
    _check_id(session, model_id)
    int4, reason = _int4_of(model_id)
    _write(path, draft_text(_seen_from_recipe(model_id, session), int4, reason))
    load_recipe_file(path, shown_from=project.root)
    typer.echo(reason, err=True)
    return path


def _check_id(session: Session, model_id: str) -> None:
    """Refuse what no source can bring, before a file is written for it.

    Raises:
        RecipeInvalid: it has not the form of an id on the hub.
        PluginError: nobody provides such a source.
    """
    from ovrecipe.recipe.schema import Recipe, model_id_objection, split_model_id

    if objection := model_id_objection(model_id):
        raise RecipeInvalid(objection)
    scheme, _ = split_model_id(model_id)
    asking = {"id": model_id}
    variants = {"int4": {"precision": "int4"}}
    recipe = Recipe.model_validate(
        {"name": "new", "path": Path("new.yaml"), "model": asking, "variants": variants}
    )
    session.plugins.provider("source", scheme, recipe)


def _seen_from_recipe(model_id: str, session: Session) -> str:
    """Return the id as the recipe must say it: its relative paths start at its own folder."""
    from ovrecipe.recipe.schema import split_model_id

    scheme, location = split_model_id(model_id)
    if scheme not in ("local", "gguf") or location != model_id or not location.startswith("."):
        return model_id
    path = os.path.relpath(session.cwd / location, session.project.recipes_dir)
    return ("" if path.startswith("..") else "./") + path.replace(os.sep, "/")


def _free_path(recipes_dir: Path, name: str, *, force: bool) -> Path:
    """Return the file to write: the one that has the name already, if that is allowed."""
    from ovrecipe.recipe.project import recipe_paths

    taken = [path for path in recipe_paths(recipes_dir) if path.stem == name]
    if taken and not force:
        raise ProjectError(f"{taken[0]} exists", remedy="choose another --name, or give --force")
    return taken[0] if taken else recipes_dir / f"{name}.yaml"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"{path} cannot be written: {error.strerror}") from error


def _int4_of(model_id: str) -> tuple[Mapping[str, Any], str]:
    """Return the INT4 knobs for a model, and a sentence on where they come from."""
    from importlib.util import find_spec

    from ovrecipe.recipe.writing import GENERAL_INT4, int4_knobs

    if find_spec("optimum") is None or find_spec("optimum.intel") is None:
        missing = "optimum-intel is not installed (pip install 'ovrecipe[build]')"
        return GENERAL_INT4, f"General INT4 values: {missing}."
    typer.echo("asking optimum-intel for tuned values ...", err=True)
    from optimum.intel.openvino.configuration import get_default_quantization_config

    tuned = get_default_quantization_config(model_id, weight_format="int4")
    knobs = int4_knobs(tuned) if tuned else {}
    if knobs:
        return knobs, "INT4 values from optimum-intel's table of tuned models, found by this name."
    return GENERAL_INT4, "General INT4 values: optimum-intel has no tuned values for this model."


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


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Folder of the project; made if missing.")
    ],
) -> None:
    """Start a project: recipes/ with a first recipe, dodo.py and .gitignore.

    Files that are there already are never written over; the exit code is 12 then.

    Example: ovrecipe init my-models && cd my-models && ovrecipe build smollm2-135m
    """
    from ovrecipe.recipe.project import bundled_recipes_dir
    from ovrecipe.recipe.writing import FILE_NAME, schema_text

    files = {
        f"recipes/{FIRST_RECIPE}": (bundled_recipes_dir() / FIRST_RECIPE).read_text("utf-8"),
        f"recipes/{FILE_NAME}": schema_text(),
        "dodo.py": DODO,
    }
    for path in (directory / name for name in files):
        if path.exists():
            raise ProjectError(
                f"{path} exists",
                remedy="choose another folder, or remove the file; nothing was written",
            )
    # A repository has its own .gitignore, which stays as it is.
    if not (directory / ".gitignore").exists():
        files[".gitignore"] = GITIGNORE
    for name, text in files.items():
        _write(directory / name, text)
    typer.echo(f"made a project in {directory}; next:\n")
    if directory.resolve() != Path.cwd():
        typer.echo(f"  cd {shlex.quote(str(directory))}")
    typer.echo("  ovrecipe build smollm2-135m")
    typer.echo('  ovrecipe run smollm2-135m:int4 "What is the capital of France?"')
