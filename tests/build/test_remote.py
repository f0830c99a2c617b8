"""A store elsewhere: artifacts come and go by their digests, whole, verified, and only once."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.execute import ViewWork
from ovrecipe.build.remote import Remote
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.build.taking import Taking, give, take
from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, RemoteUnreachable, StoreError
from ovrecipe.recipe.project import Project
from ovrecipe.store.gc import collect, plan_gc
from ovrecipe.store.manifest import verify
from ovrecipe.store.views import view_target
from tests.build.making import (
    FAKE_PLUGIN,
    SAID,
    context_of,
    do_up_to,
    fake_recipe,
    needs,
    publish_fakes,
    push_all,
    work_on,
    write_recipe,
)
from tests.build.test_doit import DODO_WITH_PLUGIN, doit
from tests.conftest import CommandLine

TOOLCHAIN_PLUGIN = str(Path(__file__).with_name("toolchain_plugin.py"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/elsewhere"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere"


def remotely(project: Project, url: str) -> BuildContext:
    """Return a context of a project that takes from there."""
    env = {**os.environ, "OVRECIPE_REMOTE": url}
    return BuildContext(replace(project, env=env), plugin_options=(FAKE_PLUGIN,))


def test_what_was_pushed_is_pulled_as_if_built(ovrecipe: CommandLine, built, other, url) -> None:
    """By the commands, and the view leads to it."""
    done = ovrecipe("-p", FAKE_PLUGIN, "push", "m:int4", url, cwd=built.root)
    assert done.code == 0, done.err
    assert f"4 artifacts sent to {url}, 0 were there" in done.out
    done = ovrecipe("-p", FAKE_PLUGIN, "pull", "m:int4", url, cwd=other.root)
    assert done.code == 0, done.err
    assert f"4 artifacts taken from {url}, 0 were here\nmodels/m/int4\n" in done.out
    found = view_target(other.models_dir, "m", "int4")
    assert (found / "openvino_model.bin").read_text() == "assemble"
    context = context_of(other)
    assert ViewWork(context.plan("m"), "int4").is_done()
    assert verify(context.store.folders()) == []
    assert not found.stat().st_mode & 0o222, "read-only, as what was built is"
    facts = context.store.manifest(needs(other)[0].key()).facts
    assert facts == context_of(built).store.manifest(needs(built)[0].key()).facts
    again = ovrecipe("-p", FAKE_PLUGIN, "pull", "m:int4", url, "--json", cwd=other.root)
    assert {row["taken"] for row in json.loads(again.out)["artifacts"]} == {False}
    assert not list(other.store_dir.glob(".download-*"))


class TestToolchains:
    """Keys of a model that a toolchain exports are known once its checkpoint's config.json is."""

    WORDS = ("-p", FAKE_PLUGIN, "-p", TOOLCHAIN_PLUGIN)

    @pytest.fixture
    def machines(self, project: Project, other: Project) -> tuple[Project, Project]:
        """One where such a model is built, and one where nothing is."""
        for one in (project, other):
            recipe = fake_recipe(model={"id": "made:old", "exporter": "lined"})
            write_recipe(one, "m", recipe)
        do_up_to(context_of(project, TOOLCHAIN_PLUGIN), "m", "source")
        publish_fakes(project, "m", "int4", plugins=(TOOLCHAIN_PLUGIN,))
        return project, other

    def test_it_is_pulled_without_its_checkpoint(
        self, ovrecipe: CommandLine, machines: tuple[Project, Project], url: str
    ) -> None:
        """The config.json goes along, and stays, so that other commands mean the same keys."""
        here, there = machines
        done = ovrecipe(*self.WORDS, "push", "m:int4", url, cwd=here.root)
        assert done.code == 0, done.err
        done = ovrecipe(*self.WORDS, "pull", "m:int4", url, cwd=there.root)
        assert done.code == 0, done.err
        assert "4 artifacts taken" in done.out
        fresh = context_of(there, TOOLCHAIN_PLUGIN)
        assert ViewWork(fresh.plan("m"), "int4").is_done()
        assert fresh.plan("m").toolchain_choice().name == "tiny-1"

    def test_a_build_takes_it(
        self, ovrecipe: CommandLine, machines: tuple[Project, Project], url: str
    ) -> None:
        """Nothing is fetched, and no toolchain is made."""
        here, there = machines
        assert ovrecipe(*self.WORDS, "push", "m:int4", url, cwd=here.root).code == 0
        (there.root / "ovrecipe.toml").write_text(f'remote = "{url}"\n')
        done = ovrecipe(*self.WORDS, "build", "m:int4", cwd=there.root)
        assert done.code == 0, done.err
        made = {stage for stage, _, _ in context_of(there).store.folders()}
        assert made == {"assemble", "check", "conformance", "reference"}

    def test_where_its_config_is_not_there_the_remedy_is_its_checkpoint(
        self, ovrecipe: CommandLine, machines: tuple[Project, Project], url: str, elsewhere: Path
    ) -> None:
        """An older ovrecipe pushed none."""
        here, there = machines
        words = (*self.WORDS, "pull", "m:int4", url)
        assert ovrecipe(*self.WORDS, "push", "m:int4", url, "--inputs", cwd=here.root).code == 0
        shutil.rmtree(elsewhere / "configs")
        done = ovrecipe(*words, cwd=there.root)
        assert done.code == 10
        assert "nor the config.json of its checkpoint" in done.err
        assert "pull m:int4 --inputs" in done.err
        assert ovrecipe(*words, "--inputs", cwd=there.root).code == 0

    def test_it_is_found_as_a_draft_model_too(
        self, ovrecipe: CommandLine, machines: tuple[Project, Project], url: str
    ) -> None:
        """Keys of the model that it writes ahead for depend on its own."""
        here, there = machines
        drafted = {"recipe": "m:int4", "num_assistant_tokens": 2}
        for one in machines:
            write_recipe(one, "n", fake_recipe(draft=drafted))
        publish_fakes(here, "n", "int4", plugins=(TOOLCHAIN_PLUGIN,))
        assert ovrecipe(*self.WORDS, "push", "n:int4", url, cwd=here.root).code == 0
        done = ovrecipe(*self.WORDS, "pull", "n:int4", url, cwd=there.root)
        assert done.code == 0, done.err

    def test_a_damaged_config_is_refused(
        self, ovrecipe: CommandLine, machines: tuple[Project, Project], url: str, elsewhere: Path
    ) -> None:
        """As any other damage there."""
        here, there = machines
        assert ovrecipe(*self.WORDS, "push", "m:int4", url, cwd=here.root).code == 0
        [path] = (elsewhere / "configs").iterdir()
        path.write_text("{")
        done = ovrecipe(*self.WORDS, "pull", "m:int4", url, cwd=there.root)
        assert done.code == 9
        assert "is no config.json" in done.err
        assert not list(there.store_dir.glob(".configs/*"))


