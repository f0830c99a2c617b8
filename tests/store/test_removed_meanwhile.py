"""Whoever removes the store while it is used is named, at whatever line it happens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.errors import ArtifactCorrupt, NotBuilt, OvrecipeError, StoreError, StoreRemoved
from ovrecipe.store.disk import remove_tree
from ovrecipe.store.store import Store
from ovrecipe.store.views import set_view
from tests.store.killing import STORE_CODE
from tests.store.making import fill, key_of, make

pytestmark = pytest.mark.slow
BASE = key_of()
WEIGHTS = key_of("weights", BASE)


class Remover:
    """Removes a folder before a line of the store's code, and counts the lines."""

    def __init__(self, folder: Path, line: int) -> None:
        self.folder, self.left, self.code = folder, line, str(STORE_CODE)

    def trace(self, frame: Any, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(self.code):
            return None
        if event == "line":
            if self.left == 0:
                remove_tree(self.folder)
            self.left -= 1
        return self.trace


def removed_at_every_line(
    store: Store, prepare: Callable[[], object], action: Callable[[], object]
) -> Iterator[OvrecipeError]:
    """Run an action on a store that vanishes before its first line, its second, and so on.

    Yields what the action raised; ends when it ended before its line came.
    """
    for line in count():
        if store.root.exists():
            remove_tree(store.root)
        prepare()
        remover = Remover(store.root, line)
        sys.settrace(remover.trace)
        try:
            action()
        except OvrecipeError as error:
            sys.settrace(None)
            yield error
        finally:
            sys.settrace(None)
        if remover.left >= 0:
            return


@pytest.fixture
def quick(tmp_path: Path) -> Store:
    """A store in which something was built."""
    return Store(tmp_path / "store")


def test_a_build_in_a_store_that_is_removed_says_so(quick: Store) -> None:
    """`rm -rf store` in another terminal; the next build makes all of it again."""

    def prepare() -> None:
        make(quick, BASE)

    def action() -> None:
        make(quick, WEIGHTS)

    errors = list(removed_at_every_line(quick, prepare, action))
    assert len(errors) > 50
    assert [error for error in errors if not isinstance(error, StoreRemoved)] == []
    assert {error.remedy for error in errors} == {
        "leave the store alone while a build runs, and build again"
    }
    make(quick, WEIGHTS)
    assert quick.has(WEIGHTS)


def test_a_view_into_a_store_that_is_removed_says_so(quick: Store) -> None:
    """It must not lead nowhere without a word."""
    models_dir = quick.root.parent / "models"

    def prepare() -> None:
        make(quick, WEIGHTS)

    def action() -> None:
        set_view(quick, models_dir, "m", "int4", quick.artifact_dir(WEIGHTS))

    errors = list(removed_at_every_line(quick, prepare, action))
    assert errors
    assert all(isinstance(error, StoreError) for error in errors)
    assert all("meanwhile" in str(error) or "is gone" in str(error) for error in errors)


@pytest.mark.parametrize(
    "look",
    [
        lambda store: store.has(WEIGHTS),
        lambda store: store.check_content(WEIGHTS, str),
        lambda store: store.discard_if_unused("weights", WEIGHTS.sha256),
        lambda store: list(store.artifacts()),
    ],
    ids=["has", "check_content", "discard", "artifacts"],
)
def test_looking_into_a_store_that_is_removed_finds_nothing(
    quick: Store, look: Callable[[Store], object]
) -> None:
    """Not a traceback."""

    def prepare() -> None:
        make(quick, WEIGHTS)

    def action() -> None:
        with suppress(NotBuilt):
            look(quick)

    for error in removed_at_every_line(quick, prepare, action):
        assert isinstance(error, StoreRemoved | ArtifactCorrupt)


def test_a_bug_beside_a_store_that_is_there_stays_a_bug(quick: Store) -> None:
    """Only what the removal explains is explained by it."""

    def build() -> None:
        with quick.lock(BASE), quick.staging(BASE) as staging_dir:
            fill(staging_dir)
            raise FileNotFoundError("a bug")

    with pytest.raises(FileNotFoundError, match="a bug"):
        build()
