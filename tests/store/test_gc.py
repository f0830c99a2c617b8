"""What nothing needs goes; what anything needs stays, whoever is building meanwhile."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrecipe.errors import ArtifactCorrupt
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.gc import collect, plan_gc, viewed
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST, verify
from ovrecipe.store.store import Store
from ovrecipe.store.views import set_view
from tests.store.making import fill, key_of, link_all, make
from tests.store.test_verify import break_the_manifest

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SOURCE = key_of("source")
BASE = key_of("base", SOURCE)
WEIGHTS = key_of("weights", BASE)
ASSEMBLED = key_of("assemble", WEIGHTS)
CHECK = key_of("check", ASSEMBLED)
OLD = key_of("weights", BASE, group_size=32)


def built(store: Store, *keys: Key) -> None:
    for key in keys:
        make(store, key, {"file": key.sha256.encode()})


def collected(store: Store, *roots: Key) -> list[str]:
    """Collect with these roots and return the names of what was removed."""
    done = collect(store, plan_gc(store, {key.sha256 for key in roots}))
    return [removal.name for removal in done.removals]


def test_what_a_root_was_made_from_stays(store: Store) -> None:
    """Another variant of the same model starts from the base that is there."""
    built(store, SOURCE, BASE, WEIGHTS, ASSEMBLED, OLD)
    assert collected(store, ASSEMBLED) == [f"weights/{OLD.sha256}"]
    assert all(store.has(key) for key in (SOURCE, BASE, WEIGHTS, ASSEMBLED))


def test_a_plan_removes_nothing(store: Store) -> None:
    """`--dry-run` is the plan."""
    built(store, OLD)
    plan = plan_gc(store, set())
    assert [(removal.kind, removal.name) for removal in plan.removals] == [
        ("artifact", f"weights/{OLD.sha256}")
    ]
    assert plan.freed_bytes == plan.removals[0].size_bytes > 64
    assert plan.kept == 0
    assert store.has(OLD)


def test_intermediates_go_when_asked(store: Store) -> None:
    """The assembled directory needs nobody; its files are links to the weights'."""
    built(store, SOURCE, BASE, WEIGHTS, ASSEMBLED)
    roots = {key.sha256 for key in (SOURCE, BASE, WEIGHTS, ASSEMBLED)}
    plan = collect(store, plan_gc(store, roots, drop_stages=("source", "base")))
    assert {removal.name.split("/")[0] for removal in plan.removals} == {"source", "base"}
    assert store.has(WEIGHTS)
    assert store.has(ASSEMBLED)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_nothing_reachable_is_ever_removed(data: st.DataObject) -> None:
    """For any graph of artifacts, any of them missing, and any roots."""
    size = data.draw(st.integers(1, 8))
    keys: list[Key] = []
    for number in range(size):
        inputs = data.draw(st.lists(st.sampled_from(keys), unique=True)) if keys else []
        named = {str(index): key.sha256 for index, key in enumerate(inputs)}
        keys.append(Key("base", {"number": number, "inputs": named}))
    present = data.draw(st.sets(st.sampled_from(keys)))
    roots = data.draw(st.sets(st.sampled_from(keys)))
    with TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        built(store, *present)
        collected(store, *roots)
        left = {sha256 for _, sha256, _ in store.artifacts()}
        assert left == reachable(roots, present)


def reachable(roots: set[Key], present: set[Key]) -> set[str]:
    """Say it the slow way: add what some kept artifact names, until nothing is added."""
    kept = {key for key in roots if key in present}
    while True:
        named = {sha256 for key in kept for sha256 in key.inputs}
        more = kept | {key for key in present if key.sha256 in named}
        if more == kept:
            return {key.sha256 for key in kept}
        kept = more


def test_bytes_with_two_names_are_counted_once(store: Store) -> None:
    """Weights are hard-linked into the assembled directory; both going frees them once."""
    big = {"openvino_model.bin": bytes(100_000)}
    weights = make(store, WEIGHTS, big)
    with store.lock(ASSEMBLED), store.staging(ASSEMBLED) as staging_dir:
        link_all(weights, staging_dir)
        store.publish(ASSEMBLED, staging_dir)
    assert 100_000 < plan_gc(store, set()).freed_bytes < 103_000


def test_bytes_that_keep_a_name_are_not_counted(store: Store) -> None:
    big = {"openvino_model.bin": bytes(100_000)}
    weights = make(store, key_of("weights"), big)
    with store.lock(ASSEMBLED), store.staging(ASSEMBLED) as staging_dir:
        link_all(weights, staging_dir)
        store.publish(ASSEMBLED, staging_dir)
    plan = plan_gc(store, {ASSEMBLED.sha256})
    assert plan.removals[0].size_bytes > 100_000
    assert plan.freed_bytes < 3_000
    assert collect(store, plan).freed_bytes == plan.freed_bytes
    assert verify(store.folders()) == []


