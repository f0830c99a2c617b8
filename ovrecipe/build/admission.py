"""Whether work may start: refused when it cannot end well, delayed when others need the room.

What is needed is estimated from the checkpoint's shapes (`preflight`); here it meets what the
machine has.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovrecipe.build.job import CHECKPOINT
from ovrecipe.build.preflight import (
    check_disk,
    check_memory,
    check_shapes,
    estimate,
    memory_available_bytes,
)
from ovrecipe.build.shapes import weight_shapes
from ovrecipe.build.stages.weights import compression_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ovrecipe.build.execute import Work
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import WeightShape
    from ovrecipe.recipe.schema import Variant

#: The stages that take long; what is known to fail is refused before the first of them.
JUDGED = ("base", "tokenizer", "weights")
#: What opening a model takes: measured 0.95 GB for 0.27 GB of FP16 weights, which the CPU plugin
#: widens, and 0.45 GB for 0.09 GB of INT4 (SmolLM2, OpenVINO 2026.4).
OPENING_BYTES, OPENING_FACTOR = 300_000_000, 2.5
#: The share of the available memory that stages at work at the same time may plan with.
SHARE = 0.8
TICK = 0.1


class Turns:
    """Lets stages run beside each other while the estimates of the heavy ones fit into memory.

    A heavy stage alone may always run: whether it can end well was judged before.
    """

    def __init__(self, available: Callable[[], int] = memory_available_bytes) -> None:
        self._available = available
        self._changed = threading.Condition()
        self._reserved: list[int] = []
        self._budget = 0.0

    @contextmanager
    def taken(self, size_bytes: int | None, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Hold a turn; None is a light stage, a number the estimate of a heavy one in bytes.

        Raises:
            KeyboardInterrupt: the build was cancelled while waiting.
        """
        if size_bytes is None:
            yield
            return
        self._wait(size_bytes, cancelled)
        try:
            yield
        finally:
            with self._changed:
                self._reserved.remove(size_bytes)
                self._changed.notify_all()

    def _wait(self, size_bytes: int, cancelled: Callable[[], bool]) -> None:
        with self._changed:
            while not self._fits(size_bytes):
                if cancelled():
                    raise KeyboardInterrupt
                self._changed.wait(TICK)
            self._reserved.append(size_bytes)

    def _fits(self, size_bytes: int) -> bool:
        if not self._reserved:
            self._budget = SHARE * self._available()
            return True
        return sum(self._reserved) + size_bytes <= self._budget


def admit(work: Work) -> int | None:
    """Refuse work that cannot end well; return a heavy stage's memory in bytes, else None.

    Before the base is exported all variants that were asked for are judged, so that a group size
    that does not fit is known before hours of work and not after them.

    Raises:
        PreflightError: with the numbers; memory and disk are not judged when the build is forced.
    """
    if work.stage.name == "check":
        return _check_bytes(work)
    if work.stage.name not in JUDGED:
        return None
    key = work.plan.key("source")
    assert key is not None, "work is admitted once its source is pinned"
    checkpoint_dir = work.context.store.artifact_dir(key) / CHECKPOINT
    if not checkpoint_dir.is_dir():
        return None
    variants = _variants(work)
    _judge_shapes(work.plan, variants, weight_shapes(checkpoint_dir))
    if work.stage.name == "tokenizer":
        return None
    is_base = work.stage.name == "base"
    needed = estimate(checkpoint_dir, variants, base_is_built=not is_base)
    if not work.context.force:
        check_disk(needed, work.context.store.root)
        check_memory(needed)
    own = [each.memory_bytes for each in needed.stages if is_base == (each.stage == "base")]
    return max(own, default=0)


def _check_bytes(work: Work) -> int:
    """Return what the larger of the models that are opened takes; never two at a time."""
    opened = {"assemble", "base"} & {*work.stage.inputs(work.plan.recipe, work.variant)}
    keys = [work.plan.key(each, work.variant) for each in opened]
    store = work.context.store
    sizes = (store.size_bytes(key) for key in keys if key is not None and store.has(key))
    return int(OPENING_BYTES + OPENING_FACTOR * max(sizes, default=0))


def _variants(work: Work) -> Mapping[str, Variant]:
    recipe = work.plan.recipe
    if work.variant is not None:
        return {work.variant: recipe.variants[work.variant]}
    asked = work.context.requested(recipe.name) or recipe.default_variants()
    return {name: recipe.variants[name] for name in asked}


def _judge_shapes(
    plan: RecipePlan, variants: Mapping[str, Variant], shapes: Sequence[WeightShape]
) -> None:
    check_shapes(
        (
            (name, spec.precision, each, plan.compressor(each.compressor))
            for name, spec in variants.items()
            for each in compression_passes(spec)
        ),
        shapes,
    )
