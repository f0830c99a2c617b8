"""What frontends are given, and what they write."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovrecipe.hooks.roles import Console
from ovrecipe.run.result import GenerationResult
from ovrecipe.testing.pipeline import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovrecipe.hooks.roles import Frontend


@dataclass
class FakeGeneration:
    """An answer that came in these segments; `fail` is raised behind them."""

    segments: Sequence[str] = ("The ", "answer", ".")
    fail: BaseException | None = None
    cancelled: bool = False
    given: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        """Yield the segments."""
        for segment in self.segments:
            if self.cancelled:
                return
            self.given.append(segment)
            yield segment
        if self.fail is not None:
            raise self.fail

    def cancel(self) -> None:
        """Yield no more."""
        self.cancelled = True

    @property
    def result(self) -> GenerationResult:
        """The result of what was given."""
        return GenerationResult(
            text="".join(self.given),
            finish_reason="cancelled" if self.cancelled else "stop",
            prompt_tokens=5,
            generated_tokens=len(self.given),
            metrics=METRICS,
            device="FAKE",
        )


@dataclass(frozen=True)
class Shown:
    """What a frontend wrote to its two streams."""

    out: str
    err: str


def shown(
    frontend: Frontend, generation: FakeGeneration | None = None, *, stats: bool = False
) -> Shown:
    """Return what a frontend writes for an answer."""
    console = Console(out=io.StringIO(), err=io.StringIO(), stats=stats)
    frontend.show(generation or FakeGeneration(), console)
    assert isinstance(console.out, io.StringIO)
    assert isinstance(console.err, io.StringIO)
    return Shown(console.out.getvalue(), console.err.getvalue())
