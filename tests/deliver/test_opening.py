"""What was exported is opened where there is neither project nor store; damage is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ovrecipe
from ovrecipe.deliver.contents import Contents
from ovrecipe.deliver.folder import write_folder
from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, NotBuilt, RecipeError, RunError
from ovrecipe.recipe.project import Project
from ovrecipe.run.exported import (
    check_export,
    export_folder,
    exported_digests,
    open_export,
    read_export,
)
from ovrecipe.store.digests import RACY_NS
from tests.build.making import fake_recipe, publish_fakes, write_recipe
from tests.conftest import CommandLine

MODEL = "openvino_model.bin"


@pytest.fixture
def out(contents: Callable[..., Contents], built: Project, tmp_path: Path) -> Path:
    """An export without the project that it came from."""
    write_folder(contents(), tmp_path / "out", env=dict(os.environ))
    for path in (built.recipes_dir, built.store_dir, built.models_dir):
        _remove(path)
    return tmp_path / "out"


def _remove(path: Path) -> None:
    for folder in path.rglob("*"):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)
    shutil.rmtree(path)


def open_here(folder: Path) -> object:
    return open_export(folder, dict(os.environ))


def test_it_comes_as_far_as_openvino(out, tmp_path, ovrecipe: CommandLine) -> None:
    """These few bytes are no model; that is all there is to complain about."""
    for words in (("run", "./out", "hello"), ("chat", "./out"), ("run", "./out")):
        done = ovrecipe(*words, cwd=tmp_path, stdin=b"hello\n")
        assert done.code == 11, done.err
        assert "the model cannot be loaded on CPU" in done.err


def test_python_opens_a_path_or_a_text_that_is_one(out, monkeypatch) -> None:
    """A recipe's name has no slash, so nothing is guessed."""
    monkeypatch.chdir(out.parent)
    for target in ("./out", "out/", str(out), Path("out")):
        with pytest.raises(RunError, match="the model cannot be loaded on CPU"):
            ovrecipe.load(target)
    assert export_folder("out") is None
    assert export_folder("m:int4") is None


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda out: (out / MODEL).write_bytes(b"assembl3"), f"{MODEL}: has other bytes than"),
        (lambda out: (out / MODEL).write_bytes(b"ass"), f"{MODEL}: has 3 bytes, and had 8"),
        (lambda out: (out / MODEL).unlink(), f"{MODEL}: is missing"),
        (lambda out: (out / "ovrecipe.json").write_text("{}"), "ovrecipe.json: "),
        (lambda out: (out / "ovrecipe.json").write_text("{"), "ovrecipe.json: "),
    ],
)
def test_damage_is_refused_with_the_file(out, damage, said) -> None:
    """A byte that was lost on the way makes a model that answers nonsense."""
    open_here(out)
    damage(out)
    with pytest.raises(ArtifactCorrupt, match=said):
        open_here(out)


def test_pages_beside_the_model_may_be_changed(out) -> None:
    """They are for people."""
    (out / "README.md").write_text("ours")
    open_here(out)


def test_a_file_is_hashed_once(out, cache_dir) -> None:
    """Gigabytes are not read again for each question; what was just written is."""
    digests = exported_digests(dict(os.environ))
    digests.now_ns = lambda: time.time_ns() + 10 * RACY_NS
    check_export(out, read_export(out), digests.sha256)
    remembered = json.loads((cache_dir / "digests.json").read_text())
    assert sorted(Path(path).name for path in remembered) == ["chat_template.jinja", MODEL]
    assert digests.path == cache_dir / "digests.json"


def test_where_nothing_can_be_kept_it_is_opened_all_the_same(out, cache_dir) -> None:
    """A container has no home that can be written."""
    if cache_dir.exists():
        shutil.rmtree(cache_dir)
    cache_dir.write_text("no folder")
    open_here(out)


def test_what_a_newer_ovrecipe_wrote_says_so(out) -> None:
    """An upgrade is the remedy, not another copy."""
    path = out / "ovrecipe.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "schema": 2, "more": True}))
    with pytest.raises(ArtifactTooNew, match="a newer ovrecipe wrote it"):
        open_here(out)
    document["recipe"]["prompt"]["new_key"] = True
    path.write_text(json.dumps(document))
    with pytest.raises(RecipeError, match=r"recipe: prompt\.new_key: unknown key"):
        open_here(out)


