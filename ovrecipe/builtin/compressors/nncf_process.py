"""What NNCF says while it works: its progress, and the log lines that deserve to be seen.

NNCF offers no callback, so for the time of one call its progress bars report to ours instead of
drawing themselves. This is the one place that reaches into NNCF; the worker process that it is
done in ends with the stage.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    from ovrecipe.hooks.roles import Json, Progress
    from ovrecipe.recipe.compression import CompressionPass


class NncfLog:
    """Keeps NNCF's messages, and which progress bars it showed."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str]] = []
        self.bars: list[str] = []

    def note(self, record: logging.LogRecord) -> bool:
        """Keep one message, as a logger's filter, and let it pass."""
        self.messages.append((record.levelno, record.getMessage()))
        return True

    def facts(self, compression: CompressionPass) -> dict[str, Json]:
        """Return `warning`: what was asked for and not done, and NNCF's own warnings.

        AWQ that finds no layer to work on ends before its progress bar, and says so at most at
        level info.
        """
        from logging import WARNING

        lines = [text for level, text in self.messages if level >= WARNING]
        if compression.awq and not any("AWQ" in each for each in self.bars):
            lines.insert(0, "awq matched no layer of this model and changed nothing")
        return {"warning": "\n".join(lines)} if lines else {}


@contextmanager
def nncf_reports(progress: Progress) -> Iterator[NncfLog]:
    """Report NNCF's progress to `progress` and collect its messages, until the block ends."""
    from nncf.common.logging import nncf_logger
    from nncf.common.logging.track_progress import track

    log = NncfLog()
    nncf_logger.addFilter(log.note)
    drawn = track.__iter__
    track.__iter__ = lambda bar: reported(bar, progress, log)
    try:
        yield log
    finally:
        track.__iter__ = drawn
        nncf_logger.removeFilter(log.note)


def reported(bar: Any, progress: Progress, log: NncfLog) -> Iterator[Any]:
    """Iterate as an NNCF progress bar does; its steps count by weight where it has weights."""
    log.bars.append(bar.description)
    weights = bar.weights
    total = bar.total
    if total is None and hasattr(bar.sequence, "__len__"):
        total = len(bar.sequence)
    done = 0.0
    progress(bar.description, done=done, total=total)
    for index, item in enumerate(bar.sequence):
        yield item
        done += weights[index] if weights is not None else 1
        progress(bar.description, done=done, total=total)
