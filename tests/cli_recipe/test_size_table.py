"""The table that `build` and `sizes` end with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.cli.size_table import bar, print_sizes
from tests.conftest import REPOSITORY


def row(
    variant: str, size_bytes: int, mean_kl: float, same_top: float = 0.979, **changes: Any
) -> dict[str, Any]:
    """Return a row of a variant that is built, as `size_rows` has it."""
    return {
        "name": "smollm2-135m",
        "variant": variant,
        "built": True,
        "stale": False,
        "refused": False,
        "weights_bytes": size_bytes,
        "ratio": 269_030_335 / size_bytes,
        "seconds": 19.7,
        "peak_memory_bytes": 590_500_000,
        "quality": {"mean_kl": mean_kl, "same_top": same_top},
        "path": str(Path.cwd() / "models" / "smollm2-135m" / variant),
        **changes,
    }


def missing(variant: str, **changes: bool) -> dict[str, Any]:
    """Return a row of a variant without figures."""
    state = {"built": False, "stale": False, "refused": False, **changes}
    return {"name": "smollm2-135m", "variant": variant, "ratio": None, **state}


#: What a build of the recipe made.
ROWS = [row("fp16", 269_030_335, 0.0, same_top=1.0, seconds=2.3),
        row("int8", 135_234_821, 0.004529, same_top=0.978723, seconds=18.6),
        row("int4", 85_831_365, 0.398527, same_top=0.707447, seconds=20.0)]  # fmt: skip


@pytest.fixture
def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Return the lines of a table as wide as asked for."""

    def lines(*rows: dict[str, Any], columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        print_sizes(rows)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return lines


def test_quality_and_verdict_stand_beside_the_size(printed: Callable[..., list[str]]) -> None:
    """A size alone says nothing; the terminal that most people have is 80 columns wide."""
    lines = printed(*ROWS, columns=80)
    assert [" ".join(line.split()) for line in lines[2:5]] == [
        "smollm2-135m:fp16 269.03 █████████ 1.000x <1e-6 100.0% accepted 2.3 s",
        "smollm2-135m:int8 135.23 ████▌ 1.989x 0.0045 97.9% accepted 18.6 s",
        "smollm2-135m:int4 85.83 ██▉ 3.134x 0.40 70.7% accepted 20.0 s",
    ]
    assert lines[5] == "in models/smollm2-135m/"
    assert max(map(len, lines)) <= 80


def test_the_manual_shows_the_table(printed: Callable[..., list[str]]) -> None:
    """As it is at 80 columns."""
    page = (REPOSITORY / "docs" / "report.md").read_text("utf-8").split("## In the terminal")[1]
    assert page.split("```\n")[1].splitlines() == printed(*ROWS, columns=80)


@pytest.mark.parametrize(
    ("columns", "gone"),
    [
        (120, set()),
        (80, {"peak"}),
        (66, {"peak", "made"}),
        (50, {"peak", "made", "same", "KL"}),
        (20, {"peak", "made", "same", "KL", "smaller", "verdict"}),
    ],
)
def test_what_has_no_room_is_left_out_whole(
    printed: Callable[..., list[str]], columns: int, gone: set[str]
) -> None:
    """A column cut in half looks like a figure; names and sizes always stand there."""
    lines = printed(*ROWS, columns=columns)
    words = {word for line in lines[:2] for word in line.split()}
    optional = {"peak", "made", "same", "KL", "smaller", "verdict"}
    assert optional - words == gone
    if columns > 20:
        assert [line for line in lines if "smollm2-135m:int4" in line and "85.83" in line]
        assert max(map(len, lines)) <= columns


def test_a_refused_variant_is_named_so_with_its_figures(
    printed: Callable[..., list[str]],
) -> None:
    """They are why; and it has no place among the models."""
    refused = row("int4", 85_831_365, 9.3, built=False, refused=True)
    lines = printed(ROWS[0], refused, columns=80)
    [shown] = [line for line in lines if "int4" in line]
    assert "refused" in shown
    assert " 9.3 " in shown


def test_what_has_no_figures_says_why(printed: Callable[..., list[str]]) -> None:
    """An empty line would look like nought."""
    lines = printed(ROWS[0], missing("int8", stale=True), missing("int4"), columns=80)
    assert lines[3].split() == ["smollm2-135m:int8", "stale"]
    assert lines[4].split() == ["smollm2-135m:int4", "not", "built"]


def test_columns_that_say_nothing_are_left_out(printed: Callable[..., list[str]]) -> None:
    """Of a directory that an older ovrecipe checked, no divergence is known."""
    old = row("int4", 85_831_365, 0.4, quality=None, ratio=None, seconds=None)
    lines = printed(old, columns=80)
    assert [line.split() for line in lines[:3]] == [
        ["weights", "peak"],
        ["variant", "MB", "memory"],
        ["smollm2-135m:int4", "85.83", "590.5", "MB"],
    ]


@pytest.mark.parametrize(
    ("share", "shown"), [(1, "████████"), (0.5, "████"), (0.328, "██▋"), (0.01, "▏"), (0, "")]
)
def test_a_bar_is_as_long_as_its_share(share: float, shown: str) -> None:
    """To an eighth of a letter."""
    assert bar(share, 8) == shown


def test_a_bar_is_of_ascii_where_the_terminal_is() -> None:
    """Other letters would end the command."""
    assert bar(0.5, 8, blocks=False) == "####"


def test_what_became_of_a_chat_template_is_said(printed: Callable[..., list[str]]) -> None:
    """Once for a recipe; that tools are described in other words is no news."""
    told = {"rendered_otherwise": ["one question", "tools"]}
    rows = [row("fp16", 269_030_335, 0.0, simplified=True, **told),
            row("int8", 135_234_821, 0.0, simplified=True, **told)]  # fmt: skip
    notes = [line for line in printed(*rows, columns=80) if "chat template" in line]
    assert len(notes) == 1
    assert "in 1 conversation (one question); a simplified form of it" in notes[0]
    [note] = printed(row("fp16", 9, 0.0, simplified=False, **told), columns=80)[-1:]
    assert "it has no simplified form" in note
    quiet = printed(row("fp16", 9, 0.0, simplified=False, rendered_otherwise=["tools"]), columns=80)
    assert not any("chat template" in line for line in quiet)


def test_a_model_that_genai_runs_wrongly_says_how_it_is_run(
    printed: Callable[..., list[str]],
) -> None:
    """It is slower, and answers one prompt at a time."""
    rows = [row(variant, 9, 0.0, attention_backend="steps") for variant in ("fp16", "int8")]
    [note] = [line for line in printed(*rows, columns=80) if "GenAI" in line]
    assert "ovrecipe runs it without, token by token" in note
    quiet = printed(row("fp16", 9, 0.0, attention_backend="SDPA"), columns=80)
    assert not any("GenAI" in line for line in quiet)
