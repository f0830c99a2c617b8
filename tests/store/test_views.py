"""Names under which other programs open artifacts."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import StoreError, StoreNotWritable
from ovrecipe.store.views import View, leads_to, remove_view, set_view, view_target, views
from tests.store.making import key_of, make

if TYPE_CHECKING:
    from ovrecipe.store.store import Store


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_a_view_opens_as_the_artifact(store: Store, models_dir: Path) -> None:
    view = set_view(store, models_dir, "m", "int4", make(store, key_of()))
    assert view == models_dir / "m" / "int4"
    assert (view / "openvino_model.xml").read_bytes() == b"<net/>"
    assert view_target(models_dir, "m", "int4") == store.artifact_dir(key_of())


def test_a_view_moves_to_another_artifact(store: Store, models_dir: Path) -> None:
    old, new = make(store, key_of(n=1)), make(store, key_of(n=2))
    set_view(store, models_dir, "m", "int4", old)
    view = set_view(store, models_dir, "m", "int4", new)
    assert leads_to(view, new)
    assert not leads_to(view, old)
    assert list(view.parent.iterdir()) == [view]


def test_a_view_is_never_missing_while_it_moves(store: Store, models_dir: Path) -> None:
    """A server that opens the model by name at that moment gets the old one or the new one."""
    artifacts = [make(store, key_of(n=1)), make(store, key_of(n=2))]
    view = set_view(store, models_dir, "m", "int4", artifacts[0])
    done = threading.Event()

    def move() -> None:
        for number in range(200):
            set_view(store, models_dir, "m", "int4", artifacts[number % 2])
        done.set()

    mover = threading.Thread(target=move)
    mover.start()
    while not done.is_set():
        assert (view / "openvino_model.xml").read_bytes() == b"<net/>"
    mover.join()


@pytest.mark.skipif(os.name == "nt", reason="junctions are absolute")
def test_a_project_can_be_moved_as_a_whole(store: Store, models_dir: Path) -> None:
    set_view(store, models_dir, "m", "int4", make(store, key_of()))
    moved = store.root.parent.rename(store.root.parent.with_name("moved"))
    target = view_target(moved / "models", "m", "int4")
    assert target == moved / "store" / "base" / key_of().sha256


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_a_view_is_known_through_a_linked_project_folder(store: Store, models_dir: Path) -> None:
    """A project reached by another name is the same project."""
    set_view(store, models_dir, "m", "int4", make(store, key_of()))
    alias = store.root.parent.with_name("alias")
    alias.symlink_to(store.root.parent)
    again = alias / "store" / "base" / key_of().sha256
    assert leads_to(alias / "models/m/int4", again)


def test_no_view_has_no_target(models_dir: Path) -> None:
    assert view_target(models_dir, "m", "int4") is None
    assert list(views(models_dir)) == []
    assert remove_view(models_dir, "m", "int4") is False


def test_a_dangling_view_has_no_target(store: Store, models_dir: Path) -> None:
    """The artifact was removed by hand; the model is not built."""
    view = set_view(store, models_dir, "m", "int4", make(store, key_of()))
    store.remove(key_of())
    assert view_target(models_dir, "m", "int4") is None
    assert not leads_to(view, store.artifact_dir(key_of()))
    assert list(views(models_dir)) == [View("m", "int4", view, None)]


def test_no_view_is_made_of_an_artifact_that_is_gone(store: Store, models_dir: Path) -> None:
    """A build that ends well must not leave a name that leads nowhere."""
    with pytest.raises(StoreError, match=r"int4: the artifact it should lead to, .* is gone"):
        set_view(store, models_dir, "m", "int4", store.artifact_dir(key_of()))
    assert not models_dir.exists()


@pytest.mark.parametrize("variant", ["folder", "file"])
def test_what_the_user_put_there_is_not_replaced(
    store: Store, models_dir: Path, variant: str
) -> None:
    """Perhaps a model that was made by hand before."""
    (models_dir / "m" / "folder").mkdir(parents=True)
    (models_dir / "m" / "file").write_text("mine")
    with pytest.raises(StoreError, match=f"{variant} is a folder or file of its own"):
        set_view(store, models_dir, "m", variant, make(store, key_of()))
    with pytest.raises(StoreError, match=f"{variant} is a folder or file of its own"):
        remove_view(models_dir, "m", variant)
    assert view_target(models_dir, "m", variant) is None
    assert list(views(models_dir)) == []
    assert (models_dir / "m" / variant).exists()


def test_the_last_removed_view_takes_its_folder_along(store: Store, models_dir: Path) -> None:
    artifact_dir = make(store, key_of())
    for variant in ("int4", "int8"):
        set_view(store, models_dir, "m", variant, artifact_dir)
    assert remove_view(models_dir, "m", "int4") is True
    assert [view.variant for view in views(models_dir)] == ["int8"]
    assert remove_view(models_dir, "m", "int8") is True
    assert list(models_dir.iterdir()) == []
    assert store.has(key_of()), "only the name is gone"


def test_a_file_in_the_place_of_the_models_folder(store: Store, models_dir: Path) -> None:
    models_dir.write_text("mine")
    with pytest.raises(StoreNotWritable, match="models: cannot be written"):
        set_view(store, models_dir, "m", "int4", make(store, key_of()))