def test_what_a_running_build_makes_and_reads_stays(store: Store) -> None:
    """Its recipe may have been edited since, so that nothing else names these artifacts."""
    built(store, SOURCE, BASE, OLD)
    with store.lock(WEIGHTS), store.staging(WEIGHTS) as staging_dir:
        fill(staging_dir)
        assert collected(store) == [f"weights/{OLD.sha256}"]
        assert store.has(SOURCE)
        assert store.has(BASE)
        store.publish(WEIGHTS, staging_dir)
    assert len(collected(store)) == 3


def test_what_a_build_took_after_the_plan_stays(store: Store) -> None:
    """Between looking and removing, somebody else's build may begin."""
    built(store, OLD)
    plan = plan_gc(store, set())
    with store.lock(OLD):
        done = collect(store, plan)
    assert done.removals == ()
    assert (done.freed_bytes, done.kept) == (0, 1)
    assert store.has(OLD)


def test_what_a_build_reads_that_began_after_the_plan_stays(store: Store) -> None:
    """With what that was made from; gc takes a while, and a build begins at any moment."""
    built(store, SOURCE, BASE, OLD)
    plan = plan_gc(store, set())
    with store.lock(WEIGHTS), store.staging(WEIGHTS) as staging_dir:
        done = collect(store, plan)
        assert [removal.name for removal in done.removals] == [f"weights/{OLD.sha256}"]
        fill(staging_dir)
        store.publish(WEIGHTS, staging_dir)
    assert all(store.has(key) for key in (SOURCE, BASE, WEIGHTS))


def test_what_stays_for_a_build_is_found_before_its_inputs_go(store: Store) -> None:
    """Whatever their stages are called; what is asked about first is nobody's input any more."""
    built(store, SOURCE, BASE, WEIGHTS, OLD)
    plan = plan_gc(store, set())
    with store.lock(ASSEMBLED):
        done = collect(store, plan)
    assert [removal.name for removal in done.removals] == [f"weights/{OLD.sha256}"]
    assert all(store.has(key) for key in (SOURCE, BASE, WEIGHTS))


def test_a_damaged_artifact_that_a_build_took_after_the_plan_stops_gc(store: Store) -> None:
    """What it was made from cannot be known, and nothing of that may go."""
    built(store, SOURCE, BASE, WEIGHTS)
    break_the_manifest(store.artifact_dir(WEIGHTS))
    plan = plan_gc(store, set())
    with store.lock(ASSEMBLED), pytest.raises(ArtifactCorrupt, match="is not JSON"):
        collect(store, plan)
    assert all(store.artifact_dir(key).exists() for key in (SOURCE, BASE, WEIGHTS))
    assert len(collect(store, plan).removals) == 3


def test_what_was_published_after_the_plan_keeps_its_inputs(store: Store) -> None:
    """Another variant of it starts from the base, as with everything that is kept."""
    built(store, SOURCE, BASE)
    plan = plan_gc(store, set())
    built(store, WEIGHTS)
    assert collect(store, plan).removals == ()


def test_intermediates_of_a_build_that_began_after_the_plan_stay(store: Store) -> None:
    """What it reads now is more than a root; what that was made from is not."""
    built(store, SOURCE, BASE)
    plan = plan_gc(store, {BASE.sha256}, drop_stages=("source", "base"))
    with store.lock(WEIGHTS):
        done = collect(store, plan)
    assert [removal.name for removal in done.removals] == [f"source/{SOURCE.sha256}"]


def test_what_a_view_was_set_to_after_the_plan_stays(store: Store, tmp_path: Path) -> None:
    """A build that finds everything done takes no lock; it only sets the view."""
    built(store, WEIGHTS, ASSEMBLED)
    plan = plan_gc(store, set())
    set_view(store, tmp_path / "models", "m", "int4", store.artifact_dir(ASSEMBLED))
    assert collect(store, plan).removals == ()


def test_a_build_begins_before_a_removal_or_after_it(store: Store, tmp_path: Path) -> None:
    """Between gc's look at what is in use and the removal, nobody can begin to use it."""
    order, elsewhere = [], Store(tmp_path / "elsewhere")

    def build(where: Store, what: str) -> None:
        with where.lock(WEIGHTS):
            order.append(what)

    built(store, BASE)
    with ThreadPoolExecutor() as pool:

        def begin_meanwhile() -> bool:
            begun.append(pool.submit(build, store, "began"))
            for _ in range(20):  # twenty times what a build does to begin
                build(elsewhere, "elsewhere")
            order.append("removed")
            return False

        begun: list[Future[None]] = []
        assert store.discard_if_unused("base", BASE.sha256, unless=begin_meanwhile)
        begun[0].result()
    assert [name for name in order if name != "elsewhere"] == ["removed", "began"]


