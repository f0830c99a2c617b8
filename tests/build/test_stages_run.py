"""Stages in processes of their own: what is kept, what is said, what is left behind."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import (
    Event,
    Failed,
    Finished,
    Lines,
    LogKept,
    MemorySeen,
    Progressed,
    Started,
)
from ovrecipe.build.run import Target, built_manifests
from ovrecipe.errors import (
    CheckpointNotFound,
    DiskFull,
    NotBuilt,
    PluginError,
    StageError,
    StageKilled,
    StoreError,
)
from ovrecipe.recipe.project import Project
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST
from tests.build.making import (
    context_of,
    do_up_to,
    fake_recipe,
    publish_fakes,
    work_on,
    write_recipe,
)

pytestmark = pytest.mark.slow


def store_leftovers(project: Project) -> list[str]:
    """Return what lies in the store besides artifacts and logs."""
    kept = {"logs", "CACHEDIR.TAG", ".gitignore", ".locks", ".digests.json"}
    return [
        path.name
        for path in project.store_dir.iterdir()
        if path.name not in kept and not (path.is_dir() and re.fullmatch("[a-z]+", path.name))
    ]


def test_a_second_run_does_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An artifact is made once; the provider is not even asked again."""
    calls = tmp_path / "calls"
    monkeypatch.setenv("FAKE_CALLS", str(calls))
    write_recipe(project, "m", fake_recipe())
    do_up_to(context_of(project), "m", "source", "base", "weights", variant="int4")
    do_up_to(context_of(project), "m", "source", "base", "weights", variant="int4")
    assert calls.read_text().splitlines() == ["base", "weights 64"]


def test_a_killed_process_is_told_from_a_failed_one(project: Project) -> None:
    """Who killed it is not known, only how; what is known of its memory is said."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "killed"}))
    context = context_of(project)
    killed = r"base m: its process was killed from outside \(signal 9\).*; the largest .* [1-9]"
    with pytest.raises(StageKilled, match=killed):
        do_up_to(context, "m", "source", "base")
    assert not work_on(context, "m", "base").is_done()
    assert store_leftovers(project) == []


def test_a_process_that_somebody_ended_is_no_crash(project: Project) -> None:
    """A supervisor's or a person's SIGTERM is no defect of a library."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "ended"}))
    with pytest.raises(StageKilled, match=r"killed from outside \(signal 15\)") as caught:
        do_up_to(context_of(project), "m", "source", "base")
    assert caught.value.remedy == "build again: finished stages are kept"


def test_a_store_that_is_removed_beside_a_build_is_named(project: Project) -> None:
    """Whatever the stage stumbled over then, this is what happened."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "removes"}))
    with pytest.raises(StoreError, match=r"base m: .*/\.stage-base-.* was removed meanwhile"):
        do_up_to(context_of(project), "m", "source", "base")


def test_a_full_disk_is_told_from_what_a_writer_says_of_it(project: Project) -> None:
    """It has removed its half-written file, so the disk has room again when it is looked at."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "writer"}))
    with pytest.raises(
        DiskFull, match=r"(?s)base m: .*iostream error\nbase m: the disk is full \(the"
    ):
        do_up_to(context_of(project), "m", "source", "base")


def test_a_compressor_that_writes_the_tokenizers_file_is_blamed(project: Project) -> None:
    """Else the directory could not be assembled, and nobody would be named."""
    write_recipe(project, "m", fake_recipe(variants={"int4": {"compressor": "meddling"}}))
    with pytest.raises(
        PluginError, match=r"'meddling' of plugin 'fake_plugin' \(.*\.py\) wrote tokenizer\.json, "
    ):
        do_up_to(context_of(project), "m", "source", "base", "weights", variant="int4")


def test_progress_comes_with_its_numbers_and_their_unit(project: Project) -> None:
    """Bytes are shown as such, and give a speed."""
    write_recipe(project, "m", fake_recipe())
    told: list[Event] = []
    work_on(context_of(project), "m", "source").do(told.append)
    assert Progressed("source m", "writing", 1.0, 2.0, "B") in told
    kinds = [type(event) for event in told]
    assert (kinds[0], kinds[-1]) == (Started, Finished)
    assert MemorySeen in kinds


