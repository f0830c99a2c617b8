"""The local source: what it takes, what it leaves alone and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.builtin.local import LocalSource
from ovrecipe.errors import (
    CheckpointIncomplete,
    CheckpointNotFound,
    CheckpointUnsafe,
    SourceError,
)
from tests.sources.requests import (
    checkpoint_files,
    request,
    safetensors_bytes,
    write_files,
)


def fetched(tmp_path: Path, files: dict[str, bytes], **model: Any) -> Path:
    """Bring a checkpoint with these files and return the directory it was brought to."""
    write_files(tmp_path / "mine", files)
    asked = request(tmp_path, "./mine", **model)
    checkpoint_dir = tmp_path / "checkpoint"
    checkpoint_dir.mkdir()
    LocalSource().fetch(asked, LocalSource().pin(asked), checkpoint_dir)
    return checkpoint_dir


def test_links_and_never_copies(tmp_path) -> None:
    """Weights of seventy gigabytes exist once."""
    checkpoint_dir = fetched(tmp_path, checkpoint_files())
    assert (checkpoint_dir / "model.safetensors").samefile(tmp_path / "mine" / "model.safetensors")
    assert sorted(path.name for path in checkpoint_dir.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_leaves_the_users_files_alone(tmp_path) -> None:
    """A directory that is only read keeps its times, modes and content."""
    folder = write_files(tmp_path / "mine", checkpoint_files())
    before = {path: path.stat() for path in sorted(folder.iterdir())}
    asked = request(tmp_path, "./mine")
    (tmp_path / "checkpoint").mkdir()
    LocalSource().fetch(asked, LocalSource().pin(asked), tmp_path / "checkpoint")
    after = {path: path.stat() for path in sorted(folder.iterdir())}
    assert {p: (s.st_mode, s.st_mtime_ns) for p, s in before.items()} == {
        p: (s.st_mode, s.st_mtime_ns) for p, s in after.items()
    }


def test_the_pin_follows_content_and_not_names_that_do_not_matter(tmp_path) -> None:
    """Editing the README rebuilds nothing; editing the weights rebuilds everything."""
    folder = write_files(tmp_path / "mine", checkpoint_files())
    first = LocalSource().pin(request(tmp_path, "./mine"))
    (folder / "README.md").write_text("another text")
    assert LocalSource().pin(request(tmp_path, "./mine")) == first
    (folder / "model.safetensors").write_bytes(safetensors_bytes(values=5))
    assert LocalSource().pin(request(tmp_path, "./mine")) != first


def test_relative_paths_start_from_the_recipe(tmp_path) -> None:
    """A recipe works from whatever folder the command is called in."""
    write_files(tmp_path / "models" / "mine", checkpoint_files())
    (tmp_path / "recipes").mkdir()
    assert "files" in LocalSource().pin(request(tmp_path / "recipes", "../models/mine"))


def test_the_home_comes_from_the_environment_that_was_given(tmp_path) -> None:
    """`~` is the user's, not the one of whichever process reads the recipe."""
    write_files(tmp_path / "mine", checkpoint_files())
    asked = request(tmp_path / "recipes", "~/mine", env={"HOME": str(tmp_path)})
    assert "files" in LocalSource().pin(asked)


def test_a_missing_directory_is_not_found(tmp_path) -> None:
    """The whole path is shown, because the mistake is in its beginning as often as in its end."""
    with pytest.raises(CheckpointNotFound, match=r"nowhere: there is no such directory"):
        LocalSource().pin(request(tmp_path, "./nowhere"))


def test_a_file_is_no_checkpoint(tmp_path) -> None:
    """Naming the weights instead of their folder is a common slip."""
    write_files(tmp_path / "mine", checkpoint_files())
    with pytest.raises(CheckpointNotFound, match=r"is a file.*\n  perhaps you meant .*mine"):
        LocalSource().pin(request(tmp_path, "./mine/model.safetensors"))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config__json", "has no config.json"),
        ("model__safetensors", "has no weights"),
        ("tokenizer__json", "has no tokenizer files"),
    ],
)
def test_names_what_is_missing(tmp_path, missing, message) -> None:
    """optimum-cli exits with 0 and an 8-token tokenizer when the tokenizer's files are missing."""
    with pytest.raises(CheckpointIncomplete, match=message):
        fetched(tmp_path, checkpoint_files(**{missing: None}))


