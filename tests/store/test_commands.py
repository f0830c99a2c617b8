"""`ovrecipe verify` and `ovrecipe gc`, as a user calls them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ovrecipe.cli.main import application, exit_code_of
from ovrecipe.store.views import set_view
from tests.store.making import key_of, make
from tests.store.test_verify import break_the_manifest, flip_a_bit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ovrecipe.store.store import Store

WEIGHTS = key_of("weights", key_of())
OTHER = key_of("weights", group_size=32)


@pytest.fixture
def project(store: Store) -> Path:
    """A project with one view, on weights that were made from a base, and weights of old."""
    root = store.root.parent
    (root / "recipes").mkdir()
    make(store, key_of())
    make(store, OTHER)
    set_view(root / "models", "m", "int4", make(store, WEIGHTS))
    return root


@pytest.fixture
def ovrecipe(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call the command line in the project; return the exit code and what stdout got."""

    def call(*arguments: str) -> tuple[int, str]:
        import sys

        before = sys.argv
        sys.argv = ["ovrecipe", "--project", str(project), *arguments]
        try:
            code = exit_code_of(application())
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        finally:
            sys.argv = before
        return code, capsys.readouterr().out

    return call


Call = Any


def test_a_sound_store_is_said_to_be_sound(ovrecipe: Call) -> None:
    assert ovrecipe("verify") == (0, "3 artifacts verified, all as they were built\n")


def test_damage_exits_with_9(ovrecipe: Call, store: Store) -> None:
    flip_a_bit(store.artifact_dir(WEIGHTS))
    code, out = ovrecipe("verify")
    assert code == 9
    assert f"weights {WEIGHTS.short}: openvino_model.bin: has other bytes" in out
    assert out.endswith("3 artifacts verified, 1 problem\n")


def test_damage_is_reported_as_json_too(ovrecipe: Call, store: Store) -> None:
    flip_a_bit(store.artifact_dir(WEIGHTS))
    code, out = ovrecipe("verify", "--json")
    assert code == 9
    assert json.loads(out) == {
        "checked": 3,
        "problems": [
            {
                "stage": "weights",
                "sha256": WEIGHTS.sha256,
                "file": "openvino_model.bin",
                "message": "has other bytes than when it was made",
            }
        ],
        "removed": False,
    }


@pytest.mark.parametrize("damage", [flip_a_bit, break_the_manifest])
def test_removed_damage_can_be_built_again(
    ovrecipe: Call, store: Store, damage: Callable[[Path], None]
) -> None:
    damage(store.artifact_dir(WEIGHTS))
    assert ovrecipe("verify", "--remove")[0] == 0
    assert not store.has(WEIGHTS)
    assert store.has(OTHER)
    assert ovrecipe("verify")[0] == 0


def test_a_name_stands_for_all_that_it_was_made_from(ovrecipe: Call, store: Store) -> None:
    """A damaged base makes the next variant wrong; weights of old have nothing to do with it."""
    flip_a_bit(store.artifact_dir(OTHER))
    assert ovrecipe("verify", "m:int4") == (0, "2 artifacts verified, all as they were built\n")
    flip_a_bit(store.artifact_dir(key_of()))
    assert ovrecipe("verify", "m")[0] == 9


@pytest.mark.parametrize("name", ["unknown", "m:int8"])
def test_a_name_that_is_not_built_exits_with_10(ovrecipe: Call, name: str) -> None:
    assert ovrecipe("verify", name) == (10, "")


def test_gc_removes_what_no_view_needs(ovrecipe: Call, store: Store) -> None:
    code, out = ovrecipe("gc")
    assert code == 0
    assert f"of no recipe             weights/{OTHER.short}\n" in out
    assert "1 artifact removed" in out
    assert out.endswith("2 artifacts kept\n")
    assert not store.has(OTHER)
    assert store.has(WEIGHTS)
    assert store.has(key_of())


def test_gc_says_what_it_would_do(ovrecipe: Call, store: Store) -> None:
    code, out = ovrecipe("gc", "--dry-run", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["dry_run"] is True
    assert document["unplanned"] == []
    assert [each["name"] for each in document["removals"]] == [f"weights/{OTHER.sha256}"]
    assert document["freed_bytes"] == document["removals"][0]["size_bytes"]
    assert document["kept"] == 2
    assert store.has(OTHER)


def test_gc_drops_intermediates_when_asked(ovrecipe: Call, store: Store) -> None:
    assert ovrecipe("gc", "--intermediates")[0] == 0
    assert not store.has(key_of())
    assert store.has(WEIGHTS)


def test_a_recipe_that_cannot_be_planned_is_named(ovrecipe: Call, project: Path) -> None:
    """Cleaning up works while a recipe is being edited, and says what that means."""
    (project / "recipes" / "broken.yaml").write_text("model: [")
    code, out = ovrecipe("gc", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["unplanned"] == ["broken"]