def test_memory_is_a_store_too(built, other) -> None:
    """Whatever fsspec knows."""
    remote = Remote("memory://somewhere")
    assert None not in push_all(built, remote)
    for work in needs(other):
        assert take(work, remote, SAID)


def test_only_what_is_missing_is_sent(built, url, elsewhere) -> None:
    """A file that several artifacts share goes once, and a push that was killed goes on."""
    remote = Remote(url)
    assembled = ViewWork(context_of(built).plan("m"), "int4").assembled
    manifest = context_of(built).store.manifest(assembled.key())
    [entry] = manifest.files.values()
    (elsewhere / "files").mkdir(parents=True)
    there = elsewhere / "files" / entry.sha256
    there.write_bytes(b"assemble")
    os.utime(there, (1, 1))
    assert give(assembled, remote, SAID) == 0
    assert there.stat().st_mtime == 1
    assert give(assembled, remote, SAID) is None


def test_a_killed_push_lists_nothing_that_is_not_whole(built, url, elsewhere) -> None:
    """Half a file has another size, and a manifest comes last."""
    assembled = ViewWork(context_of(built).plan("m"), "int4").assembled
    [entry] = context_of(built).store.manifest(assembled.key()).files.values()
    (elsewhere / "files").mkdir(parents=True)
    (elsewhere / "files" / entry.sha256).write_bytes(b"asse")
    assert Remote(url).manifest(assembled.key()) is None
    assert give(assembled, Remote(url), SAID) == len(b"assemble")
    assert (elsewhere / "files" / entry.sha256).read_bytes() == b"assemble"
    assert len(list((elsewhere / "files").iterdir())) == 1


