"""What a build writes to a log or a pipe, and the figures that its events give."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ovrecipe.build.events import (
    HEARTBEAT_SECONDS,
    AtWork,
    Ended,
    Failed,
    Finished,
    Lines,
    LogKept,
    MemorySeen,
    Planned,
    Progressed,
    StageEvent,
    Started,
    Waiting,
    Warned,
)
from ovrecipe.store.manifest import Manifest

BASE = "base smollm2-135m"


class Timers:
    """A clock and the timers that it runs, moved on by the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[Timer] = []

    def start(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, action)
        self.waiting.append(timer)
        return timer

    def pass_to(self, now: float) -> None:
        """Let the time go by and call what is due."""
        while due := [timer for timer in self.waiting if timer.due <= now and not timer.cancelled]:
            timer = min(due, key=lambda timer: timer.due)
            self.waiting.remove(timer)
            self.now = timer.due
            timer.action()
        self.now = now


class Timer:
    """One call that is due at some time."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due, self.action, self.cancelled = due, action, False

    def cancel(self) -> None:
        self.cancelled = True


class Log:
    """Lines that are written to a text, with a clock of their own."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.timers = Timers()
        self.lines = Lines(self.stream, clock=lambda: self.timers.now, timer=self.timers.start)

    def said(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def manifest() -> Manifest:
    return Manifest(
        stage="base",
        sha256="0" * 64,
        key={},
        files={},
        created="2026",
        tools={},
        facts={},
        seconds=12.24,
        peak_memory_bytes=1_380_000_000,
    )


def test_a_line_for_each_event_that_matters() -> None:
    """A log of a night's build is read from top to bottom."""
    log = Log()
    for event in (
        Planned((BASE,)),
        Waiting(BASE, "another build (process 7) is making it; waiting for it"),
        Started(BASE, "exporting to OpenVINO IR"),
        Progressed(BASE, "tracing and converting"),
        MemorySeen(BASE, 10**9),
        Warned(BASE, "observer 'journal' failed"),
        Finished(BASE, manifest()),
    ):
        log.lines(event)
    assert log.said() == [
        f"   {BASE}: another build (process 7) is making it; waiting for it",
        f"   {BASE}: exporting to OpenVINO IR",
        f"   {BASE}: observer 'journal' failed",
        f"   {BASE}: 12.2 s, peak 1.38 GB",
    ]


def test_a_stage_at_work_says_so_every_half_minute() -> None:
    """A pipe, too, must be seen to move; the words are the last ones of the stage."""
    log = Log()
    log.lines(Started(BASE, "exporting to OpenVINO IR"))
    log.timers.pass_to(29)
    log.lines(Progressed(BASE, "tracing and converting"))
    log.timers.pass_to(61)
    log.lines(Progressed(BASE, "writing", done=45, total=100))
    log.timers.pass_to(91)
    assert HEARTBEAT_SECONDS == 30
    assert log.said()[1:] == [
        f"   {BASE}: 30 s, tracing and converting",
        f"   {BASE}: 60 s, tracing and converting",
        f"   {BASE}: 90 s, writing, 45%",
    ]


@pytest.mark.parametrize(
    "ending",
    [Finished(BASE, manifest()), LogKept(BASE, Path("x.log")), Failed(BASE), Ended(BASE)],
)
def test_a_stage_that_ended_has_no_heartbeat(ending: StageEvent) -> None:
    """Nobody is told that the dead are at work."""
    log = Log()
    log.lines(Started(BASE, "exporting"))
    log.lines(ending)
    assert [timer.cancelled for timer in log.timers.waiting] == [True]
    said = log.said()
    log.timers.pass_to(200)
    assert log.said() == said


def test_a_beat_that_is_late_says_nothing() -> None:
    """A timer may fire while its stage ends."""
    log = Log()
    log.lines(Started(BASE, "exporting"))
    [timer] = log.timers.waiting
    log.lines(Failed(BASE))
    timer.action()
    assert log.said() == [f"   {BASE}: exporting"]


def test_figures_of_a_download() -> None:
    """The speed is that of the last seconds, so the time left follows it."""
    work = AtWork(BASE, "downloading", started=0)
    for second, done in [(0, 0), (10, 100), (20, 500), (30, 900)]:
        work.progressed(Progressed(BASE, "downloading", done, 1300, "B"), second)
    assert work.share == pytest.approx(900 / 1300)
    assert work.bytes_per_second(30) == 40
    assert work.seconds_left(30) == 10


def test_a_new_file_starts_a_new_speed() -> None:
    """What was measured of another count says nothing of this one."""
    work = AtWork(BASE, "downloading", started=0)
    for second, done in [(0, 0), (10, 1000), (11, 0), (12, 10)]:
        work.progressed(Progressed(BASE, "downloading", done, 1000, "B"), second)
    assert work.bytes_per_second(12) == 10


@pytest.mark.parametrize(("done", "total"), [(None, None), (5, None), (5, 0), (None, 5)])
def test_no_share_where_the_end_is_not_known(done: float | None, total: float | None) -> None:
    """Nothing is invented."""
    work = AtWork(BASE, "x", started=0)
    work.progressed(Progressed(BASE, "x", done, total, "B"), 1)
    assert work.share is None
    assert work.seconds_left(1) is None


def test_things_that_are_no_bytes_have_no_speed() -> None:
    """Layers per second would be no figure that anybody waits for."""
    work = AtWork(BASE, "x", started=0)
    for second in (0, 1, 2):
        work.progressed(Progressed(BASE, "x", second, 10), second)
    assert work.bytes_per_second(2) is None
    assert work.seconds_left(2) is None
