"""Which files belong to a checkpoint."""

from __future__ import annotations

import pytest

from ovrecipe.builtin.checkpoint import wanted_files
from ovrecipe.errors import CheckpointUnsafe
from ovrecipe.recipe.schema import Model

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SMALL = ("config.json", "tokenizer.json")


def wanted(*names: str, **trust: bool) -> set[str]:
    return set(wanted_files(names, Model(id="org/name", **trust)))


@pytest.mark.parametrize(
    "other",
    [
        "consolidated.safetensors",
        "model.fp16.safetensors",
        "adapter_model.safetensors",
        "original/consolidated.00.pth",
        "original/tokenizer.model",
        "onnx/model.onnx",
        "onnx/config.json",
        "model.gguf",
        "pytorch_model.bin",
        "training_args.bin",
        "tf_model.h5",
        "flax_model.msgpack",
        "README.md",
        ".gitattributes",
        "images/logo.png",
        "modeling_x.py",
    ],
)
def test_other_forms_of_the_same_model_are_left_out(other) -> None:
    """A repository can be four times as large as the model in it."""
    assert wanted(*SMALL, "model.safetensors", other) == {*SMALL, "model.safetensors"}


def test_shards_come_with_their_index() -> None:
    """The index says which tensor is where."""
    index = "model.safetensors.index.json"
    assert wanted(*SMALL, *SHARDS, index) == {*SMALL, *SHARDS, index}


def test_one_file_wins_over_shards() -> None:
    """Transformers reads the one file when both are there."""
    names = (*SMALL, *SHARDS, "model.safetensors", "model.safetensors.index.json")
    assert wanted(*names) == {*SMALL, "model.safetensors"}


def test_sharded_pickles_come_with_theirs() -> None:
    """Only where pickles are allowed and there is nothing else."""
    shards = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    index = "pytorch_model.bin.index.json"
    assert wanted(*SMALL, *shards, index, allow_pickle=True) == {*SMALL, *shards, index}
    assert wanted(*SMALL, *shards, index) == set(SMALL)


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.model",
        "tokenizer.model.v3",
        "spiece.model",
        "vocab.json",
        "merges.txt",
        "vocab.txt",
        "chat_template.jinja",
        "additional_chat_templates/tools.jinja",
        "qwen.tiktoken",
        "special_tokens_map.json",
    ],
)
def test_every_form_of_tokenizer_is_taken(name) -> None:
    """A tokenizer that is missing one file becomes another tokenizer."""
    assert name in wanted(*SMALL, name)


def test_python_is_taken_only_with_trust() -> None:
    """Code that will not be run need not be here."""
    names = (*SMALL, "modeling_x.py", "lib/ops.py")
    assert wanted(*names, trust_remote_code=True) == set(names)


@pytest.mark.parametrize(
    "name",
    [
        "../config.py",
        "/config.py",
        "C:\\config.py",
        "\\config.py",
        "a\\..\\..\\config.py",
        "additional_chat_templates/../../x.jinja",
    ],
)
def test_names_that_lead_out_of_the_folder_are_refused(name: str) -> None:
    """A listing comes from a server; what it names is written below the store."""
    with pytest.raises(CheckpointUnsafe, match="outside of its own folder"):
        wanted(*SMALL, "model.safetensors", name, trust_remote_code=True)
