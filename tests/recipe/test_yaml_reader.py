"""What YAML a recipe may be written in."""

from __future__ import annotations

import re

import pytest

from ovrecipe.errors import RecipeSyntaxError
from ovrecipe.recipe.yaml_reader import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    Node,
    Place,
    place_of,
    plain,
    plain_scalar,
    read_yaml,
)


def read(data: bytes) -> Node:
    """Return the tree of what has nothing to complain of."""
    unusable: list[tuple[Place, str]] = []
    tree = read_yaml(data, "r", unusable)
    assert unusable == []
    return tree


def refusal(data: str | bytes) -> str:
    """Return what is wrong with the whole, or else with single keys and values."""
    unusable: list[tuple[Place, str]] = []
    try:
        read_yaml(data.encode() if isinstance(data, str) else data, "r.yaml", unusable)
    except RecipeSyntaxError as error:
        return error.message
    return "\n".join(f"{place}: {reason}" for place, reason in sorted(unusable))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("12:30", "12:30"),
        ("no", "no"),
        ("off", "off"),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("-1", -1),
        (".5", 0.5),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("~", None),
        ("", None),
    ],
)
def test_plain_values_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    """YAML 1.1 reads `no` as false, 12:30 as 750 and 1e-3 as text."""
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)


def test_quoted_values_are_text() -> None:
    """Quotes are how a user says that something is text."""
    assert plain(read(b"a: '1'\nb: \"true\"\n")) == {"a": "1", "b": "true"}


def test_duplicate_keys_are_refused_where_the_second_stands() -> None:
    """PyYAML keeps the last one silently."""
    assert refusal("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == (
        "r.yaml:4:3: c: stands twice; first in line 3\nr.yaml:5:1: a: stands twice; first in line 1"
    )


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    """Nine lines of aliases would write out to a billion values."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert f"grows to more than {MAX_NODES} values" in refusal("\n".join(lines))


def test_a_mapping_bomb_through_merge_keys_is_refused() -> None:
    """`<<` expands as an alias does."""
    lines = ["a0: &a0 {k: [x,x,x,x,x,x,x,x]}"]
    lines += [f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, r: *a{n - 1}}}" for n in range(1, 12)]
    assert "grows to more than" in refusal("\n".join(lines))


def test_an_alias_of_what_holds_it_is_refused() -> None:
    """A list that contains itself has no end."""
    assert "alias '*a' names no anchor that is complete" in refusal("a: &a [*a]\n")


@pytest.mark.parametrize("opening", ["[" * 900_000, "{a: " * 200_000])
def test_deep_nesting_is_refused_without_recursion_trouble(opening: str) -> None:
    """PyYAML's own loader in C dies of it with the whole process."""
    assert f"nested deeper than {MAX_DEPTH}" in refusal(f"a: {opening}")


def test_a_large_file_is_refused_by_its_size() -> None:
    """A model file dropped into recipes/ is not parsed."""
    assert refusal(b"#" * 2 * MAX_BYTES) == "r.yaml: has more than 1,000,000 bytes; is it a recipe?"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n", "r.yaml:1:1: is no mapping"),
        ("hello\n", "r.yaml:1:1: is no mapping"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2:1: a second document starts"),
        ("a: !!python/object:os.system x\n", "tag 'tag:yaml.org,2002:python/object:os.system'"),
        ("a: !secret x\n", "tag '!secret' is not read"),
        ("a:\n\tb: 1\n", "r.yaml:2:1: a tab cannot indent YAML; use spaces"),
        ("1: a\n", "r.yaml:1:1: '1' is no text; quote it"),
        ("null: a\n", "'null' is no text"),
        ("? [a]\n: 1\n", "a list or mapping is no text"),
        ("a: .inf\n", "r.yaml:1:4: .inf is no number that a recipe can use"),
        ("a: 1e999\n", "1e999 is too large"),
        ("a: [1\n", "r.yaml:2:1: "),
        ("a: *nobody\n", "names no anchor"),
        ("<<: 3\n", "<<: takes an alias of a mapping"),
        ("a: \x07\n", "r.yaml:1:4: control character U+0007"),
        (
            "a: 1\nb: x\u2028 y\n",
            "r.yaml:2:5: U+2028 ends a line in YAML 1.1, and in YAML 1.2 it do",
        ),
        ('{"a\u2029b": 1}', "r.yaml:1:4: U+2029 ends a line"),
        ("# x\x85y\na: 1\n", "r.yaml:1:4: U+0085 ends a line"),
        (b"a: \x00\n", "r.yaml:1:4: control character U+0000"),
        (b"a: 1\nb: \xff\n", "r.yaml:2:4: byte 0xff is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "r.yaml:1:1: byte 0xff is not UTF-8"),
    ],
)
def test_other_input_is_refused_at_its_place(data: str | bytes, message: str) -> None:
    """Whatever is in the file, the user learns where and why."""
    assert message in refusal(data)


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"])
def test_what_ends_lines_in_yaml_1_1_only_is_read_where_it_is_escaped(character: str) -> None:
    """The parser would drop spaces beside it, and refuse it in a key without naming it."""
    with pytest.raises(RecipeSyntaxError, match=r"ends a line in YAML 1\.1") as caught:
        read(f"a: x{character} y\n".encode())
    [written] = re.findall(r"\\u[0-9A-F]{4}", str(caught.value.remedy))
    document = {f"a{character}b": f"x {character} y"}
    text = "{" + f'"a{written}b": "x {written} y"' + "}"
    assert plain(read(text.encode())) == document


def test_a_byte_order_mark_is_read_over() -> None:
    """Editors on Windows write one."""
    assert plain(read(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")) == {"a": 1, "b": 2}


def test_merge_keys_bring_entries_that_explicit_ones_override() -> None:
    """Anchors are how people share knobs between variants."""
    text = b"a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\n"
    document = plain(read(text))
    assert isinstance(document, dict)
    assert document["c"] == {"x": 9, "y": 2, "z": 4}


def test_places_count_characters_from_one() -> None:
    """Editors jump to line:column; a column counts characters, not bytes."""
    tree = read("é: {ключ: 値, b: [x, y]}\n".encode())
    assert str(place_of(tree, ("é", "b", 1))) == "r:1:21"
    assert str(place_of(tree, ("é", "ключ"), of_key=True)) == "r:1:5"
    assert str(place_of(tree, ("é", "missing", "more"))) == "r:1:1"
