"""What is refused before anything heavy starts: unsound recipes, and work that cannot end well.

Disk and memory are estimated by those who will do the work, from the checkpoint's shapes. Memory
means anonymous memory: pages of mapped files make room when others need it and are not counted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ovrecipe.build.memory import memory_available_bytes
from ovrecipe.build.stages.stage import CHECKPOINT, Prospect
from ovrecipe.errors import (
    CheckpointIncomplete,
    OvrecipeError,
    PreflightError,
    PromptRefused,
    RecipeError,
    RecipeInvalid,
)
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.json_files import read_object
from ovrecipe.store.disk import free_bytes
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ovrecipe.build.execute import Work
    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Compressor, Estimate
    from ovrecipe.recipe.compression import CompressionPass
    from ovrecipe.recipe.schema import Recipe


# --- The recipe: providers, options, templates, data sets ---


class Use(NamedTuple):
    """A provider that the recipe asks for; `where` is the key that names it.

    `judged` is the compressor's pass, the precision and the place of the pass in the recipe.
    """

    role: Any
    name: str
    where: str
    options: Mapping[str, Any] | None = None
    judged: tuple[CompressionPass, str, tuple[str | int, ...]] | None = None


def recipe_errors(recipe: Recipe, plugins: Plugins) -> Iterator[OvrecipeError]:
    """Yield what a build or a run of the recipe would stumble over, each thing once."""
    from ovrecipe.hooks.sections import validate_sections
    from ovrecipe.recipe.load import check_requirements

    checks: list[Callable[[], object]] = [
        partial(check_requirements, recipe),
        partial(validate_sections, recipe, plugins),
        partial(_check_template, recipe),
        *(partial(_check_use, recipe, plugins, use) for use in uses(recipe)),
        *(partial(_check_dataset, recipe, variant) for variant in recipe.variants),
    ]
    told: set[str] = set()
    for check in checks:
        try:
            check()
        except OvrecipeError as error:
            named = _named(error, recipe)
            if str(named) not in told:
                told.add(str(named))
                yield named


def require_sound(recipe: Recipe, plugins: Plugins) -> None:
    """Raise the first of `recipe_errors`; the others are its notes.

    Raises:
        OvrecipeError: the recipe cannot be built or run as it stands.
    """
    errors = list(recipe_errors(recipe, plugins))
    if not errors:
        return
    for more in errors[1:]:
        errors[0].add_note(str(more))
    raise errors[0]


def uses(recipe: Recipe) -> Iterator[Use]:
    """Yield every provider that a recipe names."""
    from ovrecipe.recipe.schema import split_model_id

    yield Use("source", split_model_id(recipe.model.id)[0], "model.id")
    yield Use("exporter", recipe.model.exporter, "model.exporter")
    yield Use("tokenizer_converter", recipe.tokenizer.converter, "tokenizer.converter")
    for name, variant in recipe.variants.items():
        for number, compression in enumerate(variant.compression_passes()):
            where = f"variants.{name}.options"
            loc = ("variants", name, *(("passes", number) if variant.passes else ()))
            judged = (compression, variant.precision, loc)
            yield Use("compressor", compression.compressor, where, compression.options, judged)
    for evaluator in recipe.check.evaluators:
        where = f"check.evaluators.{evaluator.name}"
        yield Use("evaluator", evaluator.name, where, evaluator.options)
    for spec in recipe.output.filters:
        yield Use("output_filter", spec.name, f"output.filters.{spec.name}", spec.options)


def _named(error: OvrecipeError, recipe: Recipe) -> OvrecipeError:
    """Return the error with the recipe's name: a provider unknown says only what it looked for."""
    if isinstance(error, RecipeError):
        return error
    return type(error)(f"recipe '{recipe.name}': {error.message}", remedy=error.remedy)