def test_a_failure_is_told_after_its_log(project: Project) -> None:
    """Whoever draws a line for the stage takes it away."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "silent"}))
    context = context_of(project)
    do_up_to(context, "m", "source")
    told: list[Event] = []
    with pytest.raises(StageError, match="exit code 3"):
        work_on(context, "m", "base").do(told.append)
    [log] = (project.store_dir / "logs").iterdir()
    assert told[-2:] == [LogKept("base m", log), Failed("base m")]


def test_a_silent_end_shows_the_log_and_keeps_it(project: Project) -> None:
    """Whatever a library printed last is mostly the reason."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "silent"}))
    with pytest.raises(StageError, match=r"exit code 3(.|\n)*the last words"):
        do_up_to(context_of(project), "m", "source", "base")
    [log] = (project.store_dir / "logs").iterdir()
    assert "the last words" in log.read_text()


def test_a_plugins_bug_names_the_plugin_and_leaves_its_traceback_in_the_log(
    project: Project,
) -> None:
    """The user learns whose it is, and the author where."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "bug"}))
    expected = r"base m: 'bug' of plugin 'fake_plugin' .* ZeroDivisionError: a bug of the exporter"
    with pytest.raises(PluginError, match=expected):
        do_up_to(context_of(project), "m", "source", "base")
    [log] = (project.store_dir / "logs").iterdir()
    assert "in raise_a_bug" in log.read_text()


def test_a_plugin_that_fails_before_the_work_is_named_too(project: Project) -> None:
    """Keys are asked for and weights judged in the process of the build itself."""
    write_recipe(project, "m", fake_recipe(model={"id": "made:bug"}))
    with pytest.raises(PluginError, match=r"'made' of plugin 'fake_plugin' .* KeyError: 'bug'"):
        do_up_to(context_of(project), "m", "source")
    write_recipe(project, "n", fake_recipe(variants={"int4": {"compressor": "odd"}}))
    with pytest.raises(PluginError, match=r"'odd' of plugin 'fake_plugin' .* TypeError"):
        do_up_to(context_of(project), "n", "source", "base", "weights", variant="int4")


def test_what_a_library_prints_never_reaches_the_event_stream(project: Project) -> None:
    """Prints of Python and of C code go to the log."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "noisy"}))
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    assert work_on(context, "m", "base").is_done()


@pytest.mark.parametrize(("exporter", "kind"), [("half-line", StageKilled), ("child", StageError)])
def test_an_end_in_the_middle_of_a_word_is_an_end(
    project: Project, exporter: str, kind: type[StageError]
) -> None:
    """Neither half an event nor a child that holds the stream keeps a build waiting."""
    write_recipe(project, "m", fake_recipe(model={"exporter": exporter}))
    with pytest.raises(kind, match="base m: its process"):
        do_up_to(context_of(project), "m", "source", "base")


def test_a_known_error_travels_with_its_class_and_remedy(project: Project) -> None:
    """The exit code depends on the class."""
    write_recipe(project, "m", fake_recipe(model={"id": "made:none"}))
    with pytest.raises(CheckpointNotFound, match="made:none: no such checkpoint") as caught:
        do_up_to(context_of(project), "m", "source")
    assert caught.value.remedy == "name another"


@contextmanager
def exporting(project: Project, exporter: str) -> Iterator[tuple[BuildContext, Future[str]]]:
    """Give a context, and its export by that exporter, on another thread."""
    write_recipe(project, "m", fake_recipe(model={"exporter": exporter}))
    context = context_of(project)
    do_up_to(context, "m", "source")
    with ThreadPoolExecutor() as pool:
        yield context, pool.submit(do_up_to, context, "m", "base")


