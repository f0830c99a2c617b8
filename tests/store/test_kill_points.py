"""Whatever kills a build, and wherever: the store has no artifact, or a whole one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovrecipe.store.gc import collect, plan_gc
from ovrecipe.store.manifest import verify
from ovrecipe.store.pins import Pins
from ovrecipe.store.publish import stagings
from ovrecipe.store.store import Store
from ovrecipe.store.views import set_view, view_target
from tests.store.killing import killed_at_every_line
from tests.store.making import FILES, key_of, make

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children"),
    pytest.mark.xdist_group("forks"),
]


def test_killed_publishing_leaves_nothing_or_all(quick_dir: Path) -> None:
    """Only the rename makes an artifact, and everything is written before it.

    What a killed build left is removed by gc, here at odd lines, or by the next build.
    """
    store, key, other = Store(quick_dir / "store"), key_of(), key_of(other=1)
    make(store, other)  # the folders and the lock library are there
    outcomes = []
    for line in killed_at_every_line(lambda: make(store, key)):
        outcomes.append(store.has(key))
        assert store.artifact_dir(key).exists() == store.has(key)
        assert verify(store.folders()) == []
        if line % 2:
            collect(store, plan_gc(store, {key.sha256, other.sha256}))
            assert stagings(store.root) == list(store.root.glob(".trash-*")) == []
            assert store.has(key) == outcomes[-1], "a finished artifact that is wanted stays"
        make(store, key)
        assert {name: (store.artifact_dir(key) / name).read_bytes() for name in FILES} == FILES
        assert stagings(store.root) == []
        store.remove(key)
    assert set(outcomes) == {False, True}
    assert outcomes == sorted(outcomes), "once published, it stays published"


def test_killed_removal_leaves_a_whole_artifact_or_none(quick_dir: Path) -> None:
    """A removal starts with a rename too, so nobody can open what is half removed."""
    store, key = Store(quick_dir / "store"), key_of()
    make(store, key)
    for _ in killed_at_every_line(lambda: store.remove(key)):
        assert store.artifact_dir(key).exists() == store.has(key)
        assert verify(store.folders()) == []
        make(store, key)


def test_killed_view_still_leads_somewhere_whole(quick_dir: Path) -> None:
    """Programs open the view by name while a build replaces it."""
    store, models_dir = Store(quick_dir / "store"), quick_dir / "models"
    old, new = make(store, key_of(n=1)), make(store, key_of(n=2))
    set_view(store, models_dir, "m", "int4", old)
    for _ in killed_at_every_line(lambda: set_view(store, models_dir, "m", "int4", new)):
        assert view_target(models_dir, "m", "int4") in (old, new)
        set_view(store, models_dir, "m", "int4", old)


def test_killed_pin_is_the_old_one_or_the_new_one(quick_dir: Path) -> None:
    """The lock file is the user's, under version control; half a file would stop every build."""
    pins = Pins(quick_dir / "ovrecipe.lock")
    pins.record("org/m", None, {"commit": "old"})
    for _ in killed_at_every_line(lambda: pins.record("org/m", None, {"commit": "new"})):
        assert pins.get("org/m", None) in ({"commit": "old"}, {"commit": "new"})
        pins.record("org/m", None, {"commit": "old"})
