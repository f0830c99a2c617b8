"""`why` shows fields, so the differences have to be all of them and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given

from ovrecipe.errors import ArtifactCorrupt
from ovrecipe.store.key import ABSENT, Key, differences
from ovrecipe.store.store import Store
from tests.store.making import key_of, make
from tests.store.test_key import DOCUMENTS
from tests.store.test_verify import break_the_manifest


def test_each_differing_field_is_named_by_its_path() -> None:
    wanted = {"compression": {"group_size": 64, "sym": True}, "names": ["a", "b"], "nncf": "3.5"}
    stored = {"compression": {"group_size": 32, "ratio": 1.0}, "names": ["a"], "nncf": "3.5"}
    assert differences(wanted, stored) == [
        ("compression.group_size", 32, 64),
        ("compression.ratio", 1.0, ABSENT),
        ("compression.sym", ABSENT, True),
        ("names[1]", ABSENT, "b"),
    ]


def test_null_is_not_absent() -> None:
    assert differences({"revision": None}, {}) == [("revision", ABSENT, None)]
    assert repr(ABSENT) == "(absent)"


@given(DOCUMENTS, DOCUMENTS)
@example({"a": 1}, {"a": True})
@example({"a": 1}, {"a": 1.0})
@example({"a": 0.0}, {"a": -0.0})
def test_there_are_differences_exactly_when_keys_differ(
    wanted: dict[str, Any], stored: dict[str, Any]
) -> None:
    """`why` never says "nothing differs" about something that is built again."""
    one, two = Key("base", wanted), Key("base", stored)
    assert (differences(one.document, two.document) == []) == (one == two)


def unexpected(error: ArtifactCorrupt) -> None:
    raise error


def test_the_nearest_artifact_has_the_fewest_differences(store: Store) -> None:
    make(store, key_of("weights", group_size=32, sym=True, ratio=1.0))
    make(store, key_of("weights", group_size=32, sym=False, ratio=0.5))
    make(store, key_of("base", group_size=64, sym=False, ratio=0.6))
    found = store.nearest(key_of("weights", group_size=64, sym=False, ratio=0.5), unexpected)
    assert found is not None
    assert found.key["sym"] is False
    assert found.stage == "weights"


def test_of_equally_near_artifacts_the_newest_is_taken(store: Store) -> None:
    """It is the one that the user remembers."""
    from datetime import UTC, datetime

    for size, year in ((32, 2025), (128, 2026), (16, 2024)):
        dated = Store(store.root, clock=lambda year=year: datetime(year, 1, 1, tzinfo=UTC))
        make(dated, key_of("weights", group_size=size))
    found = store.nearest(key_of("weights", group_size=64), unexpected)
    assert found is not None
    assert found.key["group_size"] == 128


def test_without_an_artifact_of_the_stage_nothing_is_near(store: Store) -> None:
    make(store, key_of("base"))
    assert store.nearest(key_of("weights"), unexpected) is None


def test_a_damaged_artifact_is_left_out_and_said(store: Store) -> None:
    """`why` answers about the sound ones; `verify` is there for the other."""
    make(store, key_of("weights", group_size=32))
    make(store, key_of("weights", group_size=64))
    break_the_manifest(store.artifact_dir(key_of("weights", group_size=64)))
    damaged: list[ArtifactCorrupt] = []
    found = store.nearest(key_of("weights", group_size=64), damaged.append)
    assert found is not None
    assert found.key["group_size"] == 32
    assert ["is not JSON" in error.message for error in damaged] == [True]