def test_a_name_in_it_leads_nowhere_else(out) -> None:
    """An export may come from a stranger."""
    path = out / "ovrecipe.json"
    document = json.loads(path.read_text())
    document["files"]["../../etc/passwd"] = document["files"][MODEL]
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactCorrupt, match="is no path inside the artifact"):
        open_here(out)


def test_a_file_named_by_a_missing_export_is_explained(tmp_path, ovrecipe: CommandLine) -> None:
    """Each is another mistake."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "out.tar").write_text("")
    for name, said in (
        ("nowhere", "nowhere: no such folder"),
        ("empty", "has no ovrecipe.json, so it is no export"),
        ("out.tar", "unpack it first"),
    ):
        done = ovrecipe("run", f"./{name}", "hello", cwd=tmp_path)
        assert done.code == 10
        assert said in done.err


class TestCopiesOfModels:
    """`cp -r models/` copies links: opened by nobody, and ovrecipe says what would have helped."""

    @pytest.fixture
    def copied(self, built: Project, tmp_path: Path) -> Callable[[str], Path]:
        """Copy `models/` as a shell does, and let the project vanish."""

        def copy(how: str) -> Path:
            target = tmp_path / "far" / "away" / "copy"
            target.parent.mkdir(parents=True)
            script = {
                "cp -r": 'cp -r models "$0"',
                "tar": 'mkdir "$0" && tar -cf - -C models . | tar -xf - -C "$0"',
                "cp -rL": 'cp -rL models "$0"',
                "tar -h": 'mkdir "$0" && tar -chf - -C models . | tar -xf - -C "$0"',
                "project": 'cp -r . "$0"',
            }[how]
            outside = built.root / "here"
            outside.mkdir()
            for path in (built.recipes_dir, built.store_dir, built.models_dir):
                path.rename(outside / path.name)
            subprocess.run(["sh", "-c", script, str(target)], cwd=outside, check=True)
            _remove(outside)
            return target

        return copy

    @pytest.mark.parametrize("how", ["cp -r", "tar"])
    def test_a_copy_of_links_is_refused_with_the_command_that_helps(self, copied, how) -> None:
        """Nothing opens it, so nobody serves something else by mistake."""
        view = copied(how) / "m" / "int4"
        assert view.is_symlink()
        assert not view.exists()
        with pytest.raises(NotBuilt, match=r"which is not here\n  .*'ovrecipe export NAME DIR'"):
            open_here(view)

    @pytest.mark.parametrize("how", ["cp -rL", "tar -h"])
    def test_a_copy_that_follows_links_is_a_model_for_other_programs(self, copied, how) -> None:
        """The recipe is not there, and with it the filters: ovrecipe does not guess."""
        folder = copied(how) / "m" / "int4"
        assert (folder / MODEL).read_bytes() == b"assemble"
        assert not (folder / MODEL).is_symlink()
        with pytest.raises(NotBuilt, match="has a built model without its recipe"):
            open_here(folder)

    def test_a_copy_of_the_whole_project_is_a_project(self, copied, ovrecipe: CommandLine) -> None:
        """Links within it are relative."""
        folder = copied("project")
        done = ovrecipe("run", "m:int4", "hello", cwd=folder)
        assert done.code == 11
        assert "the model cannot be loaded on CPU" in done.err


def test_filters_come_along(project: Project, contents, tmp_path, ovrecipe: CommandLine) -> None:
    """A recipe that hides something hides it on the other machine too, or does not run there."""
    write_recipe(project, "m", fake_recipe(output={"filters": ["from-a-plugin"]}))
    publish_fakes(project, "m", "int4", template="{{ messages[0].content }}")
    write_folder(contents(), tmp_path / "out", env=dict(os.environ))
    done = ovrecipe("run", "./out", "hello", cwd=tmp_path)
    assert done.code == 4
    assert "from-a-plugin" in done.err


@pytest.mark.slow
def test_it_needs_no_torch_and_no_project(out, tmp_path) -> None:
    """The run-only installation is enough."""
    heavy = ("torch", "transformers", "nncf", "optimum", "huggingface_hub", "fsspec")
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in heavy)
    code = f"import sys\n{blocked}from ovrecipe.cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(out), "hello"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 11, done.stderr
    assert "the model cannot be loaded on CPU" in done.stderr
