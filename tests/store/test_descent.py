"""What was made from damage goes with it, and what cannot be judged stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import ArtifactTooNew
from ovrecipe.store.descent import Place, descendants, remove_youngest_first
from ovrecipe.store.gc import plan_gc
from ovrecipe.store.key import Key
from ovrecipe.store.views import set_view
from tests.store.making import fill, key_of, make
from tests.store.test_verify import flip_a_bit, make_it_newer, truncate

if TYPE_CHECKING:
    from ovrecipe.store.store import Store
    from tests.conftest import CommandLine

SOURCE = key_of("source")
BASE = key_of("base", SOURCE)
TOKENIZER = key_of("tokenizer", SOURCE)
INT4, INT8 = key_of("weights", BASE, bits=4), key_of("weights", BASE, bits=8)
ASSEMBLED = key_of("assemble", INT4, TOKENIZER)
EVERYTHING = (SOURCE, BASE, TOKENIZER, INT4, INT8, ASSEMBLED)


@pytest.fixture(autouse=True)
def built(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project whose one view leads to what was assembled from all but INT8."""
    root = store.root.parent
    (root / "recipes").mkdir()
    for key in EVERYTHING:
        make(store, key)
    set_view(store, root / "models", "m", "int4", store.artifact_dir(ASSEMBLED))
    monkeypatch.chdir(root)
    return root


def place_of(key: Key) -> Place:
    return Place(key.stage, key.sha256)


def left(store: Store) -> list[Key]:
    return [key for key in EVERYTHING if store.artifact_dir(key).exists()]


def test_each_descendant_is_named_with_what_it_was_made_from(
    ovrecipe: CommandLine, store: Store
) -> None:
    """Before anything is removed, the user sees how far a bad sector reaches."""
    flip_a_bit(store.artifact_dir(BASE))
    done = ovrecipe("verify")
    assert done.code == 9
    assert done.out.splitlines() == [
        f"{BASE}: openvino_model.bin: has other bytes than when it was made",
        *sorted(f"{key}: was made from {BASE}" for key in (INT4, INT8)),
        f"{ASSEMBLED}: was made from {INT4}",
        "6 artifacts verified, 1 problem",
    ]
    assert "1 damaged artifact and 3 made from such" in done.said
    assert left(store) == [*EVERYTHING]


def test_descendants_go_with_what_they_were_made_from(ovrecipe: CommandLine, store: Store) -> None:
    """Left alone, they would be certified by the next `verify`."""
    flip_a_bit(store.artifact_dir(BASE))
    done = ovrecipe("verify", "--remove")
    assert done.code == 0
    assert done.out.endswith("6 artifacts verified, 1 problem; 4 artifacts removed, build again\n")
    assert left(store) == [SOURCE, TOKENIZER]
    assert ovrecipe("verify").code == 0


def test_descendants_of_a_named_variant_are_looked_for_in_the_whole_store(
    ovrecipe: CommandLine, store: Store
) -> None:
    """The other variant of a damaged base is no better for not being named."""
    flip_a_bit(store.artifact_dir(BASE))
    done = ovrecipe("verify", "m:int4", "--remove", "--json")
    document = json.loads(done.out)
    assert {row["sha256"]: row["made_from"] for row in document["descendants"]} == {
        INT4.sha256: BASE.sha256,
        INT8.sha256: BASE.sha256,
        ASSEMBLED.sha256: INT4.sha256,
    }
    assert (done.code, document["checked"], document["removed"]) == (0, 5, 4)
    assert left(store) == [SOURCE, TOKENIZER]


def test_what_was_learned_of_damage_goes_too(ovrecipe: CommandLine, store: Store) -> None:
    """A compressor's statistics of a damaged base would be used for the one made again."""
    fill(store.cache_dir(BASE.sha256), {"sensitivities": b"wrong"})
    flip_a_bit(store.artifact_dir(BASE))
    assert ovrecipe("verify", "--remove").code == 0
    assert not store.cache_dir(BASE.sha256).exists()