class Pulling:
    """One artifact that is elsewhere, and the project that wants it."""

    def __init__(self, other: Project, url: str, elsewhere: Path) -> None:
        self.context = context_of(other)
        self.work = next(w for w in needs(other) if w.stage.publishes)
        self.remote = Remote(url)
        self.key = self.work.key()
        self.manifest_path = elsewhere / "artifacts" / "assemble" / f"{self.key.sha256}.json"
        [self.entry] = json.loads(self.manifest_path.read_text())["files"].values()
        self.file_path = elsewhere / "files" / self.entry["sha256"]

    def __call__(self) -> bool:
        return take(self.work, self.remote, SAID)

    @property
    def is_here(self) -> bool:
        return self.work.context.store.has(self.key)


@pytest.fixture
def pulling(built: Project, other: Project, url: str, elsewhere: Path) -> Pulling:
    push_all(built, Remote(url))
    return Pulling(other, url, elsewhere)


def test_a_file_that_came_half_is_gone_on_with(pulling: Pulling) -> None:
    """What is wrong of it is thrown away, and it comes once more."""
    store = pulling.work.context.store
    store.prepare()
    half = store.download_path(pulling.entry["sha256"])
    read: list[int] = []
    original = pulling.remote._files.open

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(files, name)

        def open(self, path: str, mode: str) -> Any:
            stream = original(path, mode)
            seek = stream.seek
            stream.seek = lambda start: (read.append(start), seek(start))[1]
            return stream

    files = pulling.remote._files
    pulling.remote.__dict__["_place"] = (Noting(), pulling.remote._place[1])
    half.write_bytes(b"asse")
    assert pulling()
    assert read == [4]
    store.remove(pulling.key)
    half.write_bytes(b"XXXX")
    assert pulling()
    assert read == [4, 4, 0]
    assert (store.artifact_dir(pulling.key) / "openvino_model.bin").read_bytes() == b"assemble"


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("x")])
def test_what_is_damaged_there_is_pushed_again(built, other, pulling, damage) -> None:
    """As the error says, though its manifest is still there."""
    damage(pulling.file_path)
    with pytest.raises(ArtifactCorrupt, match="push again from where it was built"):
        pulling()
    assert push_all(built, pulling.remote) == [None, None, len(b"assemble"), None]
    assert pulling()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda it: it.file_path.write_bytes(b"assembl3"), "is not openvino_model.bin as it was"),
        (lambda it: it.file_path.write_bytes(b"ass"), "is not openvino_model.bin as it was"),
        (lambda it: it.file_path.write_bytes(b"assemble more"), "is not openvino_model.bin as"),
        (lambda it: it.file_path.unlink(), "is missing"),
        (lambda it: it.manifest_path.write_text("{"), "json: "),
        (lambda it: altered(it.manifest_path, sha256="0" * 64), "manifest of another artifact"),
        (lambda it: altered(it.manifest_path, key={}), "manifest of another artifact"),
        (lambda it: renamed(it.manifest_path, "../../../x"), "is no path inside the artifact"),
    ],
)
def test_damage_there_is_refused(pulling: Pulling, damage: Callable, said: str) -> None:
    """Nothing of it is published, nor kept for the next time."""
    damage(pulling)
    with pytest.raises(ArtifactCorrupt, match=said):
        pulling()
    assert not pulling.is_here
    store_dir = pulling.work.context.store.root
    assert not list(store_dir.glob(".download-*") if store_dir.exists() else [])