def test_cancelling_ends_the_process_and_its_children(project: Project, pipe: Path) -> None:
    """Ctrl-C leaves nothing running and nothing half-written."""
    with exporting(project, "hangs") as (context, building):
        with pipe.open() as hanging:
            assert hanging.readline() == "begun\n"
            context.cancel()
            assert hanging.read() == "", "the pipe ends when the last process has ended"
        with pytest.raises(KeyboardInterrupt):
            building.result()
    assert store_leftovers(project) == []


def test_what_outlives_its_process_is_ended_too(project: Project, pipe: Path) -> None:
    """It would go on writing into a folder that is gone."""
    with exporting(project, "stubborn") as (_, building):
        with pipe.open() as held:
            assert held.read() == "", "the pipe ends when the last process has ended"
        with pytest.raises(StageError, match="exit code 3"):
            building.result()


def test_two_builds_at_once_share_one_result(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first and finds its artifact."""
    calls = tmp_path / "calls"
    monkeypatch.setenv("FAKE_CALLS", str(calls))
    write_recipe(project, "m", fake_recipe())
    do_up_to(context_of(project), "m", "source")
    start = threading.Barrier(2)

    def run() -> None:
        context = context_of(project)
        work = work_on(context, "m", "base")
        start.wait()
        work.do(Lines(io.StringIO()))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls.read_text().splitlines() == ["base"]


def test_a_manifest_names_no_folder_of_this_machine(project: Project) -> None:
    """Artifacts can be compared, and shared, between machines."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base", "weights", variant="int4")
    manifests = [*project.store_dir.glob("*/*/manifest.json")]
    assert len(manifests) == 3
    assert not [path for path in manifests if str(project.root) in path.read_text()]


def test_an_input_that_was_collected_is_not_needed_again(project: Project) -> None:
    """What is built stays built when the base it came from is gone."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base", "weights", variant="int4")
    base = work_on(context, "m", "base").key()
    assert base is not None
    context.store.remove(base)
    assert work_on(context, "m", "weights", "int4").is_done()


def test_a_missing_input_is_named(project: Project) -> None:
    """A stage never runs on what is not there."""
    write_recipe(project, "m", fake_recipe())
    with pytest.raises(StageError, match="base m: its input source is not in the store"):
        do_up_to(context_of(project), "m", "base")


def test_clean_spares_what_a_running_build_reads(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """`doit clean base:m` in another terminal would take the base from under the weights."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    base, weights = work_on(context, "m", "base"), work_on(context, "m", "weights", "int4")
    key, reader = base.key(), weights.key()
    assert key is not None
    assert reader is not None
    with context.store.lock(reader):
        base.clean()
    assert context.store.has(key)
    base.clean()
    assert not context.store.has(key)
    said = capsys.readouterr().out
    assert said == f"kept {key}: a running build uses it\nremoved {key}\n"


def test_a_compressor_gets_its_options_validated(project: Project) -> None:
    """Defaults are filled in once, by the same class that refused what is wrong."""
    write_recipe(project, "m", fake_recipe(variants={"int4": {"compressor": "picky"}}))
    context = context_of(project)
    do_up_to(context, "m", "source", "base", "weights", variant="int4")
    key = work_on(context, "m", "weights", "int4").key()
    assert key is not None
    assert context.store.manifest(key).facts["passes"] == [{"max_size_mb": 40}]


def test_a_checkpoint_of_unknown_shapes_says_that_nothing_was_judged(project: Project) -> None:
    """Pickles tell nothing unread; that no number was checked is no secret."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source")
    key = work_on(context, "m", "source").key()
    assert key is not None
    assert "preflight left out" in str(context.store.manifest(key).facts["warning"])


def test_figures_of_a_directory_whose_manifest_is_gone(project: Project) -> None:
    """Those of what it was made from must not stand in their place."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")
    context = context_of(project)
    assembled = built_manifests(context, Target("m", "int4"))["assemble"]
    folder = context.store.artifact_dir(Key(assembled.stage, assembled.key))
    folder.chmod(0o755)
    (folder / MANIFEST).unlink()
    with pytest.raises(NotBuilt, match="m:int4 is not built"):
        built_manifests(context, Target("m", "int4"))
