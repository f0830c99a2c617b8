"""Refusing work that cannot end well, with the numbers, before anything heavy is started.

Disk and memory are estimated by those who will do the work, from the checkpoint's shapes. Memory
means anonymous memory: pages of mapped files make room when others need it and are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.memory import memory_available_bytes
from ovrecipe.errors import PreflightError
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.store.disk import free_bytes
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovrecipe.build.execute import Work
    from ovrecipe.hooks.roles import Estimate

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
#: What messages call it: which one it is stands on the line with the stage's name.
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
    """Return all float tensors of a checkpoint, once each, by name; no data is read.

    A checkpoint without safetensors files has none: nothing is known of it before it is loaded.

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
    found = []
    for weight in tensors(checkpoint_dir):
        if weight.name.endswith(layers) and len(weight.shape) > 1:
            *rest, into, out = weight.shape
            found.append(WeightShape(weight.name, (*rest, out, into), weight.dtype))
        elif len(weight.shape) > 1:
            found.append(weight)
    return found


def admit(work: Work) -> int:
    """Refuse work that cannot end well; return a heavy stage's memory in bytes, 0 for others.

    Before the first long stage everything that was asked for is judged, so that a group size that
    does not fit is known before hours of work and not after them.

    Raises:
        PreflightError: a line per problem; or disk or memory do not suffice, and nobody forces it.
        CheckpointIncomplete: a safetensors file is missing, cut off or not in the format.
    """
    stage = work.stage
    needed: dict[str, Estimate] = {}
    if stage.is_judged:
        problems: list[str] = []
        for other in work.companions():
            if other.is_done():
                continue
            if other.stage.problems:
                problems += other.stage.problems(other)
            if other.stage.is_judged and other.stage.estimate and other.follows(work):
                estimate = other.stage.estimate(other)
                needed |= {} if estimate is None else {other.title: estimate}
        if problems:
            raise PreflightError("\n".join(problems), remedy="change the recipe, then build again")
        if not work.context.force:
            check_disk(needed, work.context.store.root)
            check_memory(needed)
    own = needed.get(work.title) or (stage.estimate(work) if stage.estimate else None)
    return 0 if own is None else own.memory_bytes


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
    if needed[title].memory_bytes * TOLERANCE > available:
        raise PreflightError(
            f"{title} needs about {amount(needed[title].memory_bytes)} of memory, and "
            f"{amount(available)} are available",
            remedy="close programs, build on a larger machine, or try it anyway with --force",
        )
