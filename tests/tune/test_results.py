"""What a search shows in the end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ovrecipe.build.tuning.bounds import Candidate, Found, front
from ovrecipe.build.tuning.search import Results
from ovrecipe.cli.tune_results import none_within, plotted, show_left_out, show_results
from ovrecipe.measure.verdict import exceeded
from tests.tune.making import confirmed, measured, point, speed

FIGURES = [
    measured(point(group_size=64, ratio=ratio), kl)
    for ratio, kl in ((1.0, 0.4), (0.8, 0.5), (0.6, 0.2), (0.4, 0.09))
]


def test_a_plot_shows_every_point_once() -> None:
    """The front from the upper left to the lower right, and what was chosen on it."""
    best = front(FIGURES)
    drawn, legend = plotted(FIGURES, front=best, chosen=FIGURES[3]).rsplit("\n", 1)
    assert legend == "· measured, o front, X chosen"
    assert (drawn.count("·"), drawn.count("o"), drawn.count("X")) == (1, 2, 1)
    lines = [line for line in drawn.splitlines() if set("·oX") & {*line}]
    assert [line.strip()[-2] if line.strip().endswith("│") else "" for line in lines][-1] == "X"
    assert plotted(FIGURES[:2], front=best[:1], chosen=None).count("X") == 1, "in the legend only"


def test_the_table_is_by_size_with_front_choice_and_what_is_beyond(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole answer at a glance."""
    monkeypatch.setenv("COLUMNS", "120")
    show_results(Results(found=FIGURES[::-1], chosen=FIGURES[3]), as_json=False)
    rows = capsys.readouterr().out.splitlines()[1:5]
    assert [row.split()[0] for row in rows] == [one.point.name for one in FIGURES]
    assert "front; beyond mean_kl" in rows[0]
    assert "front" not in rows[1]
    assert rows[3].endswith("front; chosen")
    assert "0.0900±0.010" in rows[3]


def test_figures_along_the_longer_text_stand_below_those_of_the_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how many tokens each is from, and with what is beyond a limit beside its figure."""
    monkeypatch.setenv("COLUMNS", "100")
    first, second = (replace(one, quality={**one.quality, "tokens": 188}) for one in FIGURES[2:])
    refuted, best = confirmed(first, 0.12), confirmed(second, 0.08)
    show_results(Results(found=[refuted, best], chosen=best), as_json=False)
    rows = [line.rstrip() for line in capsys.readouterr().out.splitlines()[:6]]
    assert rows[1].endswith(" front")
    assert rows[2].startswith("  2,048 tokens")
    assert "0.1200±0.002" in rows[2]
    assert rows[2].endswith("beyond mean_kl")
    assert rows[3].endswith("front; chosen")
    assert "0.0800±0.002" in rows[4]
    assert rows[5] == "figures are over 188 tokens, where nothing else is said"


def test_speeds_are_shown_where_they_were_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The chosen one is named with its figure; of equals it is said that they are."""
    slow = replace(FIGURES[2], speed=speed(50), exceeded=())
    equal = replace(FIGURES[3], speed=speed(91, 92, 93))
    best = replace(FIGURES[0], speed=speed(88, 90, 94), exceeded=())
    results = Results(
        found=[slow, equal, best],
        chosen=best,
        timed_less={slow.point.name: "less than 80% as fast as others"},
    )
    show_results(results, as_json=False)
    said = capsys.readouterr().out
    assert "tokens/s" in said.splitlines()[0]
    assert "90.0±2.0" in said
    assert (
        f"{best.point.name}: 90.0±2.0 tokens/s; it is the smallest of the fastest, within noise as "
        f"fast as {equal.point.name}"
    ) in said
    assert "timed less often (1):" in said
    show_results(results, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["as_fast"] == [equal.point.name]
    figures = [one["tokens_a_second"] for one in document["measured"]]
    assert figures[0] == {"median": 50, "spread": 0, "samples": [50]}
    show_results(replace(results, found=[slow, best]), as_json=False)
    assert f"{best.point.name} is the fastest within the limits: 90.0±2.0 tokens/s" in (
        capsys.readouterr().out
    )
    show_results(Results(found=FIGURES), as_json=False)
    assert "tokens/s" not in capsys.readouterr().out


def test_figures_that_are_no_numbers_are_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    """A setting may break a model; the others are shown all the same."""
    quality = {"size_ratio": 0.3, "tokens": 188}
    over = tuple(exceeded(quality, {"mean_kl": 0.1}))
    broken = Found(Candidate(point(group_size=-1), 3), 3, quality, over)
    show_results(Results(found=[broken, *FIGURES]), as_json=False)
    shown = capsys.readouterr().out
    assert "int4-asym-row-r1" in shown
    assert "nan±nan" in shown


def test_settings_with_one_reason_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Sixty lines would hide the table."""
    show_left_out({"a": "larger", "b": "larger", "c": "coarser", "d": "larger"}, "not measured")
    assert capsys.readouterr().out.splitlines() == [
        "not measured (4):",
        "  a, b and 1 more: larger",
        "  c: coarser",
    ]
    show_left_out({}, "impossible")
    assert capsys.readouterr().out == ""


def test_the_error_names_the_closest_and_what_it_costs() -> None:
    """So that somebody can decide whether that is fine."""
    error = none_within("m:int4", Results(found=FIGURES[:3]))
    assert error.exit_code == 8
    assert "no setting is within the limits; the recipe is as it was" in error.message
    assert f"the closest is {FIGURES[2].point.name}" in error.message
    assert "mean_kl is 0.2, at most 0.1 is accepted" in error.message
    refuted = Results(found=[confirmed(FIGURES[3], 0.12)])
    assert "MB, along 2,048 tokens:" in none_within("m:int4", refuted).message
    assert "no setting could be measured" in none_within("m:int4", Results()).message
