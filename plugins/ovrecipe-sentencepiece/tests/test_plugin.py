"""The plugin among others: its contract, its imports, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ovrecipe_sentencepiece as plugin
import pytest

from ovrecipe.errors import CheckpointIncomplete, StageError
from ovrecipe.testing import assert_imports_public_names
from tests.checkpoints import model_only


def test_the_plugin_keeps_the_contract(assert_plugin_conforms) -> None:
    """Names, hooks and the provider's shape."""
    assert_plugin_conforms("ovrecipe-sentencepiece")


def test_only_public_names_are_imported() -> None:
    """All else may change with any release."""
    assert_imports_public_names(plugin, tests_dir=Path(__file__).parent)


def test_planning_a_build_loads_nothing_heavy() -> None:
    """A build asks converters for their names and versions even when nothing is to do."""
    code = (
        "import sys, ovrecipe_sentencepiece.converter as plugin; "
        "assert plugin.SentencePieceConverter().packages; "
        "heavy = {'torch', 'transformers', 'openvino', 'sentencepiece', 'numpy', 'google'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_checkpoint_without_a_sentencepiece_model_is_refused(tmp_path, convert) -> None:
    """By name, with what to do instead."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointIncomplete, match=r"no SentencePiece model \(tokenizer.model"):
        convert(tmp_path / "checkpoint")


def test_the_refusal_says_what_to_do(tmp_path, convert) -> None:
    """The built-in converter reads what such a checkpoint has."""
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(CheckpointIncomplete, match=r"leave tokenizer.converter out"):
        convert(tmp_path / "checkpoint")


def test_a_pointer_in_place_of_the_model_is_refused(tmp_path, convert) -> None:
    """What git leaves when LFS is not installed."""
    path = model_only(tmp_path / "checkpoint") / "tokenizer.model"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(StageError, match=r"is not a SentencePiece model(.|\n)*LFS"):
        convert(tmp_path / "checkpoint")


def test_an_unreadable_configuration_is_refused(tmp_path, convert) -> None:
    """With transformers' own reason."""
    checkpoint_dir = model_only(tmp_path / "checkpoint")
    (checkpoint_dir / "tokenizer_config.json").write_text("{")
    with pytest.raises(StageError, match=r"transformers cannot read the tokenizer"):
        convert(checkpoint_dir)
