"""A recipe written anew: the settings change, and nothing else does."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from ovrecipe.build.tuning.rewriting import settings_of_pass, write_settings
from ovrecipe.errors import ProjectError
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import bundled_recipes_dir
from tests.tune.making import variant

BUNDLED = sorted(bundled_recipes_dir().glob("*.yaml"))
CHOSEN = {"sym": True, "group_size": 32, "ratio": 0.7}


def write(path: Path, name: str = "int4", **knobs: object) -> str:
    """Write settings into a recipe; return the lines that were removed and added."""
    before = path.read_text("utf-8").splitlines()
    write_settings(load_recipe_file(path), name, variant(**(knobs or CHOSEN)))
    after = path.read_text("utf-8").splitlines()
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    return "\n".join(line for line in lines if not line.startswith("@@"))


def recipe_of(folder: Path, variants: str, more: str = "") -> Path:
    path = folder / "m.yaml"
    path.write_text(f"model: {{id: org/m}}\nvariants:\n{variants}{more}", "utf-8")
    return path


@pytest.mark.parametrize("bundled", BUNDLED, ids=[path.stem for path in BUNDLED])
def test_one_line_of_a_bundled_recipe_changes(tmp_path: Path, bundled: Path) -> None:
    """Comments, blank lines, quotes and the order of keys are the author's."""
    path = tmp_path / bundled.name
    path.write_text(bundled.read_text("utf-8"), "utf-8")
    removed, added = write(path).splitlines()
    assert removed.startswith("-  int4: {sym: ")
    assert added == "+  int4: {sym: true, group_size: 32, ratio: 0.7}"


def test_comments_in_a_block_stay_at_their_keys(tmp_path: Path) -> None:
    """What was searched is told by comments that nobody wants to write again."""
    path = recipe_of(
        tmp_path,
        "  int4:\n    # Answers suffer above.\n    ratio: 0.5  # tried by hand\n"
        "    group_size: 64\n"
        "  # An NPU wants this.\n  int4-npu: {sym: true, group_size: -1}\n",
    )
    assert write(path).splitlines() == [
        "-    ratio: 0.5  # tried by hand",
        "-    group_size: 64",
        "+    ratio: 0.7  # tried by hand",
        "+    group_size: 32",
        "+    sym: true",
    ]


def test_a_value_that_stays_is_not_written_anew(tmp_path: Path) -> None:
    """The author's way to write a number is as good."""
    path = recipe_of(tmp_path, "  int4: {ratio: 7e-1, group_size: 64}\n")
    assert write(path).splitlines()[1] == "+  int4: {ratio: 7e-1, group_size: 32, sym: true}"


def test_knobs_that_were_not_chosen_go(tmp_path: Path) -> None:
    """AWQ that did not win must not stay beside what won; other keys of the variant do."""
    path = recipe_of(
        tmp_path, "  int4: {awq: true, group_size: 64, optional: true, accept: {same_top: 0.8}}\n"
    )
    write(path)
    found = load_recipe_file(path).variants["int4"]
    assert settings_of_pass(found) == CHOSEN
    assert (found.optional, found.accept.same_top) == (True, 0.8)


def test_a_budget_takes_the_place_of_knobs(tmp_path: Path) -> None:
    """Its compressor refuses them."""
    path = recipe_of(tmp_path, "  int4: {sym: false, group_size: 64}  # why\n  int8: {}\n")
    write(path, compressor="budget", options={"bits_per_weight": 4.5})
    assert (
        "  int4: {compressor: budget, options: {bits_per_weight: 4.5}} # why\n" in path.read_text()
    )


@pytest.mark.parametrize("variants", ["  int8: {}\n", "  int8: {}\n  int4:\n"])
def test_a_variant_that_says_nothing_yet_gets_its_settings(tmp_path: Path, variants: str) -> None:
    """`tune` of a recipe without INT4 adds it."""
    path = recipe_of(tmp_path, variants)
    assert "+  int4: {sym: true, group_size: 32, ratio: 0.7}" in write(path)
    assert settings_of_pass(load_recipe_file(path).variants["int4"]) == CHOSEN


def test_inherited_knobs_are_taken_back(tmp_path: Path) -> None:
    """A recipe that extends another one says what differs; a null undoes what it inherits."""
    base = recipe_of(tmp_path, "  int4: {awq: true, group_size: 64}\n")
    before = base.read_text()
    path = tmp_path / "mine.yaml"
    path.write_text("extends: m\n# Mine.\n", "utf-8")
    write(path)
    assert settings_of_pass(load_recipe_file(path).variants["int4"]) == CHOSEN
    assert path.read_text().startswith("extends: m\n# Mine.\n")
    assert base.read_text() == before


def test_windows_line_ends_and_the_mark_in_front_stay(tmp_path: Path) -> None:
    """A file must not change from end to end because one setting did."""
    path = recipe_of(tmp_path, "  int4: {group_size: 64}\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    write(path)
    written = path.read_bytes()
    assert written.startswith(b"\xef\xbb\xbfmodel: {id: org/m}\r\n")
    assert written.count(b"\n") == written.count(b"\r\n") == 3


def test_what_cannot_be_changed_alone_is_left_alone(tmp_path: Path) -> None:
    """Two variants share one mapping: the other one would change as well."""
    path = recipe_of(tmp_path, "  int4: &knobs {group_size: 64}\n  int4-other: *knobs\n")
    before = path.read_bytes()
    with pytest.raises(ProjectError, match="without changing something else") as caught:
        write(path)
    assert "int4: {sym: true, group_size: 32, ratio: 0.7}" in str(caught.value.remedy)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["m.yaml"]


def test_a_recipe_that_cannot_be_written_says_what_to_write(tmp_path: Path) -> None:
    """The figures took long to get."""
    path = recipe_of(tmp_path, "  int4: {group_size: 64}\n")
    recipe = load_recipe_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ProjectError, match=r"m\.yaml") as caught:
        write_settings(recipe, "int4", variant(**CHOSEN))
    assert "write it yourself: int4: {sym: true," in str(caught.value.remedy)