def test_one_artifact_is_removed_unless_a_build_makes_or_reads_it(store: Store) -> None:
    """`doit clean` and `verify --remove` take what nobody uses."""
    built(store, BASE, WEIGHTS)
    with store.lock(WEIGHTS):
        assert not store.discard_if_unused("base", BASE.sha256)
        assert not store.discard_if_unused("weights", WEIGHTS.sha256)
    assert store.discard_if_unused("base", BASE.sha256)
    assert not store.has(BASE)


def test_a_damaged_artifact_that_nothing_needs_goes(store: Store, tmp_path: Path) -> None:
    """Its inputs matter to nobody, so its manifest is not needed either."""
    built(store, WEIGHTS, ASSEMBLED, OLD)
    break_the_manifest(store.artifact_dir(OLD))
    set_view(store, tmp_path / "models", "m", "int4", store.artifact_dir(ASSEMBLED))
    plan = plan_gc(store, viewed(store, tmp_path / "models"))
    assert [removal.name for removal in collect(store, plan).removals] == [f"weights/{OLD.sha256}"]


def test_the_cache_of_a_removed_artifact_goes_along(store: Store) -> None:
    """OpenVINO's compiled blobs are as large as the model."""
    built(store, ASSEMBLED)
    for sha256 in (ASSEMBLED.sha256, "0" * 64):
        fill(store.cache_dir(sha256), {"cl.blob": b"compiled"})
    assert collected(store, ASSEMBLED) == [f".cache/{'0' * 64}"]
    assert (store.cache_dir(ASSEMBLED.sha256) / "cl.blob").exists()


def test_old_logs_go_and_new_ones_stay(store: Store) -> None:
    store = Store(store.root, clock=lambda: NOW)
    fill(store.logs_dir, {"old.log": b"", "new.log": b""})
    for name, days in (("old.log", 31), ("new.log", 29)):
        then = (NOW - timedelta(days=days)).timestamp()
        os.utime(store.logs_dir / name, (then, then))
    assert collected(store) == ["logs/old.log"]


def test_halves_of_removals_and_of_writes_go(store: Store) -> None:
    """What a kill at the wrong moment leaves behind."""
    store.prepare()
    fill(store.root, {".trash-a/file": b"", ".probe-b": b"", ".digests.json.c": b""})
    assert sorted(collected(store)) == [".digests.json.c", ".probe-b", ".trash-a"]


def test_what_is_not_the_stores_stays(store: Store) -> None:
    """A folder that a user keeps in the store is odd, and theirs."""
    fill(store.root, {"notes/today.txt": b"mine", "README": b"mine"})
    assert collected(store) == []


def test_digests_of_files_that_are_gone_are_forgotten(store: Store, tmp_path: Path) -> None:
    store.prepare()
    (tmp_path / "model.gguf").write_bytes(b"abc")
    RememberedDigests(store.digests_path, now_ns=lambda: 2**63).sha256(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").unlink()
    collected(store)
    assert store.digests_path.read_text() == "{}"


def test_a_damaged_manifest_stops_gc(store: Store) -> None:
    """Its inputs cannot be known, and guessing could throw away an hour's work."""
    built(store, SOURCE, BASE)
    path = store.artifact_dir(BASE) / MANIFEST
    path.chmod(0o644)
    path.write_text("{")
    with pytest.raises(ArtifactCorrupt, match=r"manifest\.json: is not JSON"):
        plan_gc(store, {BASE.sha256})


def test_views_are_roots_with_their_gates(store: Store, tmp_path: Path) -> None:
    """A gate's result is an input of nothing; without it the artifact is checked again."""
    built(store, SOURCE, BASE, WEIGHTS, ASSEMBLED, CHECK, OLD)
    set_view(store, tmp_path / "models", "m", "int4", store.artifact_dir(ASSEMBLED))
    assert viewed(store, tmp_path / "models") == {ASSEMBLED.sha256, CHECK.sha256}


def test_views_of_another_project_are_roots_too(store: Store, tmp_path: Path) -> None:
    """One store may serve several projects (OVRECIPE_STORE); gc runs in one of them."""
    built(store, ASSEMBLED, OLD)
    set_view(store, tmp_path / "theirs" / "models", "m", "int4", store.artifact_dir(ASSEMBLED))
    assert viewed(store, tmp_path / "ours" / "models") == {ASSEMBLED.sha256}


def test_views_into_another_store_are_no_roots(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    built(other, ASSEMBLED)
    set_view(other, tmp_path / "models", "m", "int4", other.artifact_dir(ASSEMBLED))
    assert viewed(store, tmp_path / "models") == set()


def test_a_store_that_is_not_there_needs_no_gc(store: Store) -> None:
    assert collected(store) == []
    assert not store.root.exists()
