"""An export is plain files in a folder, whole or not there, and nothing is copied twice."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ovrecipe.build.run import Target
from ovrecipe.deliver import folder
from ovrecipe.deliver.contents import Contents, contents_of
from ovrecipe.deliver.folder import write_folder
from ovrecipe.errors import ArtifactCorrupt, NotBuilt, ProjectError
from ovrecipe.recipe.project import Project
from ovrecipe.run.exported import open_export, read_export
from tests.build.making import (
    FAKE_PLUGIN,
    QUALITY,
    context_of,
    fake_recipe,
    publish_fakes,
    write_recipe,
)
from tests.conftest import CommandLine
from tests.deliver.conftest import files_of
from tests.store.killing import killed_at_every_line

ENV: dict[str, str] = {}
MODEL, TEMPLATE = "openvino_model.bin", "chat_template.jinja"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "delivered" / "out"


@pytest.fixture
def write(out: Path) -> Callable[..., object]:
    """Write an export into `out`."""
    return lambda made: write_folder(made, out, env=dict(os.environ))


def test_an_export_is_plain_files_of_its_own(contents, write, out) -> None:
    """What is copied on, packed or deleted must not lead into a store, and not change it."""
    made = contents()
    write(made)
    assert sorted(files_of(out)) == ["README.md", TEMPLATE, MODEL, "ovrecipe.json"]
    assert (out / MODEL).read_bytes() == b"assemble"
    for path in out.iterdir():
        found = path.lstat()
        assert stat.S_ISREG(found.st_mode)
        assert found.st_nlink == 1
        assert found.st_mode & stat.S_IWUSR, "whoever copied it may remove it"
    assert not list(out.parent.glob(".*")), "what was staged is gone"


def test_it_says_where_it_came_from(contents, write, out, built) -> None:
    """Recipe, digests, figures of the gates, attention, pin and versions go with it."""
    write(contents())
    document = json.loads((out / "ovrecipe.json").read_text())
    assert document["recipe"]["variants"]["int4"]["group_size"] == 64
    assert document["files"][MODEL]["size_bytes"] == len(b"assemble")
    assert document["gates"]["check"]["quality"] == QUALITY
    assert document["attention_backend"] == "SDPA"
    assert document["source"]["text"] == "checkpoint"
    assert document["made_by"].startswith("ovrecipe ")
    assert str(built.root) not in (out / "ovrecipe.json").read_text()
    recipe, artifact = open_export(out, dict(os.environ))
    assert (recipe.name, artifact.variant) == ("m", "int4")
    assert artifact.attention_backend() == "SDPA"


def test_exporting_again_does_nothing(contents, write, out) -> None:
    """Not even a file's time changes, so a copy by rsync has nothing to do either."""
    write(contents())
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    done = write(contents())
    assert not done.changed
    assert len(done.kept) == 4
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_only_what_changed_is_copied(contents, write, out) -> None:
    """Weights are gigabytes; a page is not."""
    write(contents())
    inode = (out / MODEL).stat().st_ino
    done = write(contents(ovms=True))
    assert MODEL in done.kept
    assert set(done.written) == {"README.md", "graph.pbtxt", "ovms_config.json", "compose.yaml",
                                 "ovrecipe.json"}  # fmt: skip
    assert (out / MODEL).stat().st_ino == inode
    done = write(contents())
    assert done.removed == ("compose.yaml", "graph.pbtxt", "ovms_config.json")
    assert sorted(files_of(out)) == ["README.md", TEMPLATE, MODEL, "ovrecipe.json"]


def test_a_damaged_file_is_copied_again(contents, write, out) -> None:
    """Exporting again is the remedy that a refused export names."""
    write(contents())
    (out / MODEL).write_bytes(b"assembl3")
    done = write(contents())
    assert done.written == (MODEL,)
    assert (out / MODEL).read_bytes() == b"assemble"


def test_a_folder_with_something_else_is_left_alone(contents, write, out) -> None:
    """The folder is replaced as a whole, so nothing of the user's may be in it."""
    out.mkdir(parents=True)
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ProjectError, match="is not empty and no export of ovrecipe's"):
        write(contents())
    (out / "thesis.tex").unlink()
    write(contents())
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ProjectError, match=r"1 file that the export did not write: thesis\.tex"):
        write(contents(ovms=True))
    assert (out / "thesis.tex").read_text() == "years of work"