def altered(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def renamed(path: Path, name: str) -> None:
    document = json.loads(path.read_text())
    altered(path, files={name: next(iter(document["files"].values()))})


def test_what_a_newer_ovrecipe_pushed_says_so(pulling: Pulling) -> None:
    """It is no damage."""
    altered(pulling.manifest_path, schema=2, more=1)
    with pytest.raises(ArtifactTooNew, match="a newer ovrecipe wrote it"):
        pulling()


def test_what_is_here_already_is_linked(pulling: Pulling, elsewhere: Path) -> None:
    """The weights of a directory are those of the stage before; they come once."""
    store = pulling.work.context.store
    weights = work_on(pulling.work.context, "m", "weights", "int4").key()
    with store.staging(weights) as folder:
        (folder / "openvino_model.bin").write_bytes(b"assemble")
        store.publish(weights, folder)
    pulling.file_path.unlink()
    assert pulling()
    one = store.artifact_dir(pulling.key) / "openvino_model.bin"
    assert one.samefile(store.artifact_dir(weights) / "openvino_model.bin")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nosuch://bucket/x", "Protocol not known: nosuch"),
        ("s3://bucket/x", "s3fs"),
    ],
)
def test_what_fsspec_cannot_open_is_said(other, where, said) -> None:
    """With the package that is missing."""
    if where.startswith("s3") and _has_s3fs():
        pytest.skip("s3fs is installed")
    with pytest.raises(StoreError, match=said):
        take(needs(other)[0], Remote(where), SAID)


def _has_s3fs() -> bool:
    from importlib.util import find_spec

    return find_spec("s3fs") is not None


def test_a_password_in_the_url_is_not_shown() -> None:
    """Logs are kept."""
    assert str(Remote("ftp://me:secret@host/x")) == "ftp://host/x"


class TestBuild:
    """`remote` in the project: what is there is not built here."""

    def build(self, project: Project, url: str) -> tuple[str, list[Exception], BuildContext]:
        said = io.StringIO()
        context = remotely(project, url)
        report = try_to_build(context, [Target("m", "int4")], watch=Lines(said))
        return said.getvalue(), report.errors, context

    def test_nothing_is_built_that_is_there(self, built, other, url) -> None:
        """Not even what it was made from."""
        push_all(built, Remote(url))
        said, errors, context = self.build(other, url)
        assert errors == []
        assert f"assemble m:int4: taken from {url}\n" in said.replace("8 bytes, ", "")
        made = {stage for stage, _, _ in context.store.folders()}
        assert made == {"assemble", "check", "conformance", "reference"}
        assert ViewWork(context.plan("m"), "int4").is_done()

    def test_the_project_says_where(self, ovrecipe: CommandLine, built, other, url) -> None:
        """In its own file, for everybody who builds it."""
        push_all(built, Remote(url))
        (other.root / "ovrecipe.toml").write_text(f'remote = "{url}"\n')
        done = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4", cwd=other.root)
        assert done.code == 0, done.err
        assert f"taken from {url}" in done.err
        assert "Nothing to do" not in done.out
        again = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4", cwd=other.root)
        assert "Nothing to do" in again.out

    @pytest.mark.slow
    def test_doit_takes_from_there_as_well(self, built, other, url) -> None:
        """It is the same graph; what it does not build it does not list."""
        push_all(built, Remote(url))
        (other.root / "ovrecipe.toml").write_text(f'remote = "{url}"\n')
        done = doit(other, "build:m:int4", dodo=DODO_WITH_PLUGIN)
        assert done.returncode == 0, done.stderr
        assert f"taken from {url}" in done.stderr
        assert "base" not in done.stdout
        assert "_take" not in doit(other, "list", "--all", dodo=DODO_WITH_PLUGIN).stdout

    @pytest.mark.slow
    def test_the_rest_is_built_from_what_is_there(
        self, built, other, url, monkeypatch, tmp_path
    ) -> None:
        """The base IR takes longest, and another variant needs it too."""
        calls = tmp_path / "calls"
        monkeypatch.setenv("FAKE_CALLS", str(calls))
        do_up_to(context_of(built), "m", "source", "base")
        for stage in ("source", "base"):
            give(work_on(context_of(built), "m", stage), Remote(url), SAID)
        calls.unlink()
        said, errors, context = self.build(other, url)
        assert "base m: " in said
        assert f"taken from {url}" in said
        assert "base" not in calls.read_text().split()
        assert context.store.has(work_on(context, "m", "base").key())
        assert errors, "the stand-ins have no tokenizer, so the build ends later on"

    @pytest.mark.slow
    def test_where_nobody_answers_it_is_built_here(self, other, tmp_path) -> None:
        """One warning for the whole build."""
        (tmp_path / "file").write_text("")
        said, _, context = self.build(other, f"file://{tmp_path}/file")
        warned = [line for line in said.splitlines() if "what is missing is built here" in line]
        assert len(warned) == 1
        assert "cannot be used: NotADirectoryError" in warned[0]
        assert context.store.has(work_on(context, "m", "base").key())

    def test_one_that_did_not_answer_is_not_asked_again(self, other, tmp_path) -> None:
        """Each stage would wait for as long as the network lets it."""
        (tmp_path / "file").write_text("")
        context, said = remotely(other, f"file://{tmp_path}/file"), io.StringIO()
        Taking(work_on(context, "m", "base")).do(Lines(said))
        assert "what is missing is built here" in said.getvalue()
        (tmp_path / "file").unlink()
        context.remote.__dict__["_place"] = None  # to ask it would be an error
        Taking(work_on(context, "m", "source")).do(Lines(said))
        assert len(said.getvalue().splitlines()) == 1

    def test_damage_there_ends_the_build(self, built, other, url, elsewhere) -> None:
        """Somebody has to look at it; building over it would hide it."""
        push_all(built, Remote(url))
        for path in (elsewhere / "files").iterdir():
            path.write_bytes(b"damaged!")
        _, errors, context = self.build(other, url)
        assert any(isinstance(error, ArtifactCorrupt) for error in errors)
        assert not context.store.has(needs(other)[0].key())