def test_a_link_to_nothing_is_a_missing_file(tmp_path) -> None:
    """A folder of links into a cache is left behind when the cache is cleared."""
    folder = write_files(tmp_path / "mine", checkpoint_files(model__safetensors=None))
    (folder / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(CheckpointIncomplete, match="has no weights"):
        LocalSource().pin(request(tmp_path, "./mine"))


def test_a_vocabulary_without_its_merges_is_no_tokenizer(tmp_path) -> None:
    """Half a tokenizer is none."""
    files = checkpoint_files(tokenizer__json=None, vocab__json=b"{}")
    with pytest.raises(CheckpointIncomplete, match=r"vocab.json with merges.txt"):
        fetched(tmp_path, files)


def test_points_at_a_gguf_file_beside(tmp_path) -> None:
    """A downloaded GGUF repository is usable, by another id."""
    write_files(tmp_path / "mine", {"model.Q4_0.gguf": b"GGUF"})
    with pytest.raises(CheckpointIncomplete, match=r"model.Q4_0.gguf: give the .gguf file itself"):
        LocalSource().pin(request(tmp_path, "./mine"))


def test_pickles_need_permission(tmp_path) -> None:
    """Reading a pickle runs whatever its author wrote."""
    files = checkpoint_files(model__safetensors=None, pytorch_model__bin=b"pickle")
    with pytest.raises(CheckpointUnsafe, match=r"pytorch_model.bin.*\n.*allow_pickle: true"):
        fetched(tmp_path, files)


def test_permitted_pickles_are_taken(tmp_path) -> None:
    """The user decides."""
    files = checkpoint_files(model__safetensors=None, pytorch_model__bin=b"pickle")
    checkpoint_dir = fetched(tmp_path, files, allow_pickle=True)
    assert (checkpoint_dir / "pytorch_model.bin").is_symlink()


def test_pickles_beside_safetensors_are_left_out(tmp_path) -> None:
    """Permission to read pickles is not a wish for them."""
    files = checkpoint_files(pytorch_model__bin=b"pickle")
    checkpoint_dir = fetched(tmp_path, files, allow_pickle=True)
    assert not (checkpoint_dir / "pytorch_model.bin").exists()


def test_a_missing_shard_is_named(tmp_path) -> None:
    """The export would fail minutes later, with a key error."""
    shards = {f"weight{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    files = checkpoint_files(model__safetensors=None)
    files["model.safetensors.index.json"] = json.dumps({"weight_map": shards}).encode()
    files["model-00001-of-00002.safetensors"] = safetensors_bytes()
    with pytest.raises(CheckpointIncomplete, match=r"missing: model-00002-of-00002.safetensors"):
        fetched(tmp_path, files)


@pytest.mark.parametrize("size", [0, 4, 20, 90])
def test_truncated_weights_are_refused(tmp_path, size) -> None:
    """A broken download looks whole until the last tensor is read."""
    files = checkpoint_files(model__safetensors=safetensors_bytes(values=64)[:size])
    with pytest.raises(CheckpointIncomplete, match=r"model.safetensors (is not|has \d+ bytes)"):
        fetched(tmp_path, files)


def test_a_git_lfs_pointer_is_recognized(tmp_path) -> None:
    """`git clone` without LFS leaves a text file in the place of the weights."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    with pytest.raises(CheckpointIncomplete, match=r"Git LFS pointer"):
        fetched(tmp_path, checkpoint_files(model__safetensors=pointer))


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_a_damaged_config_is_refused(tmp_path, content) -> None:
    """The message names the file, not a line in the JSON parser."""
    with pytest.raises(CheckpointIncomplete, match=r"mine: config\.json: is not"):
        fetched(tmp_path, checkpoint_files(config__json=content))


def test_remote_code_needs_permission(tmp_path) -> None:
    """The class that would run is named, so that its code can be read first."""
    config = {"model_type": "novel", "auto_map": {"AutoModelForCausalLM": "modeling_novel.Novel"}}
    with pytest.raises(CheckpointUnsafe, match=r"modeling_novel.Novel.*\n.*trust_remote_code"):
        fetched(tmp_path, checkpoint_files(config__json=json.dumps(config).encode()))


def test_a_tokenizers_remote_code_needs_permission_too(tmp_path) -> None:
    """Tokenizers are code as well."""
    own = {"tokenizer_class": "NovelTokenizer", "auto_map": {"AutoTokenizer": ["t.Novel", None]}}
    files = checkpoint_files(
        config__json=b'{"model_type": "novel"}', tokenizer_config__json=json.dumps(own).encode()
    )
    with pytest.raises(CheckpointUnsafe, match=r"tokenizer_config.json wants.*t.Novel"):
        fetched(tmp_path, files)


def test_code_that_transformers_does_not_need_is_no_obstacle(tmp_path) -> None:
    """Many models carry code for old versions; without trust, transformers runs its own."""
    config = {"model_type": "phi3", "auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3"}}
    files = checkpoint_files(config__json=json.dumps(config).encode(), modeling_phi3__py=b"")
    checkpoint_dir = fetched(tmp_path, files)
    assert not (checkpoint_dir / "modeling_phi3.py").exists()


def test_trusted_code_is_taken_along(tmp_path) -> None:
    """With permission, the Python files belong to the checkpoint and to its pin."""
    config = {"model_type": "novel", "auto_map": {"AutoModelForCausalLM": "modeling_novel.Novel"}}
    files = checkpoint_files(config__json=json.dumps(config).encode(), modeling_novel__py=b"x = 1")
    checkpoint_dir = fetched(tmp_path, files, trust_remote_code=True)
    assert (checkpoint_dir / "modeling_novel.py").read_bytes() == b"x = 1"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission bits")
def test_read_only_checkpoints_work(tmp_path) -> None:
    """A shared model folder is often not writable."""
    folder = write_files(tmp_path / "mine", checkpoint_files())
    folder.chmod(0o555)
    try:
        (tmp_path / "checkpoint").mkdir()
        asked = request(tmp_path, "./mine")
        LocalSource().fetch(asked, LocalSource().pin(asked), tmp_path / "checkpoint")
    finally:
        folder.chmod(0o755)
    assert (tmp_path / "checkpoint" / "config.json").is_file()


def test_content_that_changed_after_the_pin_is_refused(tmp_path: Path) -> None:
    """An artifact's key would say what is not in it, for ever."""
    folder = write_files(tmp_path / "mine", checkpoint_files())
    asked = request(tmp_path, "./mine")
    pin = LocalSource().pin(asked)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(values=5))
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(SourceError, match=r"model.safetensors: changed while .*\n  build again"):
        LocalSource().fetch(asked, pin, tmp_path / "checkpoint")


def test_a_file_that_came_after_the_pin_is_refused(tmp_path: Path) -> None:
    """It would be read, and no key would know of it."""
    folder = write_files(tmp_path / "mine", checkpoint_files())
    asked = request(tmp_path, "./mine")
    pin = LocalSource().pin(asked)
    (folder / "special_tokens_map.json").write_text("{}")
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(SourceError, match=r"mine: changed while it was read"):
        LocalSource().fetch(asked, pin, tmp_path / "checkpoint")


def test_a_link_that_is_in_the_way_is_an_error(tmp_path: Path) -> None:
    """Only systems without symbolic links get hard ones; other trouble is told."""
    write_files(tmp_path / "mine", checkpoint_files())
    asked = request(tmp_path, "./mine")
    write_files(tmp_path / "checkpoint", {"config.json": b""})
    with pytest.raises(SourceError, match="cannot be linked into the store: File exists"):
        LocalSource().fetch(asked, LocalSource().pin(asked), tmp_path / "checkpoint")
