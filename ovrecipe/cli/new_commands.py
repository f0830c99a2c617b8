"""`ovrecipe new`, `get` and `init`: a recipe for a model, all the way to an answer, a project."""

import os
import shlex
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, cast

import typer

from ovrecipe.builtin.architectures import architectures
from ovrecipe.builtin.exporter import OptimumExporter
from ovrecipe.cli.output import write_text
from ovrecipe.cli.session import Session, session_of
from ovrecipe.errors import ProjectError, RecipeInvalid
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import SourceRequest
from ovrecipe.json_files import read_object
from ovrecipe.recipe import writing
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import bundled_recipes_dir, check_name, recipe_paths
from ovrecipe.recipe.schema import UNVERSIONED, check_task, model_id_objection, split_model_id
from ovrecipe.recipe.tasks import GENERATION, TASKS, TaskName

ModelId = Annotated[
    str, typer.Argument(help="An id on the hub, ./directory, ./file.gguf, dist:... or a plugin's.")
]
QUESTION = "What is the capital of France?"
#: How long a hub may take to say whether it has a config.json, in seconds.
HUB_SECONDS = 5
RecipeName = Annotated[str | None, typer.Option(help="Name of the recipe.")]
Task = Annotated[
    TaskName | None,
    typer.Option(help="What the model does; of a ./directory its files say it."),
]


def new(
    ctx: typer.Context,
    model_id: ModelId,
    *,
    name: RecipeName = None,
    task: Task = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a recipe.")] = False,
) -> None:
    """Write a commented recipe for a model, with the INT4 values that are known to suit it.

    The values come from optimum-intel's table of tuned models, when it is installed and has the
    model. What the checkpoint's config.json says of its build is told: toolchain, attention, gates.
    Nothing else is downloaded. Exits with 3 for an id that is none, 5 for a path, file
    or distribution that is not here, 12 for a recipe that exists.

    Example: ovrecipe new Qwen/Qwen3-8B

    An embedding: ovrecipe new BAAI/bge-small-en-v1.5 --task text-embedding
    """
    path = _new_recipe(session_of(ctx), model_id, name, task, force=force)
    typer.echo(path)
    typer.echo(f"next: ovrecipe build {path.stem}", err=True)


def get(
    ctx: typer.Context,
    model_id: ModelId,
    *,
    name: RecipeName = None,
    task: Task = None,
    variant: Annotated[str, typer.Option(help="The variant to build.")] = "int4",
    question: Annotated[str, typer.Option("--ask", help="The first instruction.")] = QUESTION,
    no_run: Annotated[bool, typer.Option("--no-run", help="Build, and ask nothing.")] = False,
) -> None:
    """Write a recipe for a model, build one variant of it and let it answer: new, build and run.

    A recipe of that name for the same model is taken as it is, so the command can be given again
    after a failure. What writes no text is built, and the command that asks it is shown. The exit
    codes are those of 'new', 'build' and 'run'.

    Example: ovrecipe get Qwen/Qwen3-0.6B
    """
    session = session_of(ctx)
    name = name or writing.draft_name(model_id)
    if name in session.recipe_names():
        recipe = session.recipe(name)
        if recipe.model.id != seen_from_recipe(model_id, session):
            there = f"{recipe.path} is there, for {recipe.model.id}"
            raise ProjectError(there, remedy="choose another --name, or remove that recipe")
        if task is not None:
            check_task(recipe, task)
        typer.echo(f"taking the recipe {name} as it is", err=True)
    else:
        _new_recipe(session, model_id, name, task)
    target = f"{name}:{variant}"
    _call(ctx, "build", target)
    does = TASKS[session.recipe(name).task]
    if does.name != GENERATION:
        typer.echo(f"next: ovrecipe {does.command} --help; its model is {target}", err=True)
    elif not no_run:
        typer.echo(f'$ ovrecipe run {target} "{question}"', err=True)
        _call(ctx, "run", target, "--", question)


def _call(ctx: typer.Context, name: str, *words: str) -> None:
    """Run another command as if the words had been typed."""
    root = ctx.find_root()
    command = cast("Any", root.command).get_command(root, name)
    with command.make_context(name, list(words), parent=root) as inner:
        inner.command.invoke(inner)  # `command` only stands for it


def _new_recipe(
    session: Session,
    model_id: str,
    name: str | None,
    task: TaskName | None,
    *,
    force: bool = False,
) -> Path:
    """Write a recipe for a model that can be asked for, and return its path."""
    project, name = session.project, name or writing.draft_name(model_id)
    check_name(name)
    taken = [path for path in recipe_paths(project.recipes_dir) if path.stem == name]
    if taken and not force:
        raise ProjectError(f"{taken[0]} exists", remedy="choose another --name, or give --force")
    path = taken[0] if taken else project.recipes_dir / f"{name}.yaml"
    if objection := model_id_objection(model_id):
        raise RecipeInvalid(objection)
    _check_source(session, *split_model_id(model_id))
    scheme, location = split_model_id(model_id)
    if task is None and scheme == "local":
        task = writing.task_of(session.cwd / Path(location).expanduser())
    int4, reason = _int4_of(model_id)
    seen, uses = seen_from_recipe(model_id, session), [*_uses(session, scheme, location)]
    write_text(path, writing.draft_text(seen, int4, reason, task or GENERATION))
    load_recipe_file(path, shown_from=project.root)
    for line in (reason, *uses):
        typer.echo(line, err=True)
    return path