def test_a_file_and_the_working_folder_are_refused(contents, write, out, monkeypatch) -> None:
    """The one is somebody's; replacing the other leaves a shell in a folder that is gone."""
    out.mkdir(parents=True)
    monkeypatch.chdir(out)
    with pytest.raises(ProjectError, match="is the working folder"):
        write(contents())
    monkeypatch.chdir("/")
    out.rmdir()
    out.write_text("a file")
    with pytest.raises(ProjectError, match="out is a file"):
        write(contents())


def test_the_folder_of_a_view_is_not_written_into(contents, built) -> None:
    """`models/m/int4` leads into the store."""
    view = built.models_dir / "m" / "int4"
    with pytest.raises(ProjectError, match="no export of ovrecipe's"):
        write_folder(contents(), view, env=dict(os.environ))
    assert (view / MODEL).read_bytes() == b"assemble"


def test_what_is_not_built_from_its_recipe_is_not_exported(built) -> None:
    """The recipe that goes with it has to be the one that it was built from."""
    write_recipe(built, "m", fake_recipe(generation={"max_new_tokens": 7}))
    with pytest.raises(NotBuilt, match="m:int4 is not built from its recipe of now"):
        contents_of(context_of(built), Target("m", "int4"))


def test_a_damaged_artifact_is_not_exported(contents, built) -> None:
    """An export vouches for its bytes."""
    weights = built.models_dir / "m" / "int4" / MODEL
    weights.resolve().chmod(0o644)
    weights.resolve().write_bytes(b"assembl3")
    with pytest.raises(ArtifactCorrupt, match=f"{MODEL}: has other bytes than when it was made"):
        contents()


def test_another_variant_takes_the_place(built, write, out) -> None:
    """A folder that a service reads is moved on to the next model in one step."""
    publish_fakes(built, "m", "int4-other")
    for variant in ("int4", "int4-other"):
        write(contents_of(context_of(built), Target("m", variant)))
        assert read_export(out).target == f"m:{variant}"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
@pytest.mark.xdist_group("forks")
@pytest.mark.parametrize("before", ["nothing", "an export"])
def test_killed_anywhere_it_is_whole_or_as_it_was(
    contents: Callable[..., Contents], quick_dir: Path, before: str
) -> None:
    """Somebody may open the folder at that very moment."""
    first, then, out = contents(), contents(ovms=True), quick_dir / "out"

    def write(made: Contents) -> None:
        write_folder(made, out, env=dict(os.environ))

    def reset() -> None:
        if before == "an export":
            write(first)
        elif out.exists():
            shutil.rmtree(out)

    reset()
    was = files_of(out)
    seen = set()
    for line in killed_at_every_line(lambda: write(then), Path(folder.__file__)):
        found = files_of(out)
        whole = {"graph.pbtxt", "ovrecipe.json"} <= found.keys()
        assert whole or found == was, line
        if whole:
            open_export(out, dict(os.environ))
            reset()
        seen.add(whole)
    assert seen == {False, True}
    write(then)
    assert not list(out.parent.glob(".*")), "what was killed leaves nothing for ever"


def test_the_command_says_what_it_did(ovrecipe: CommandLine, built: Project, out: Path) -> None:
    """And exits with 12 where something is in the way, with 10 where nothing is built."""
    words = ("-p", FAKE_PLUGIN, "export", "m:int4", str(out))
    done = ovrecipe(*words, cwd=built.root)
    assert done.code == 0, done.err
    assert "4 files written, 0 kept" in done.out
    assert "nothing to do" in ovrecipe(*words, cwd=built.root).out
    told = json.loads(ovrecipe(*words, "--ovms", "--json", cwd=built.root).out)
    assert told["target"] == "m:int4"
    assert told["kept"] == [TEMPLATE, MODEL]
    assert ovrecipe(*words[:4], str(built.root), cwd=built.root).code == 12
    assert ovrecipe(*words[:3], "m:int4-other", str(out), cwd=built.root).code == 10
    assert ovrecipe(*words[:4], cwd=built.root).code == 2


def test_a_bare_name_means_what_run_would_open(
    ovrecipe: CommandLine, built: Project, out: Path
) -> None:
    """One word, one meaning."""
    assert ovrecipe("-p", FAKE_PLUGIN, "export", "m", str(out), cwd=built.root).code == 0
    assert read_export(out).variant == "int4"
