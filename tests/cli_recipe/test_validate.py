"""`ovrecipe validate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import CommandLine


def test_all_recipes_are_checked_and_each_has_a_line(project: Path, ovrecipe: CommandLine) -> None:
    """What a continuous integration calls."""
    (project / "recipes" / "bad.yaml").write_text("modle: {}\n")
    done = ovrecipe("validate")
    assert done.code == 3
    assert "one: OK" in done.out
    assert "recipes/bad.yaml:1:1: modle: unknown key; perhaps you meant 'model'" in done.out


def test_good_recipes_end_with_zero(project: Path, ovrecipe: CommandLine) -> None:
    """Names and files are both fine."""
    assert ovrecipe("validate", "one") == (0, "one: OK\n", "")
    done = ovrecipe("validate", "recipes/one.yaml", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"recipes": [{"recipe": "recipes/one.yaml", "errors": []}]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("output: {filters: [strip_marker]}", "strip_markers"),
        ("tokenizer: {converter: openwino}", "openvino"),
        ("requires: {plugins: {ovrecipe-nowhere: ''}}", "pip install 'ovrecipe-nowhere'"),
        ("requires: {ovrecipe: '>=99'}", "requires ovrecipe>=99, but this is ovrecipe"),
        ("variants: {int4: {compressor: nncff}}", "nncf"),
        (
            "variants: {int4: {awq: true, dataset: gone.txt}}",
            "variants.int4.dataset: gone.txt: no such file",
        ),
        ("model: {id: 'nosuchscheme:x'}", "recipe 'two': no plugin"),
        ("output: {filters: [strip_markers: {markrs: [a]}]}", "perhaps you meant 'markers'"),
        ("plugins: {nobody: {}}", "plugins.nobody: no plugin owns this section"),
    ],
)
def test_what_nobody_provides_is_found_before_the_build(
    project: Path, ovrecipe: CommandLine, line: str, message: str
) -> None:
    """A filter's name is looked up now, not when the first answer is shown."""
    (project / "recipes" / "two.yaml").write_text(f"extends: one\n{line}\n")
    done = ovrecipe("validate", "two")
    assert done.code == 3
    assert message in done.out


def test_each_problem_is_an_object_of_its_own(project: Path, ovrecipe: CommandLine) -> None:
    """Editors and bots jump to a place; several lines in one text would have to be parsed."""
    (project / "recipes" / "bad.yaml").write_text(
        "model: {id: a/b}\nvariants: {int4: {grup_size: 64, ratio: 2}}\n"
    )
    (project / "recipes" / "syntax.yaml").write_text("model: [")
    (project / "recipes" / "two.yaml").write_text("extends: one\noutput: {filters: [nope]}\n")
    (project / "recipes" / "odd.yaml").mkdir()
    done = ovrecipe("validate", "--json")
    assert done.code == 3
    problems = {row["recipe"]: row["errors"] for row in json.loads(done.out)["recipes"]}
    assert problems["one"] == []
    assert problems["bad"] == [
        {
            "file": "recipes/bad.yaml",
            "line": 2,
            "column": 19,
            "key": "variants.int4.grup_size",
            "message": "unknown key; perhaps you meant 'group_size'",
            "remedy": None,
        },
        {
            "file": "recipes/bad.yaml",
            "line": 2,
            "column": 41,
            "key": "variants.int4.ratio",
            "message": "must be at most 1, got 2",
            "remedy": None,
        },
    ]
    [syntax] = problems["syntax"]
    assert (syntax["file"], syntax["key"]) == ("recipes/syntax.yaml", None)
    assert syntax["line"] >= 1
    [unknown] = problems["two"]
    assert "no plugin provides the output filter 'nope'" in unknown["message"]
    assert "strip_markers" in unknown["remedy"]
    [odd] = problems["odd"]
    assert (odd["file"], odd["line"]) == ("recipes/odd.yaml", None)
    assert odd["message"] == "is a folder"


def test_a_missing_file_or_name_is_an_error_of_its_own(
    project: Path, ovrecipe: CommandLine
) -> None:
    """The others are still checked."""
    done = ovrecipe("validate", "gone.yaml", "nobody", "one")
    assert done.code == 3
    assert "gone.yaml: no such file" in done.out
    assert "no recipe 'nobody'" in done.out
    assert "one: OK" in done.out
