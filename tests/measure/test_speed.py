"""Medians, their spread, and what counts as slower."""

from __future__ import annotations

import pytest

from ovrecipe.measure.speed import Figure, best_of, change, summaries, summary_of

TTFT = Figure("ttft_ms", 512)


def test_the_spread_is_the_median_distance_from_the_median() -> None:
    """One run that was disturbed moves neither."""
    summary = summary_of([10.0, 11.0, 9.0, 10.5, 90.0])
    assert (summary.median, summary.spread) == (10.5, 0.5)


def test_a_figure_is_found_again_by_its_key() -> None:
    """The history keeps it as one word."""
    for figure in (TTFT, Figure("load_time_ms")):
        assert Figure.of(figure.key) == figure
    assert list(summaries([{"ttft_ms@512": 1.0}, {"ttft_ms@512": 3.0}])) == [TTFT]


@pytest.mark.parametrize(
    ("name", "before", "now", "verdict"),
    [
        ("ttft_ms", [10, 10.1, 9.9], [12, 12.1, 11.9], "slower"),
        ("ttft_ms", [12, 12.1, 11.9], [10, 10.1, 9.9], "faster"),
        ("throughput", [100, 101, 99], [80, 81, 79], "slower"),
        ("throughput", [80, 81, 79], [100, 101, 99], "faster"),
        ("peak_memory_bytes", [100, 101, 99], [120, 121, 119], "more"),
    ],
)
def test_a_change_beyond_the_spread_has_a_verdict(
    name: str, before: list[float], now: list[float], verdict: str
) -> None:
    """More tokens a second are better, more of anything else is worse."""
    found = change(Figure(name, 1), summary_of(now), summary_of(before))
    assert found.verdict == verdict
    assert found.is_worse == (verdict in ("slower", "more"))


@pytest.mark.parametrize(
    ("before", "now"),
    [([10, 12, 8], [13, 15, 11]), ([10.0, 10.0, 10.0], [10.2, 10.2, 10.2])],
    ids=["within the spread", "too small to matter"],
)
def test_noise_is_no_change(before: list[float], now: list[float]) -> None:
    """Two runs on one machine are never quite alike."""
    assert change(TTFT, summary_of(now), summary_of(before)).verdict == ""


def test_the_best_record_is_the_best_of_each_figure() -> None:
    """A slow creep is seen against it, though each step is small."""
    speed = Figure("throughput", 4)
    records = [
        {TTFT: summary_of([5.0]), speed: summary_of([50.0])},
        {TTFT: summary_of([7.0]), speed: summary_of([70.0])},
    ]
    best = best_of(records)
    assert (best[TTFT].median, best[speed].median) == (5.0, 70.0)
