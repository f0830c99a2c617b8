"""What a build shows on a terminal, at every width that terminals have."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ovrecipe.build.events import (
    Failed,
    Finished,
    LogKept,
    MemorySeen,
    Planned,
    Progressed,
    Started,
    Waiting,
    Warned,
)
from ovrecipe.cli.progress import SPINNER, Live, clock_face
from ovrecipe.store.manifest import FileEntry, Manifest

if TYPE_CHECKING:
    from ovrecipe.build.events import Event

EXPORT = "base mistral-7b-instruct"
DOWNLOAD = "source mistral-7b-instruct"
WEIGHTS = "weights mistral-7b-instruct:int4-npu"
WIDTHS = [60, 80, 120]


class Terminal:
    """A terminal of a width with a clock that the test sets."""

    def __init__(self, width: int) -> None:
        self.now = 0.0
        self.console = Console(width=width, file=io.StringIO(), color_system=None)
        self.live = Live(self.console, clock=lambda: self.now)

    def tell(self, *events: Event, at: float = 0.0) -> None:
        self.now = at
        for event in events:
            self.live(event)

    def said(self) -> str:
        """Return what stays on the screen."""
        assert isinstance(self.console.file, io.StringIO)
        return self.console.file.getvalue()

    def drawn(self) -> list[str]:
        """Return the lines that move, as they are now."""
        with self.console.capture() as capture:
            self.console.print(self.live)
        return [line for line in capture.get().splitlines() if line.strip()]


def downloading(terminal: Terminal, seconds: int) -> None:
    """Let 12.5 MB of 1 GB come each second."""
    terminal.tell(Started(DOWNLOAD, "getting the checkpoint"))
    for second in range(seconds + 1):
        done = 12.5e6 * second
        terminal.tell(Progressed(DOWNLOAD, "downloading", done, 1e9, "B"), at=second)


def manifest(**changes: object) -> Manifest:
    """Return what an artifact of 135 MB says about itself."""
    files = {"openvino_model.bin": FileEntry(size_bytes=135_230_000, sha256="0" * 64)}
    document = {
        "stage": "weights",
        "sha256": "0" * 64,
        "key": {},
        "files": files,
        "created": "2026",
        "tools": {},
        "facts": {},
        "seconds": 11.3,
        "peak_memory_bytes": 600_000_000,
    }
    return Manifest.model_validate({**document, **changes})


@pytest.mark.parametrize("width", WIDTHS)
def test_a_silent_export_visibly_moves(width: int) -> None:
    """Half a minute without a word from the stage must not look frozen."""
    terminal = Terminal(width)
    terminal.tell(Planned((EXPORT,)), Started(EXPORT, "exporting to OpenVINO IR"))
    seen = []
    for second in (28.0, 29.2):
        terminal.now = second
        [_, line] = terminal.drawn()
        assert line[0] in SPINNER
        assert EXPORT in line
        assert "exporting" in line
        seen.append(line)
    assert "0:28" in seen[0]
    assert "0:29" in seen[1]
    assert seen[0][0] != seen[1][0]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """A wrapped line would be drawn over and over."""
    terminal = Terminal(width)
    downloading(terminal, 8)
    terminal.tell(
        Planned(("x",) * 13),
        Started(WEIGHTS, "compressing the weights"),
        Progressed(WEIGHTS, "Mixed-Precision assignment of all the layers", 70, 100),
        MemorySeen(WEIGHTS, 5_600_000_000),
        at=3700,
    )
    assert max(map(len, terminal.drawn())) <= width


def test_a_download_says_how_far_how_fast_and_how_long_at_60_columns() -> None:
    """What a user of a narrow terminal wants to know; what it does has no room."""
    terminal = Terminal(60)
    downloading(terminal, 8)
    [line] = terminal.drawn()
    assert line.endswith(f"{DOWNLOAD}  10%  12.5 MB/s 1:12 left 0:08")


def test_a_download_says_what_it_does_at_80_columns() -> None:
    """Which file or which phase it is."""
    terminal = Terminal(80)
    downloading(terminal, 8)
    [line] = terminal.drawn()
    assert line.split() == [
        line[0], *DOWNLOAD.split(), "downloading", "10%", "12.5", "MB/s", "1:12", "left", "0:08",
    ]  # fmt: skip


def test_a_wide_terminal_has_a_bar_and_the_peak_of_memory() -> None:
    """Everything, in the order in which it stands."""
    terminal = Terminal(120)
    terminal.tell(
        Started(WEIGHTS, "compressing the weights"),
        Progressed(WEIGHTS, "Applying Weight Compression", 50, 100),
        MemorySeen(WEIGHTS, 560_000_000),
    )
    terminal.now = 12
    [line] = terminal.drawn()
    parts = (WEIGHTS, "Applying Weight Compression", " 50%", "━━━━╌╌╌╌", "0:12", "peak 560.0 MB")
    assert [line.index(part) for part in parts] == sorted(line.index(part) for part in parts)


def test_the_columns_of_all_stages_stand_below_each_other() -> None:
    """A table that is read down a column."""
    terminal = Terminal(80)
    downloading(terminal, 8)
    terminal.tell(Started(EXPORT, "exporting to OpenVINO IR"), at=8)
    first, second = terminal.drawn()
    assert first.index("0:08") == second.index("0:00")


def test_a_stalled_download_gets_slower_and_longer() -> None:
    """No event comes then, so the clock has to say it."""
    terminal = Terminal(80)
    downloading(terminal, 8)
    terminal.now = 80
    assert "1.2 MB/s 12:00 left 1:20" in terminal.drawn()[0]


def test_the_header_counts_the_stages_that_began() -> None:
    """Where a long build is."""
    terminal = Terminal(80)
    titles = tuple(f"stage-{number}" for number in range(13))
    terminal.tell(Planned(titles))
    for title in titles[:4]:
        terminal.tell(Started(title, "working"), Finished(title, manifest()))
    terminal.tell(Started(titles[4], "working"), at=65)
    assert terminal.drawn()[0].strip() == "stage 5 of 13, 1:05"


def test_what_ended_leaves_a_still_line() -> None:
    """The history of a build is worth reading."""
    terminal = Terminal(80)
    terminal.tell(Started(WEIGHTS, "compressing"), Finished(WEIGHTS, manifest()))
    assert terminal.drawn() == []
    assert f"✓ {WEIGHTS}  135.2 MB, 11.3 s, peak 600.0 MB" in terminal.said()


@pytest.mark.parametrize("ending", [LogKept(WEIGHTS, Path("logs/w.log")), Failed(WEIGHTS)])
def test_what_failed_stops_moving_and_is_named(ending: Event) -> None:
    """With --keep-going the others go on below it."""
    terminal = Terminal(80)
    terminal.tell(Started(WEIGHTS, "compressing"), ending, Failed(WEIGHTS))
    assert terminal.drawn() == []
    assert terminal.said().count(f"✗ {WEIGHTS}") == 1
    assert ("log: logs/w.log" in terminal.said()) == isinstance(ending, LogKept)


def test_waiting_and_warnings_are_said_as_they_are() -> None:
    """A text with brackets is no markup."""
    terminal = Terminal(80)
    terminal.tell(Waiting(EXPORT, "another build is making it"), Warned(EXPORT, "[red]x[/red]"))
    assert f"… {EXPORT}  another build is making it" in terminal.said()
    assert f"! {EXPORT}  [red]x[/red]" in terminal.said()


@given(
    width=st.integers(30, 200),
    title=st.text("abc:-", min_size=1, max_size=60),
    message=st.text("abc ", min_size=1, max_size=90),
    done=st.none() | st.floats(0, 2e12),
    total=st.none() | st.floats(0, 1e12),
    unit=st.sampled_from(["", "B"]),
    seconds=st.integers(0, 100_000),
)
def test_at_any_width_the_time_is_there_and_nothing_wraps(
    width: int,
    title: str,
    message: str,
    done: float | None,
    total: float | None,
    unit: str,
    seconds: int,
) -> None:
    """Whatever a stage says of itself."""
    terminal = Terminal(width)
    terminal.tell(Started(title, "working"), Progressed(title, message, 0, total, unit))
    terminal.tell(Progressed(title, message, done, total, unit), at=seconds)
    [line] = terminal.drawn()
    assert len(line) <= width
    assert clock_face(seconds) in line