def _check_use(recipe: Recipe, plugins: Plugins, use: Use) -> None:
    """Raise unless a plugin provides it and takes its options."""
    from ovrecipe.hooks.options import validated

    provided = plugins.provider(use.role, use.name, recipe)
    if use.judged is not None:
        _check_knobs(recipe, provided, *use.judged)
    if use.options is not None:
        validated(provided.provider, use.options, where=f"{recipe.path.name}: {use.where}")


def _check_knobs(
    recipe: Recipe,
    provided: Provided[Compressor],
    compression: CompressionPass,
    precision: str,
    loc: tuple[str | int, ...],
) -> None:
    """Raise with all that the compressor objects to in the knobs of a pass, if it judges them."""
    from ovrecipe.recipe.problems import Problem, place_in_recipe

    judge = getattr(provided.provider, "objections", None)
    if judge is None:
        return
    with provided.blamed():
        found = [((*loc, *each.keys), each.reason) for each in judge(compression, precision)]
    problems = [Problem(place_in_recipe(recipe, where), where, reason) for where, reason in found]
    if problems:
        raise RecipeInvalid("\n".join(map(str, sorted(problems))))


def _check_template(recipe: Recipe) -> None:
    """Raise unless the recipe's own chat template is Jinja."""
    text = recipe.prompt.chat_template
    if text in {None, "model"}:
        return
    from ovrecipe.run.prompt import ChatTemplate

    try:
        ChatTemplate(str(text))
    except PromptRefused as error:
        raise RecipeInvalid(
            f"recipe '{recipe.name}': prompt.chat_template: {error.message}", remedy=error.remedy
        ) from error


def _check_dataset(recipe: Recipe, variant: str) -> None:
    """Raise unless every data set of a variant is a file."""
    for compression in recipe.variants[variant].compression_passes():
        path = compression.dataset_path(recipe.base_dir)
        if path is not None and not path.is_file():
            raise RecipeInvalid(
                f"recipe '{recipe.name}': variants.{variant}.dataset: no file "
                f"{compression.dataset}",
                remedy="a path starts at the recipe's folder; 'generated' needs no file",
            )


# --- The checkpoint: the shapes of its weights, from the headers of its files ---

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
#: What messages call it: which one it is stands on the line with the stage's name.
WHERE = "the checkpoint"
DTYPES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}
#: Layers that store (in_channels, out_channels): transformers' Conv1D.
CONV1D_ARCHITECTURES = ("gpt2", "openai-gpt")
CONV1D_LAYERS = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight", ".q_attn.weight")


def tensors(checkpoint_dir: Path) -> list[WeightShape]:
    """Return all float tensors of a checkpoint, once each, by name; no data is read.

    A checkpoint without safetensors files has none: nothing is known of it before it is loaded.

    Raises:
        CheckpointIncomplete: a file is missing, cut off or not in the format.
    """
    from ovrecipe.builtin.checkpoint import read_header

    found = {
        entry.name: WeightShape(entry.name, entry.shape, DTYPES[entry.dtype])
        for path in _weight_files(checkpoint_dir)
        for entry in read_header(WHERE, path)
        if entry.dtype in DTYPES
    }
    return [found[name] for name in sorted(found)]


def matrices(checkpoint_dir: Path, shapes: Sequence[WeightShape]) -> list[WeightShape]:
    """Return those of a checkpoint's tensors that are weights, as (..., out, in) channels."""
    config = read_object(checkpoint_dir / "config.json", shown=WHERE, error=CheckpointIncomplete)
    layers = CONV1D_LAYERS if config.get("model_type") in CONV1D_ARCHITECTURES else ()
    return [
        _swapped(shape) if shape.name.endswith(layers) else shape
        for shape in shapes
        if len(shape.shape) > 1
    ]


def _swapped(weight: WeightShape) -> WeightShape:
    *rest, into, out = weight.shape
    return WeightShape(weight.name, (*rest, out, into), weight.dtype)