def test_what_a_build_uses_stays_with_all_it_was_made_from(
    ovrecipe: CommandLine, store: Store
) -> None:
    """With its base gone, nobody would find the weights again that were made from it."""
    flip_a_bit(store.artifact_dir(BASE))
    with store.lock(key_of("assemble", INT8)):
        done = ovrecipe("verify", "--remove")
    assert done.code == 9
    assert "1 damaged artifact and 1 made from such" in done.said
    assert "a build is working on them; verify again when it is done" in done.said
    assert left(store) == [SOURCE, BASE, TOKENIZER, INT8]


def test_a_link_that_leads_nowhere_spoils_nothing(
    ovrecipe: CommandLine, store: Store, tmp_path: Path
) -> None:
    """Clearing a hub's cache takes no built model with it; a checkpoint that changed does."""
    checkpoint = tmp_path / "model.safetensors"
    checkpoint.write_bytes(b"abc")
    linked = key_of("source", linked=True)
    with store.staging(linked) as staging_dir:
        (staging_dir / "model.safetensors").symlink_to(checkpoint)
        store.publish(linked, staging_dir)
    made = key_of("base", linked)
    make(store, made)
    checkpoint.write_bytes(b"abd")
    assert f"{made}: was made from {linked}" in ovrecipe("verify").out
    checkpoint.unlink()
    done = ovrecipe("verify", "--remove")
    assert done.out.endswith("1 problem; 1 artifact removed, build again\n")
    assert not store.artifact_dir(linked).exists()
    assert store.has(made)


def test_a_descendant_that_is_damaged_itself_is_a_problem_only(
    ovrecipe: CommandLine, store: Store
) -> None:
    """It is counted once."""
    for key in (BASE, INT4):
        truncate(store.artifact_dir(key))
    done = ovrecipe("verify", "--remove")
    assert f"{INT4}: was made from" not in done.out
    assert done.out.endswith("2 problems; 4 artifacts removed, build again\n")


@pytest.mark.parametrize("words", [("verify", "--remove"), ("gc",), ("rm", "m:int4")])
def test_what_a_newer_ovrecipe_made_is_left_alone(
    ovrecipe: CommandLine, store: Store, words: tuple[str, ...]
) -> None:
    """It is no damage, and what it needs only the newer one knows."""
    for key in (INT8, ASSEMBLED):
        make_it_newer(store.artifact_dir(key))
    done = ovrecipe(*words)
    assert done.code == 9
    assert "newer ovrecipe" in done.said
    assert "upgrade ovrecipe: pip install --upgrade ovrecipe" in done.said
    assert left(store) == [*EVERYTHING]


def test_nothing_is_planned_to_go_beside_what_a_newer_ovrecipe_made(store: Store) -> None:
    """Its inputs are unknown, so anything may be one."""
    make_it_newer(store.artifact_dir(ASSEMBLED))
    with pytest.raises(ArtifactTooNew, match="a newer ovrecipe wrote it"):
        plan_gc(store, {INT8.sha256})


def test_beside_what_a_newer_ovrecipe_made_damage_is_removed(
    ovrecipe: CommandLine, store: Store
) -> None:
    """One upgrade on a shared disk is no reason to keep what is broken."""
    make_it_newer(store.artifact_dir(INT8))
    flip_a_bit(store.artifact_dir(ASSEMBLED))
    done = ovrecipe("verify", "--remove")
    assert done.code == 9
    assert "5 artifacts verified, 1 problem; 1 artifact removed" in done.out
    assert left(store) == [key for key in EVERYTHING if key is not ASSEMBLED]


def test_an_artifact_goes_only_after_what_was_made_from_it(store: Store) -> None:
    """Ctrl-C leaves no weights whose damaged base is gone."""
    removed: list[str] = []

    class Noting(type(store)):  # type: ignore[misc]
        def discard_if_unused(self, stage: str, sha256: str, **unless: object) -> bool:
            removed.append(sha256)
            return bool(super().discard_if_unused(stage, sha256, **unless))

    noting = Noting(store.root)
    doomed = {place_of(SOURCE), *descendants(store, [place_of(SOURCE)])}
    assert remove_youngest_first(noting, doomed) == doomed == {*map(place_of, EVERYTHING)}
    for key in EVERYTHING:
        assert all(removed.index(key.sha256) < removed.index(name) for name in key.inputs)