def _uses(session: Session, scheme: str, location: str) -> Iterator[str]:
    """Yield what a build will use, or why there will be none, by the checkpoint's config.json."""
    path = _config_path(session, scheme, location)
    config = {} if path is None else read_object(path, error=RecipeInvalid)
    kind = str(config.get("model_type", ""))
    if not kind or find_spec("optimum") is None:
        yield (
            "Toolchain and attention: the build says which it uses, once the checkpoint is here; "
            "'ovrecipe models' lists those of each architecture."
        )
        return
    exporter = OptimumExporter()
    yield from (f"No build: {problem}" for problem in exporter.problems(config))
    choice = exporter.toolchain(config)
    yield f"Toolchain: {choice.name or 'none fits'} ({choice.reason})."
    tried = next((one.backend for one in architectures() if one.name == kind), None)
    way = f"{tried} was right for a tiny {kind}; " if tried else ""
    yield f"Attention: {way}the build compares paged attention and SDPA with the checkpoint."
    yield (
        "Gates: tokenizer, chat template, exported IR and every variant against the checkpoint; "
        "'accept:' in the recipe sets stricter limits."
    )


def _config_path(session: Session, scheme: str, location: str) -> Path | None:
    """Return where a checkpoint's config.json is, that of a hub fetched; None where none is had."""
    if scheme == "local":
        path = session.cwd / Path(location).expanduser() / "config.json"
        return path if path.is_file() else None
    if scheme != "hub":
        return None
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(location, "config.json", etag_timeout=HUB_SECONDS))
    except OSError:  # offline, gated or not there: who calls says what is not known then
        return None


def _check_source(session: Session, scheme: str, location: str) -> None:
    """Refuse what nobody provides, or what should be on this machine and is not; hashes nothing."""
    recipe = sample_recipe()  # it lies in the working folder, where a path was typed
    source = session.plugins.provider("source", scheme, recipe)
    if scheme not in UNVERSIONED:
        return
    # What a recipe may allow is not refused before there is one.
    allowed = {"allow_pickle": True, "trust_remote_code": True}
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update=allowed)})
    digests = cast("Any", SimpleNamespace(sha256=str))
    wanted = SourceRequest(recipe=recipe, location=location, env=session.env, digests=digests)
    source.provider.pin(wanted)


def seen_from_recipe(model_id: str, session: Session) -> str:
    """Return the id as the recipe must say it: its relative paths start at its own folder."""
    scheme, location = split_model_id(model_id)
    named = model_id.removesuffix(location)  # `gguf:`, where it says so itself
    is_fixed = location.startswith("~") or Path(location).is_absolute()
    if scheme not in ("local", "gguf") or is_fixed or not (named or location.startswith(".")):
        return model_id
    path = os.path.relpath(session.cwd / location, session.project.recipes_dir)
    return named + ("" if path.startswith("..") else "./") + path.replace(os.sep, "/")


def _int4_of(model_id: str) -> tuple[Mapping[str, Any], str]:
    """Return the INT4 knobs for a model, and a sentence on where they come from."""
    if find_spec("optimum") is None or find_spec("optimum.intel") is None:
        missing = "optimum-intel is not installed (pip install 'ovrecipe[build]')"
        return writing.GENERAL_INT4, f"General INT4 values: {missing}."
    typer.echo("asking optimum-intel for tuned values ...", err=True)
    from optimum.intel.openvino.configuration import get_default_quantization_config

    tuned = get_default_quantization_config(model_id, weight_format="int4")
    if knobs := writing.int4_knobs(tuned or {}):
        return knobs, "INT4 values from optimum-intel's table of tuned models, found by this name."
    reason = "General INT4 values: optimum-intel has no tuned values for this model."
    return writing.GENERAL_INT4, reason


FIRST_RECIPE = "smollm2-135m.yaml"
GITIGNORE = "/store/\n/models/\n/bench.sqlite\n.doit.db*\n"


def init(
    directory: Annotated[Path, typer.Argument(help="Folder of the project; made if missing.")],
) -> None:
    """Start a project: recipes/ with a first recipe, dodo.py and .gitignore.

    Files that are there already are never written over; the exit code is 12 then.

    Example: ovrecipe init my-models && cd my-models && ovrecipe build smollm2-135m
    """
    bundled_dir = bundled_recipes_dir()
    files = {
        f"recipes/{FIRST_RECIPE}": (bundled_dir / FIRST_RECIPE).read_text("utf-8"),
        f"recipes/{writing.FILE_NAME}": writing.schema_text(),
        "dodo.py": (bundled_dir.parent / "dodo.py").read_text("utf-8"),
    }
    for path in (directory / name for name in files):
        if path.exists():
            remedy = "choose another folder, or remove the file; nothing was written"
            raise ProjectError(f"{path} exists", remedy=remedy)
    # A repository has its own .gitignore, which stays as it is.
    if not (directory / ".gitignore").exists():
        files[".gitignore"] = GITIGNORE
    for name, text in files.items():
        write_text(directory / name, text)
    typer.echo(f"made a project in {directory}; next:\n")
    if directory.resolve() != Path.cwd():
        typer.echo(f"  cd {shlex.quote(str(directory))}")
    typer.echo("  ovrecipe build smollm2-135m")
    typer.echo(f'  ovrecipe run smollm2-135m:int4 "{QUESTION}"')
