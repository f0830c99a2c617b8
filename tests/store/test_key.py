"""A key is its document, and nothing about how the document was written down."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.store.key import Key

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    LEAVES | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=5)


def backwards(value: Any) -> Any:
    """Return the same JSON with every mapping written in the opposite order."""
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@given(DOCUMENTS)
def test_order_of_fields_does_not_matter(document: dict[str, Any]) -> None:
    """A recipe's sections come in any order."""
    assert Key("base", document) == Key("base", backwards(document))


@given(DOCUMENTS)
def test_a_key_survives_json(document: dict[str, Any]) -> None:
    """The manifest keeps the document as JSON, and `verify` computes the key from it again."""
    key = Key("base", document)
    assert Key("base", json.loads(json.dumps(key.document))) == key


@given(DOCUMENTS, DOCUMENTS)
def test_different_documents_have_different_keys(one: dict[str, Any], two: dict[str, Any]) -> None:
    """What repr tells apart, also 1 from 1.0 and from True, builds different artifacts."""
    same = repr(sorted_json(one)) == repr(sorted_json(two))
    assert (Key("base", one).sha256 == Key("base", two).sha256) == same


def sorted_json(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, sorted_json(value[name])) for name in sorted(value)]
    return [sorted_json(item) for item in value] if isinstance(value, list) else value


def test_the_sha256_is_the_same_everywhere_and_for_ever() -> None:
    """A change of this number throws away every store in the world."""
    key = Key("weights", {"ratio": 0.6, "name": "é", "inputs": {"base": "0" * 64}, "sym": None})
    assert key.canonical == (
        '{"document":{"inputs":{"base":"' + "0" * 64 + '"},"name":"\\u00e9","ratio":0.6,'
        '"sym":null},"stage":"weights"}'
    )
    assert key.sha256 == "e4d6f4290caf2b0c1124dea8deb2272f39795a6f68e289786e43155c6853756a"


def test_two_stages_do_not_share_a_key() -> None:
    assert Key("base", {}) != Key("tokenizer", {})


def test_a_key_keeps_what_it_hashed() -> None:
    """Whoever changes the mapping afterwards changes no published key."""
    document = {"scope": {"names": ["a"]}}
    key = Key("base", document)
    document["scope"]["names"].append("b")
    assert key.document == {"scope": {"names": ["a"]}}


def test_tuples_are_lists() -> None:
    """Recipes hold tuples, manifests hold lists."""
    assert Key("base", {"stop": ("a", "b")}) == Key("base", {"stop": ["a", "b"]})


def test_inputs_are_read_from_the_document() -> None:
    assert Key("weights", {"inputs": {"base": "ab"}}).inputs == ("ab",)
    assert Key("source", {}).inputs == ()


class Color(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"document\.a\.ratio: -?(nan|inf) is not a JSON number"):
        Key("base", {"a": {"ratio": value}})


@pytest.mark.parametrize("value", [{1}, b"x", Color.RED, object()])
def test_what_is_not_plain_json_is_refused(value: Any) -> None:
    """An enum's text is its own idea, and may change with a version."""
    with pytest.raises(TypeError, match=r"document\.a\[0\]: \w+ is not plain JSON"):
        Key("base", {"a": [value]})


def test_names_that_are_no_strings_are_refused() -> None:
    """JSON would turn 1 into "1", and two documents into one."""
    with pytest.raises(TypeError, match="document: the key 1 is not a string"):
        Key("base", {1: "a"})  # type: ignore[dict-item]


@pytest.mark.parametrize("stage", ["", "Base", "../base", "a/b", ".locks", "a" * 41, "base\n"])
def test_a_stage_is_a_folder_name(stage: str) -> None:
    with pytest.raises(ValueError, match="is no stage name"):
        Key(stage, {})
