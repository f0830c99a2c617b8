"""`ovrecipe verify` and `ovrecipe gc`, as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.store.views import set_view
from tests.store.making import key_of, make
from tests.store.test_verify import break_the_manifest, flip_a_bit

if TYPE_CHECKING:
    from ovrecipe.store.store import Store
    from tests.conftest import CommandLine

WEIGHTS = key_of("weights", key_of())
OTHER = key_of("weights", group_size=32)


@pytest.fixture(autouse=True)
def project(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project with one view, on weights made from a base, and weights of old."""
    root = store.root.parent
    (root / "recipes").mkdir()
    make(store, key_of())
    make(store, OTHER)
    set_view(store, root / "models", "m", "int4", make(store, WEIGHTS))
    monkeypatch.chdir(root)
    return root


def test_a_sound_store_is_said_to_be_sound(ovrecipe: CommandLine) -> None:
    assert ovrecipe("verify") == (0, "3 artifacts verified, all as they were built\n", "")


def test_damage_exits_with_9(ovrecipe: CommandLine, store: Store) -> None:
    flip_a_bit(store.artifact_dir(WEIGHTS))
    code, out, _ = ovrecipe("verify")
    assert code == 9
    assert f"weights {WEIGHTS.short}: openvino_model.bin: has other bytes" in out
    assert out.endswith("3 artifacts verified, 1 problem\n")


def test_damage_is_reported_as_json_too(ovrecipe: CommandLine, store: Store) -> None:
    flip_a_bit(store.artifact_dir(WEIGHTS))
    code, out, _ = ovrecipe("verify", "--json")
    assert code == 9
    assert json.loads(out) == {
        "checked": 3,
        "problems": [
            {
                "stage": "weights",
                "sha256": WEIGHTS.sha256,
                "file": "openvino_model.bin",
                "message": "has other bytes than when it was made",
                "spreads": True,
            }
        ],
        "descendants": [],
        "removed": 0,
    }


@pytest.mark.parametrize("damage", [flip_a_bit, break_the_manifest])
def test_removed_damage_can_be_built_again(
    ovrecipe: CommandLine, store: Store, damage: Callable[[Path], None]
) -> None:
    damage(store.artifact_dir(WEIGHTS))
    assert ovrecipe("verify", "--remove").code == 0
    assert not store.has(WEIGHTS)
    assert store.has(OTHER)
    assert ovrecipe("verify").code == 0


def test_a_name_stands_for_all_that_it_was_made_from(ovrecipe: CommandLine, store: Store) -> None:
    """A damaged base makes the next variant wrong; weights of old have nothing to do with it."""
    flip_a_bit(store.artifact_dir(OTHER))
    assert ovrecipe("verify", "m:int4").out == "2 artifacts verified, all as they were built\n"
    flip_a_bit(store.artifact_dir(key_of()))
    assert ovrecipe("verify", "m").code == 9


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("m:int8", 10, "m:int8 is not built\n  build it with 'ovrecipe build m:int8'"),
        ("mm", 3, "no recipe 'mm' in recipes/; perhaps you meant 'm'\n  there are: m"),
        ("m:int9", 3, "recipe 'm' has no variant 'int9'; perhaps you meant 'm:int8'"),
    ],
)
def test_a_name_that_is_not_built_is_told_from_one_that_nothing_has(
    ovrecipe: CommandLine, project: Path, name: str, code: int, said: str
) -> None:
    """Building what does not exist is no remedy."""
    recipe = "model: {id: org/m}\nvariants: {int4: {}, int8: {}}\n"
    (project / "recipes" / "m.yaml").write_text(recipe)
    done = ovrecipe("verify", name)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_gc_removes_what_no_view_needs(ovrecipe: CommandLine, store: Store) -> None:
    code, out, _ = ovrecipe("gc")
    assert code == 0
    assert f"of no recipe             weights/{OTHER.short}\n" in out
    assert "1 artifact removed" in out
    assert out.endswith("2 artifacts kept\n")
    assert not store.has(OTHER)
    assert store.has(WEIGHTS)
    assert store.has(key_of())


def test_gc_says_what_it_would_do(ovrecipe: CommandLine, store: Store) -> None:
    code, out, _ = ovrecipe("gc", "--dry-run", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["dry_run"] is True
    assert document["unplanned"] == []
    assert [removal["name"] for removal in document["removals"]] == [f"weights/{OTHER.sha256}"]
    assert document["freed_bytes"] == document["removals"][0]["size_bytes"]
    assert document["kept"] == 2
    assert store.has(OTHER)


def test_gc_drops_intermediates_when_asked(ovrecipe: CommandLine, store: Store) -> None:
    assert ovrecipe("gc", "--intermediates").code == 0
    assert not store.has(key_of())
    assert store.has(WEIGHTS)


def test_a_recipe_that_cannot_be_planned_is_named(ovrecipe: CommandLine, project: Path) -> None:
    """Cleaning up works while a recipe is being edited, and says what that means."""
    (project / "recipes" / "broken.yaml").write_text("model: [")
    code, out, _ = ovrecipe("gc", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["unplanned"] == ["broken"]
