"""A build on a terminal: a moving line for each stage at work, a still one for each that ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import rich.live
from rich.text import Text

from ovrecipe.build import events
from ovrecipe.build.events import AtWork, follow, outcome_of
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

#: Columns in the order in which they stand, and the width that each keeps while figures change.
COLUMNS = {"doing": 0, "percent": 4, "bar": 0, "speed": 10, "left": 9, "elapsed": 4, "peak": 13}
#: Which of them get room first; the title and the elapsed time always have it.
BY_PRIORITY = ("percent", "left", "speed", "doing", "peak", "bar")
#: How wide a description is when others want the room, and the least that says something.
DOING, DOING_LEAST = 24, 10
BAR = 16
MARKS: dict[type[events.StageEvent], tuple[str, str]] = {
    events.Waiting: ("…", "yellow"),
    events.Noted: ("·", "cyan"),
    events.Warned: ("!", "yellow"),
}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Live(rich.live.Live):
    """Watches a build and draws it; a context in which the lines move.

    The clock is given by tests. Fits any width: what has no room is left out, nothing shrinks
    to zero, and the spinner and the elapsed time move whatever a stage says.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            console=console, refresh_per_second=8, transient=True, get_renderable=lambda: self
        )
        self._clock = clock
        self._began = clock()
        self._planned: tuple[str, ...] = ()
        self._begun: set[str] = set()
        self._at_work: dict[str, AtWork] = {}

    def __call__(self, event: events.Event) -> None:
        """Take in what happened; called from any thread."""
        match event:
            case events.Planned(titles):
                self._planned = titles
            case events.Started(title):
                self._begun.add(title)
            case (
                events.Waiting(title, text) | events.Noted(title, text) | events.Warned(title, text)
            ):
                self._leave(*MARKS[type(event)], title, text)
            case events.LogKept(title, log_path):
                self._leave("✗", "red", title, f"log: {log_path}")
            case events.Failed(title) if title in self._at_work:
                self._leave("✗", "red", title, "")
            case events.Finished(title) | events.Taken(title):
                self._leave("✓", "green", title, outcome_of(event))
        follow(self._at_work, event, self._clock())

    def _leave(self, mark: str, style: str, title: str, text: str) -> None:
        """Print a line that stays."""
        line = Text.assemble((mark, style), f" {title}  ", (text, "dim"))
        self.console.print(line, soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Text]:
        """Draw what moves, as wide as the terminal is now."""
        now, at_work = self._clock(), list(self._at_work.values())
        if self._planned and self._begun:
            number = min(len(self._begun), len(self._planned))
            stage = f"stage {number} of {len(self._planned)}, {clock_face(now - self._began)}"
            yield Text(stage, style="dim")
        spin = SPINNER[int((now - self._began) * 8) % len(SPINNER)]
        rows = {work.title: _cells(work, now) for work in at_work}
        for line in laid_out(rows, width=options.max_width - 2):
            yield Text.assemble((f"{spin} ", "cyan"), line)


def _cells(work: AtWork, now: float) -> dict[str, str]:
    """Return what each column says of a stage."""
    share, left, speed = work.share, work.seconds_left(now), work.bytes_per_second(now)
    filled = round((share or 0) * BAR)
    return {
        "doing": work.message,
        "percent": "" if share is None else f"{share:.0%}",
        "bar": "" if share is None else "━" * filled + "╌" * (BAR - filled),
        "speed": "" if speed is None else f"{amount(speed)}/s",
        "left": "" if left is None else f"{clock_face(left)} left",
        "elapsed": clock_face(now - work.started),
        "peak": f"peak {amount(work.peak_bytes)}" if work.peak_bytes else "",
    }


def laid_out(rows: dict[str, dict[str, str]], *, width: int) -> Iterator[Text]:
    """Yield a line for each stage, its columns below those of the others, never over `width`."""
    longest = {name: max((len(row[name]) for row in rows.values()), default=0) for name in COLUMNS}
    longest |= {name: max(COLUMNS[name], cells) for name, cells in longest.items() if cells}
    room = width - longest["elapsed"] - 1
    title_width = min(max(map(len, rows), default=0), room)
    widths = _widths(longest, room - title_width)
    for title, row in rows.items():
        line = Text(_fitted(title, title_width))
        for name, cells in widths.items():
            text = _fitted(row[name], cells) if name == "doing" else row[name].rjust(cells)
            line.append(f" {text}", "dim")
        yield line


def _widths(longest: dict[str, int], room: int) -> dict[str, int]:
    """Return how wide each column is that gets room, in the order in which they stand."""
    widths = {"elapsed": longest["elapsed"]}
    for name in BY_PRIORITY:
        cells = min(longest[name], DOING)
        if name == "doing" and DOING_LEAST < room <= cells:
            cells = room - 1
        if cells and cells < room:
            widths[name] = cells
            room -= cells + 1
    if "doing" in widths:
        widths["doing"] = min(longest["doing"], widths["doing"] + room)
    return {name: widths[name] for name in COLUMNS if name in widths}


def _fitted(text: str, width: int) -> str:
    """Return the text in exactly that width."""
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def clock_face(seconds: float) -> str:
    """Return `0:29` or `1:02:03`."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
