"""Refusing work that cannot end well, with the numbers, before anything heavy is started.

Disk and memory are estimated by those who will do the work, from the checkpoint's shapes. Memory
means anonymous memory: pages of mapped files make room when others need it and are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.build.memory import memory_available_bytes
from ovrecipe.errors import PreflightError
from ovrecipe.hooks.roles import Estimate, WeightShape
from ovrecipe.store.disk import free_bytes
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from ovrecipe.build.execute import Work

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
WHERE = "the checkpoint"
DTYPES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}
#: Layers that store (in_channels, out_channels): transformers' Conv1D.
CONV1D_ARCHITECTURES = ("gpt2", "openai-gpt")
CONV1D_LAYERS = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight", ".q_attn.weight")
#: Below this share of what is needed, an estimate may still be wrong and the build is let through.
TOLERANCE = 0.9


def has_shapes(checkpoint_dir: Path) -> bool:
    """Return whether a checkpoint has safetensors files, which tell their shapes unread."""
    return any((checkpoint_dir / name).exists() for name in (SINGLE, INDEX))


def tensors(checkpoint_dir: Path) -> list[WeightShape]:
    """Return all float tensors of a checkpoint by name, unread; none without safetensors files.

    Raises:
        CheckpointIncomplete: a file is missing, cut off or not in the format.
    """
    from ovrecipe.builtin.checkpoint import read_header, read_index

    names = [SINGLE] if (checkpoint_dir / SINGLE).exists() else []
    if (checkpoint_dir / INDEX).exists():
        names = [*read_index(WHERE, checkpoint_dir / INDEX)]
    found = {
        entry.name: WeightShape(entry.name, entry.shape, DTYPES[entry.dtype])
        for name in names
        for entry in read_header(WHERE, checkpoint_dir / name)
        if entry.dtype in DTYPES
    }
    return [found[name] for name in sorted(found)]


def matrices(checkpoint_dir: Path) -> list[WeightShape]:
    """Return those of a checkpoint's tensors that are weights, as (..., out, in) channels.

    Raises:
        CheckpointIncomplete: as `tensors`, or config.json is damaged.
    """
    from ovrecipe.builtin.checkpoint import read_json

    config = read_json(WHERE, checkpoint_dir / "config.json")
    layers = CONV1D_LAYERS if config.get("model_type") in CONV1D_ARCHITECTURES else ()
    found = [weight for weight in tensors(checkpoint_dir) if len(weight.shape) > 1]
    for number, weight in enumerate(found):
        if weight.name.endswith(layers):
            *rest, into, out = weight.shape
            found[number] = replace(weight, shape=(*rest, out, into))
    return found


def check_work(work: Work) -> int:
    """Refuse work that cannot end well; return a heavy stage's memory in bytes, 0 for others.

    Before the first long stage everything that was asked for is judged, not after hours of work.
    A build that keeps going leaves a variant that cannot be made to that variant's own first
    stage, where another one waits for this work.

    Raises:
        PreflightError: a line per problem; or disk or memory do not suffice, and nobody forces it.
        CheckpointIncomplete: a safetensors file is missing, cut off or not in the format.
    """
    needed: dict[str, Estimate] = {}
    if work.stage.is_judged:
        variants = work.wanted or work.plan.recipe.default_variants()
        if work.variant and (work.context.keep_going or work.variant not in variants):
            variants = (work.variant,)
        elif work.context.keep_going:
            variants = tuple(filter(partial(_can_be_made, work), variants)) or variants
        needed = _needed_by(work, variants)
    own = needed.get(work.title) or work.stage.estimate(work)
    return 0 if own is None else own.memory_bytes


def _can_be_made(work: Work, variant: str) -> bool:
    """Return whether a variant waits for this work, and nothing is known that keeps it from it."""
    if not any(
        other.variant == variant and not other.is_done() and other.follows(work)
        for other in work.works(work.plan.stages, (variant,))
    ):
        return False
    try:
        _needed_by(work, (variant,))
    except PreflightError:
        return False
    return True


def _needed_by(work: Work, variants: tuple[str, ...]) -> dict[str, Estimate]:
    """Return what the work takes, and what for these variants is made with it, by title.

    Raises:
        PreflightError: something is certain to fail, or does not fit.
    """
    needed: dict[str, Estimate] = {}
    problems: list[str] = []
    for other in work.works(work.plan.stages, variants):
        if other.is_done():
            continue
        problems += other.stage.problems(other)
        if other.stage.is_judged and other.follows(work):
            said = other.stage.estimate(other)
            needed |= {other.title: said} if said else {}
    if problems:
        raise PreflightError("\n".join(problems), remedy="change the recipe, then build again")
    if not work.context.force:
        check_disk(needed, work.context.store.root)
        nodes = work.context.nodes
        check_memory(needed, None if nodes is None else nodes.memory_bytes)
    return needed


def check_disk(needed: Mapping[str, Estimate], store_dir: Path) -> None:
    """Refuse a build that does not fit on the store's disk.

    Raises:
        PreflightError: with both numbers.
    """
    free, disk_bytes = free_bytes(store_dir), sum(said.disk_bytes for said in needed.values())
    if disk_bytes > free:
        raise PreflightError(
            f"the build needs about {amount(disk_bytes)} of disk, and {amount(free)} are "
            "free where the store is",
            remedy="free some space ('ovrecipe gc'), put the store elsewhere (OVRECIPE_STORE), or "
            "try it anyway with --force",
        )


def check_memory(needed: Mapping[str, Estimate], available_bytes: int | None = None) -> None:
    """Refuse a build whose hungriest stage does not fit into memory.

    Raises:
        PreflightError: with both numbers and the stage.
    """
    if not needed:
        return
    available = memory_available_bytes() if available_bytes is None else available_bytes
    title = max(needed, key=lambda stage: needed[stage].memory_bytes)
    if needed[title].memory_bytes * TOLERANCE > available:
        raise PreflightError(
            f"{title} needs about {amount(needed[title].memory_bytes)} of memory, and "
            f"{amount(available)} are available",
            remedy="close programs, build on a larger machine, or try it anyway with --force",
        )
