"""A tar file of an export: the same bytes each time, and an export when it is unpacked."""

from __future__ import annotations

import os
import signal
import tarfile
from pathlib import Path

import pytest

from ovrecipe.deliver.archive import write_tar
from ovrecipe.deliver.folder import write_folder
from ovrecipe.errors import ArtifactCorrupt, ProjectError
from ovrecipe.run.exported import open_export
from tests.build.making import FAKE_PLUGIN
from tests.deliver.conftest import files_of


def test_it_is_the_same_bytes_each_time(contents, tmp_path) -> None:
    """So a digest of it says something, on whatever machine it was written."""
    one, other = tmp_path / "one.tar", tmp_path / "deeper" / "other.tar"
    umask = os.umask(0o077)
    write_tar(contents(), one, env=dict(os.environ))
    os.umask(umask)
    write_tar(contents(), other, env=dict(os.environ))
    assert one.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".o")) == []


def test_unpacked_it_is_the_export(contents, tmp_path) -> None:
    """One folder with the files of `export DIR`."""
    made = contents(ovms=True)
    write_tar(made, tmp_path / "out.tar", env=dict(os.environ))
    write_folder(made, tmp_path / "out", env=dict(os.environ))
    with tarfile.open(tmp_path / "out.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert files_of(tmp_path / "unpacked" / "m-int4") == files_of(tmp_path / "out")
    open_export(tmp_path / "unpacked" / "m-int4", dict(os.environ))


def test_damage_leaves_the_old_file(contents, built, tmp_path) -> None:
    """What a disk changed since the look at the artifact is seen while it is packed."""
    made, path = contents(), tmp_path / "out.tar"
    path.write_text("the old one")
    weights = (made.model_dir / "openvino_model.bin").resolve()
    weights.chmod(0o644)
    weights.write_bytes(b"assembl3")
    with pytest.raises(ArtifactCorrupt, match="has other bytes than when it was made"):
        write_tar(made, path, env=dict(os.environ))
    assert path.read_text() == "the old one"
    assert [one.name for one in tmp_path.glob(".out*")] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
@pytest.mark.xdist_group("forks")
def test_what_a_killed_one_left_is_swept(contents, tmp_path) -> None:
    """It is as large as the model; files of others with like names stay."""
    made, path, folder = contents(), tmp_path / "out.tar", tmp_path
    theirs = folder / ".out.tar.backup"
    theirs.write_text("theirs")

    def progress(message: str, **_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        try:
            write_tar(made, path, env=dict(os.environ), progress=progress)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    assert len(list(folder.glob(".out.tar.*"))) == 2
    write_tar(made, path, env=dict(os.environ))
    assert list(folder.glob(".out.tar.*")) == [theirs]
    assert tarfile.is_tarfile(path)


@pytest.mark.parametrize("name", ["out.tar.gz", "out.zip", "out.tgz"])
def test_another_format_is_refused(contents, tmp_path, name) -> None:
    """A plain tar under such a name would be opened by nobody."""
    with pytest.raises(ProjectError, match="only a plain tar is written"):
        write_tar(contents(), tmp_path / name, env=dict(os.environ))


def test_the_command_needs_no_folder(ovrecipe, built, tmp_path) -> None:
    """What goes to another machine need not lie here twice."""
    path = tmp_path / "out.tar"
    done = ovrecipe("-p", FAKE_PLUGIN, "export", "m:int4", "--tar", str(path), cwd=built.root)
    assert done.code == 0, done.err
    assert tarfile.is_tarfile(path)
    refused = ovrecipe("-p", FAKE_PLUGIN, "export", "m:int4", "--tar", "x.zip", cwd=built.root)
    assert refused.code == 12
    assert not Path(built.root / "x.zip").exists()
