"""Refusing a build that cannot end well, with the numbers, before anything heavy is started.

Disk and memory are estimated from the checkpoint's shapes. Memory means anonymous memory: pages
of mapped files make room when others need it and are not counted.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.build.shapes import tensors, weight_shapes
from ovrecipe.build.sizes import variant_bytes
from ovrecipe.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Compressor, WeightShape
    from ovrecipe.recipe.compression import CompressionPass, Variant


#: Where a container's own limits are. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
CGROUP_DIR = Path("/sys/fs/cgroup")


def memory_available_bytes(cgroup_dir: Path = CGROUP_DIR) -> int:
    """Return what is available without swapping, within the container's limit if there is one."""
    import psutil

    machine = int(psutil.virtual_memory().available)
    container = container_available_bytes(cgroup_dir)
    return machine if container is None else min(machine, container)


def container_available_bytes(cgroup_dir: Path) -> int | None:
    """Return what a container's limit leaves; cached file pages count as free.

    None outside of a container and in one without a limit.
    """
    limit = _number(cgroup_dir / "memory.max")
    used = _number(cgroup_dir / "memory.current")
    if limit is None or used is None:
        return None
    return max(0, limit - used + _cached_bytes(cgroup_dir / "memory.stat"))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cached_bytes(path: Path) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    fields = dict(line.split(maxsplit=1) for line in lines if line.count(" ") == 1)
    return sum(int(fields.get(name, 0)) for name in ("active_file", "inactive_file"))


GB = 10**9
#: XML, tokenizer files, logs: what every variant needs besides its weights.
SMALL_FILES_BYTES = 40 * 10**6
#: Peak anonymous memory, measured with SmolLM2-135M (f16) and a 1.01-billion Llama (bf16) on
#: optimum-intel 2.2 and NNCF 3.4: export 0.63 and 0.59 GB (the weights stay mapped), FP16 0.07 and
#: 0.45 GB, INT8 0.47 and 0.38 GB above the size of the result, INT4 0.52 and 0.49 GB above it.
EXPORT_BYTES = int(0.8 * GB)
FP16_BYTES = int(0.5 * GB)
NNCF_BYTES = int(0.55 * GB)
#: Below this share of what is needed, an estimate may still be wrong and the build is let through.
TOLERANCE = 0.9


@dataclass(frozen=True)
class StageEstimate:
    """What one stage leaves on the disk, and the memory it peaks at."""

    stage: str
    variant: str | None
    disk_bytes: int
    memory_bytes: int

    @property
    def title(self) -> str:
        """The stage as a message names it."""
        return self.stage if self.variant is None else f"{self.stage} {self.variant}"


@dataclass(frozen=True)
class Estimate:
    """The stages of a build, which run one after another."""

    stages: tuple[StageEstimate, ...]

    @property
    def disk_bytes(self) -> int:
        """What all stages together leave on the disk."""
        return sum(each.disk_bytes for each in self.stages)

    @property
    def hungriest(self) -> StageEstimate:
        """The stage that needs the most memory."""
        return max(self.stages, key=lambda each: each.memory_bytes)


def estimate(
    checkpoint_dir: Path, variants: Mapping[str, Variant], *, base_is_built: bool = False
) -> Estimate:
    """Return what building these variants takes; nothing for a checkpoint of unknown shapes.

    Raises:
        CheckpointIncomplete: a safetensors file is missing or cut off.
    """
    found = tensors(checkpoint_dir)
    if not found:
        return Estimate(())
    matrices = weight_shapes(checkpoint_dir)
    stages = [] if base_is_built else [_base(found)]
    stages += [_weights(name, each, found, matrices) for name, each in variants.items()]
    return Estimate(tuple(stages))


def _base(found: Sequence[WeightShape]) -> StageEstimate:
    return StageEstimate("base", None, _base_bytes(found) + SMALL_FILES_BYTES, EXPORT_BYTES)


def _weights(
    name: str, variant: Variant, found: Sequence[WeightShape], matrices: Sequence[WeightShape]
) -> StageEstimate:
    size = variant_bytes(variant, found, matrices)
    if variant.precision == "fp16":
        # The scratch file of a bf16 base is as large as the result and is gone at the end.
        scratch = sum(2 * math.prod(e.shape) for e in found if e.dtype == "bf16")
        return StageEstimate("weights", name, size + scratch + SMALL_FILES_BYTES, FP16_BYTES)
    memory = NNCF_BYTES + size
    if any(each.dataset is not None for each in variant.compression_passes()):
        memory += _base_bytes(found)
    return StageEstimate("weights", name, size + SMALL_FILES_BYTES, memory)


def _base_bytes(found: Sequence[WeightShape]) -> int:
    widths = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2}
    return sum(widths[each.dtype] * math.prod(each.shape) for each in found)


def amount(size_bytes: int) -> str:
    """Return a size as a person says it."""
    return f"{size_bytes / GB:.1f} GB" if size_bytes >= GB else f"{size_bytes / 10**6:.0f} MB"


def check_shapes(
    passes: Iterable[tuple[str, str, CompressionPass, Provided[Compressor]]],
    shapes: Sequence[WeightShape],
) -> None:
    """Refuse passes that their compressor says would fail; each is (variant, precision, ...).

    Raises:
        PreflightError: one line per problem; nothing overrides it.
    """
    problems = [
        f"variants.{variant}: {problem}"
        for variant, precision, compression, compressor in passes
        for problem in _problems(compressor, compression, precision, shapes)
    ]
    if problems:
        raise PreflightError("\n".join(problems), remedy="change the recipe; nothing was built")


def _problems(
    compressor: Provided[Compressor],
    compression: CompressionPass,
    precision: str,
    shapes: Sequence[WeightShape],
) -> list[str]:
    with compressor.blamed():
        return list(compressor.optional("problems", compression, precision, shapes) or ())


def check_disk(needed: Estimate, store_dir: Path) -> None:
    """Refuse a build that does not fit on the store's disk; `--force` skips this check.

    Raises:
        PreflightError: with both numbers.
    """
    free = shutil.disk_usage(_existing(store_dir)).free
    if needed.disk_bytes > free:
        raise PreflightError(
            f"the build needs about {amount(needed.disk_bytes)} of disk, and {amount(free)} are "
            "free where the store is",
            remedy="free some space ('ovrecipe gc'), put the store elsewhere (OVRECIPE_STORE), or "
            "try it anyway with --force",
        )


def check_memory(needed: Estimate, available_bytes: int | None = None) -> None:
    """Refuse a build whose hungriest stage does not fit into memory; `--force` skips this check.

    Raises:
        PreflightError: with both numbers and the stage.
    """
    if not needed.stages:
        return
    available = memory_available_bytes() if available_bytes is None else available_bytes
    stage = needed.hungriest
    if stage.memory_bytes * TOLERANCE > available:
        raise PreflightError(
            f"{stage.title} needs about {amount(stage.memory_bytes)} of memory, and "
            f"{amount(available)} are available",
            remedy="close programs, build on a larger machine, or try it anyway with --force",
        )


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())