def test_an_unreachable_place_is_an_error_of_the_commands(built, tmp_path) -> None:
    """They have nothing else to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RemoteUnreachable, match="cannot be used: "):
        push_all(built, Remote(f"file://{tmp_path}/file"))


def test_the_commands_say_what_is_not_there(ovrecipe: CommandLine, built, other, url) -> None:
    """Exit code 10, as for what is not built."""
    assert ovrecipe("-p", FAKE_PLUGIN, "push", "m:int4-other", url, cwd=built.root).code == 10
    done = ovrecipe("-p", FAKE_PLUGIN, "pull", "m:int4", url, cwd=other.root)
    assert done.code == 10
    assert f"{url} has no conformance m" in done.err
    done = ovrecipe("-p", FAKE_PLUGIN, "pull", "m:int4", cwd=other.root)
    assert done.code == 2
    assert "write remote = 'URL' into ovrecipe.toml" in done.said


def test_what_came_half_is_collected_when_it_is_old(other) -> None:
    """A young one may be on its way."""
    store = context_of(other).store
    store.prepare()
    young, old = store.download_path("0" * 64), store.download_path("1" * 64)
    for path in (young, old):
        path.write_text("half")
    os.utime(old, (1, 1))
    collect(store, plan_gc(store, set()))
    assert young.exists()
    assert not old.exists()


def test_links_are_pushed_as_what_they_lead_to(built, other, url) -> None:
    """A checkpoint is a link into the hub's cache, which the other machine has not."""
    do_up_to(context_of(built), "m", "source")
    mine, theirs = (
        work_on(context_of(built), "m", "source"),
        work_on(context_of(other), "m", "source"),
    )
    give(mine, Remote(url), SAID)
    assert take(theirs, Remote(url), SAID)
    shutil.rmtree(built.recipes_dir)
    found = theirs.context.store.artifact_dir(theirs.key()) / "checkpoint" / "config.json"
    assert json.loads(found.read_text()) == {"text": "checkpoint"}