def _weight_files(checkpoint_dir: Path) -> list[Path]:
    from ovrecipe.builtin.checkpoint import read_index

    index = checkpoint_dir / INDEX
    if index.exists():
        return [checkpoint_dir / name for name in read_index(WHERE, index)]
    return [path for path in [checkpoint_dir / SINGLE] if path.exists()]


# --- The machine: disk and memory ---

#: Below this share of what is needed, an estimate may still be wrong and the build is let through.
TOLERANCE = 0.9


def admit(work: Work) -> int | None:
    """Refuse work that cannot end well; return a heavy stage's memory in bytes, None for others.

    Before the first long stage everything that was asked for is judged, so that a group size that
    does not fit is known before hours of work and not after them.

    Raises:
        PreflightError: with the numbers; memory and disk are not judged when the build is forced.
        CheckpointIncomplete: a safetensors file is missing, cut off or not in the format.
    """
    stage = work.stage
    if not (stage.is_judged or stage.estimate):
        return None
    prospect_of = _prospects(work)
    if stage.is_judged:
        remaining = [other for other in work.companions() if not other.is_done()]
        check_problems(
            line
            for other in remaining
            if other.stage.problems
            for line in other.stage.problems(prospect_of(other))
        )
        if not work.context.force:
            needed = {
                other.title: estimate
                for other in remaining
                if other.stage.is_judged and other.follows(work) and other.stage.estimate
                if (estimate := other.stage.estimate(prospect_of(other))) is not None
            }
            check_disk(needed, work.context.store.root)
            check_memory(needed)
    if stage.estimate is None:
        return None
    own = stage.estimate(prospect_of(work))
    return own.memory_bytes if own is not None else 0


def _prospects(work: Work) -> Callable[[Work], Prospect]:
    """Return a function that says what is known of a recipe's work; headers are read once."""
    source = work.plan.key(work.plan.stages[0].name)
    assert source is not None, "work is admitted once its source is pinned"
    checkpoint_dir = work.context.store.artifact_dir(source) / CHECKPOINT
    known = work.stage.is_judged and checkpoint_dir.is_dir()
    shapes = tensors(checkpoint_dir) if known else []
    weights = matrices(checkpoint_dir, shapes) if known else []

    def prospect_of(other: Work) -> Prospect:
        return Prospect(other.plan, other.variant, shapes, weights, other.input_bytes())

    return prospect_of


def check_problems(problems: Iterator[str]) -> None:
    """Refuse work that would fail for certain.

    Raises:
        PreflightError: one line per problem; nothing overrides it.
    """
    lines = list(problems)
    if lines:
        raise PreflightError("\n".join(lines), remedy="change the recipe, then build again")


def check_disk(needed: Mapping[str, Estimate], store_dir: Path) -> None:
    """Refuse a build that does not fit on the store's disk; `--force` skips this check.

    Raises:
        PreflightError: with both numbers.
    """
    free = free_bytes(store_dir)
    disk_bytes = sum(estimate.disk_bytes for estimate in needed.values())
    if disk_bytes > free:
        raise PreflightError(
            f"the build needs about {amount(disk_bytes)} of disk, and {amount(free)} are "
            "free where the store is",
            remedy="free some space ('ovrecipe gc'), put the store elsewhere (OVRECIPE_STORE), or "
            "try it anyway with --force",
        )


def check_memory(needed: Mapping[str, Estimate], available_bytes: int | None = None) -> None:
    """Refuse a build whose hungriest stage does not fit into memory; `--force` skips this check.

    Raises:
        PreflightError: with both numbers and the stage.
    """
    if not needed:
        return
    available = memory_available_bytes() if available_bytes is None else available_bytes
    title = max(needed, key=lambda stage: needed[stage].memory_bytes)
    memory_bytes = needed[title].memory_bytes
    if memory_bytes * TOLERANCE > available:
        raise PreflightError(
            f"{title} needs about {amount(memory_bytes)} of memory, and {amount(available)} are "
            "available",
            remedy="close programs, build on a larger machine, or try it anyway with --force",
        )
