"""Whether work may start: refused when it cannot end well, delayed when others need the room.

What is needed is estimated from the checkpoint's shapes (`preflight`); here it meets what the
machine has.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovrecipe.build.job import CHECKPOINT
from ovrecipe.build.machine import memory_available_bytes
from ovrecipe.build.preflight import check_disk, check_memory, check_shapes, estimate
from ovrecipe.build.shapes import weight_shapes
from ovrecipe.build.stages.weights import compression_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ovrecipe.build.execute import Work
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import WeightShape
    from ovrecipe.recipe.compression import Variant

#: The stages that take long; what is known to fail is refused before the first of them.
JUDGED = ("base", "tokenizer", "weights")
#: The stages whose memory grows with the model.
HEAVY = ("base", "weights", "check")
#: The share of the available memory that stages at work at the same time may plan with.
SHARE = 0.8
TICK = 0.1


class Turns:
    """Lets light stages run beside heavy ones, and heavy ones beside each other as memory allows.

    With two jobs one heavy stage is at work at a time, so that a build needs hardly more memory
    than its hungriest stage; more jobs let more heavy stages in while their estimates fit. One
    alone may always run.
    """

    def __init__(
        self, *, heavy_at_once: int = 1, available: Callable[[], int] = memory_available_bytes
    ) -> None:
        self._heavy_at_once = heavy_at_once
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
        has_place = len(self._reserved) < self._heavy_at_once
        return has_place and sum(self._reserved) + size_bytes <= self._budget


def admit(work: Work) -> int | None:
    """Refuse work that cannot end well; return a heavy stage's memory in bytes, else None.

    Before the base is exported all variants that were asked for are judged, so that a group size
    that does not fit is known before hours of work and not after them.

    Raises:
        PreflightError: with the numbers; memory is not judged when the build is forced.
    """
    light = None if work.stage.name not in HEAVY else 0
    if work.stage.name not in JUDGED:
        return light
    key = work.plan.key("source")
    assert key is not None, "work is admitted once its source is pinned"
    checkpoint_dir = work.context.store.artifact_dir(key) / CHECKPOINT
    if not checkpoint_dir.is_dir():
        return light
    variants = _variants(work)
    _judge_shapes(work.plan, variants, weight_shapes(checkpoint_dir))
    if light is None:
        return None
    is_base = work.stage.name == "base"
    needed = estimate(checkpoint_dir, variants, base_is_built=not is_base)
    if not work.context.force:
        check_disk(needed, work.context.store.root)
        check_memory(needed)
    own = [each.memory_bytes for each in needed.stages if is_base == (each.stage == "base")]
    return max(own, default=0)


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
            (name, spec.precision, each, plan.compressor(each.compressor).provider)
            for name, spec in variants.items()
            for each in compression_passes(spec)
        ),
        shapes,
    )
