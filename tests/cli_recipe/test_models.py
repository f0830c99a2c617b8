"""`ovrecipe models`: what is known of architectures."""

from __future__ import annotations

import json
import re

import pytest

from ovrecipe.builtin.architectures import RESULTS, architectures
from ovrecipe.testing.tiny import TINY
from tests.conftest import REPOSITORY, CommandLine


def test_a_beginning_of_a_name_finds_its_kinds(ovrecipe: CommandLine) -> None:
    """Nobody knows by heart whether it is gemma3 or gemma3_text."""
    listed = json.loads(ovrecipe("models", "falcon", "mpt", "--json").out)["architectures"]
    assert [one["name"] for one in listed] == [
        "falcon", "falcon+alibi", "falcon+new", "falcon_mamba", "mpt",
    ]  # fmt: skip
    assert listed[-1]["oldest"] == "4.57"


def test_a_name_that_is_asked_for_is_explained(ovrecipe: CommandLine) -> None:
    """The table has no room for reasons."""
    said = " ".join(ovrecipe("models", "baichuan").out.split())
    assert "4.57 to 4.57.6" in said
    assert "only the checkpoint's own code has it" in said


def test_results_can_be_asked_for(ovrecipe: CommandLine) -> None:
    """What does not work is what one wants to know before a download."""
    listed = json.loads(ovrecipe("models", "--result", "untried", "--json").out)["architectures"]
    assert {one["result"] for one in listed} == {"untried"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("martian",), "no architecture is called 'martian'; perhaps you meant 'marian'"),
        (("zzz",), "'ovrecipe models' lists all"),
        (("--result", "rite"), "there is no result 'rite'; perhaps you meant 'right'"),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(
    ovrecipe: CommandLine, words: tuple[str, ...], said: str
) -> None:
    """An empty table would look like an answer."""
    done = ovrecipe("models", *words)
    assert done.code == 2
    assert said in done.said


def test_the_table_of_the_documentation_has_the_data(ovrecipe: CommandLine) -> None:
    """The benchmark writes both."""
    text = (REPOSITORY / "docs" / "architectures.md").read_text("utf-8")
    rows = [row.split(" | ") for row in text.splitlines() if re.match(r"\| [a-z]", row)][1:]
    known = {(one.name, one.transformers, one.result) for one in architectures()}
    assert {(row[0].removeprefix("| "), row[1], row[4]) for row in rows} == known


def test_every_tiny_checkpoint_is_in_the_data_and_no_result_is_unknown() -> None:
    """Who adds one tries it."""
    assert {*TINY} <= {one.name for one in architectures()}
    assert {one.result for one in architectures()} <= {*RESULTS}
    assert not [one.name for one in architectures() if one.result == "wrong"]
