"""GGUF files become checkpoints that other readers agree with, or are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.builtin.gguf import GgufSource, write_checkpoint
from ovrecipe.conformance.corpus import PLAIN_TEXTS
from ovrecipe.errors import CheckpointIncomplete, CheckpointNotFound, SourceError
from tests.sources.gguf_writing import byte_level_tokens, sentencepiece_tokens, write_gguf
from tests.sources.requests import request, silent
from tests.twins import trained_sentencepiece


@pytest.fixture(scope="module")
def qwen_tokens(tmp_path_factory) -> dict[str, Any]:
    return byte_level_tokens(tmp_path_factory.mktemp("qwen"), pre="qwen2", kind="qwen")


@pytest.fixture(scope="module")
def sentencepiece_path(tmp_path_factory) -> Path:
    return trained_sentencepiece(tmp_path_factory.mktemp("spm"))


def converted(gguf_path: Path) -> Path:
    """Convert a file beside itself and return the checkpoint's directory."""
    checkpoint_dir = gguf_path.parent / "checkpoint"
    checkpoint_dir.mkdir()
    write_checkpoint(gguf_path, checkpoint_dir, silent)
    return checkpoint_dir


def tensors_of(checkpoint_dir: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(checkpoint_dir / "model.safetensors")


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("matrices", ["F16", "Q4_1"])
@pytest.mark.filterwarnings("ignore")  # transformers' GGUF loader warns about its own types
def test_weights_are_those_that_transformers_reads(
    tmp_path, qwen_tokens, architecture, matrices
) -> None:
    """A second reader, written by others, finds the same weights under the same names."""
    import torch
    from transformers import AutoModelForCausalLM

    path = write_gguf(tmp_path / "m.gguf", architecture, qwen_tokens, matrices=matrices)
    ours = AutoModelForCausalLM.from_pretrained(converted(path))
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="m.gguf", dtype=torch.float32
    ).state_dict()
    assert ours.config.rope_parameters["rope_theta"] == 50000.0
    assert theirs.keys() == ours.state_dict().keys()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(theirs[name].to(tensor.dtype), tensor), name


@pytest.mark.parametrize(
    ("matrices", "dtype"),
    [("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16"), ("Q8_0", "float16")],
)
def test_the_checkpoint_keeps_what_the_file_can_say(tmp_path, qwen_tokens, matrices, dtype) -> None:
    """The base IR keeps the checkpoint's dtype, so it is chosen to lose nothing of substance."""
    path = write_gguf(tmp_path / "m.gguf", "llama", qwen_tokens, matrices=matrices)
    assert json.loads((converted(path) / "config.json").read_text())["dtype"] == dtype


def test_bfloat16_weights_are_exact(tmp_path, qwen_tokens) -> None:
    """bfloat16 is copied bit by bit, because float16 could not hold its range."""
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import load_file

    path = write_gguf(tmp_path / "m.gguf", "qwen2", qwen_tokens, matrices="BF16")
    found = load_file(converted(path) / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    [raw] = [tensor for tensor in GGUFReader(path).tensors if tensor.name == "blk.0.ffn_up.weight"]
    expected = torch.from_numpy(dequantize(raw.data, raw.tensor_type).copy())
    assert torch.equal(found.float(), expected)


def test_norms_beside_bfloat16_are_rounded_not_cut(tmp_path, qwen_tokens) -> None:
    """llama.cpp stores them as float32; cut off they would all be too small."""
    import torch
    from gguf import GGUFReader
    from safetensors.torch import load_file

    path = write_gguf(tmp_path / "m.gguf", "qwen2", qwen_tokens, matrices="BF16")
    [norm] = [tensor for tensor in GGUFReader(path).tensors if tensor.name == "output_norm.weight"]
    assert norm.tensor_type.name == "F32"
    found = load_file(converted(path) / "model.safetensors")["model.norm.weight"]
    assert torch.equal(found, torch.from_numpy(norm.data.copy()).to(torch.bfloat16))


def test_values_beyond_float16_make_it_float32(tmp_path, qwen_tokens) -> None:
    """An overflow would become infinity without a word."""
    path = write_gguf(tmp_path / "m.gguf", "llama", qwen_tokens, matrices="Q8_0", scale=60_000.0)
    checkpoint_dir = converted(path)
    assert json.loads((checkpoint_dir / "config.json").read_text())["dtype"] == "float32"
    assert all(np.isfinite(values).all() for values in tensors_of(checkpoint_dir).values())


def test_sentencepiece_tokens_are_those_of_sentencepiece(tmp_path, sentencepiece_path) -> None:
    """Merges are rebuilt from scores; SentencePiece itself says whether rightly."""
    import sentencepiece
    from tokenizers import Tokenizer

    tokens = sentencepiece_tokens(sentencepiece_path)
    checkpoint_dir = converted(write_gguf(tmp_path / "m.gguf", "llama", tokens))
    ours = Tokenizer.from_file(str(checkpoint_dir / "tokenizer.json"))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_path))
    for text in filter(None, PLAIN_TEXTS):
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text), text
    assert ours.encode("a").ids[0] == theirs.bos_id()


@pytest.mark.parametrize("add_bos", [True, False])
def test_begins_texts_as_the_file_says(tmp_path, qwen_tokens, add_bos) -> None:
    """A BOS too many or too few changes every answer."""
    from tokenizers import Tokenizer

    tokens = {**qwen_tokens, "tokenizer.ggml.add_bos_token": add_bos}
    checkpoint_dir = converted(write_gguf(tmp_path / "m.gguf", "qwen2", tokens))
    ids = Tokenizer.from_file(str(checkpoint_dir / "tokenizer.json")).encode("a").ids
    assert (ids[0] == qwen_tokens["tokenizer.ggml.bos_token_id"]) is add_bos


def test_the_end_of_a_turn_ends_generation(tmp_path, qwen_tokens) -> None:
    """Chat models end their answers with another token than their texts."""
    tokens = {**qwen_tokens, "tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.eot_token_id": 2}
    checkpoint_dir = converted(write_gguf(tmp_path / "m.gguf", "qwen2", tokens))
    found = json.loads((checkpoint_dir / "generation_config.json").read_text())
    assert found["eos_token_id"] == [0, 2]


def test_a_turn_that_the_file_does_not_end_ends_by_its_text(tmp_path, qwen_tokens) -> None:
    """Phi-3's files say <|endoftext|>, and their models end a turn with another token."""
    tokens = {**qwen_tokens, "tokenizer.ggml.eos_token_id": 0}
    checkpoint_dir = converted(write_gguf(tmp_path / "m.gguf", "qwen2", tokens))
    found = json.loads((checkpoint_dir / "generation_config.json").read_text())
    assert found["eos_token_id"] == [0, tokens["tokenizer.ggml.tokens"].index("<|im_end|>")]


def test_the_chat_template_is_kept(tmp_path, qwen_tokens) -> None:
    """Byte by byte: line ends in a template are tokens."""
    template = "{% for m in messages %}\r\n{{ m.content }}\n{% endfor %}"
    tokens = {**qwen_tokens, "tokenizer.chat_template": template}
    checkpoint_dir = converted(write_gguf(tmp_path / "m.gguf", "qwen2", tokens))
    assert (checkpoint_dir / "chat_template.jinja").read_bytes() == template.encode()


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("gemma9", {}, r"cannot map the GGUF architecture 'gemma9', only bloom, "),
        ("t5", {}, r"no class that continues texts for 't5'\n  take a decoder-only model"),
        ("deci", {}, r"no class that continues texts for 'deci'"),
        ("llama", {"llama__expert_count": 8}, r"llama.expert_count is 8, and LlamaForCausalLM has"),
        ("llama", {"llama__attn_logit_softcapping": 5.0}, r"has no place for it"),
        ("llama", {"llama__attention__value_length": 8}, r"keys and its values differ in width"),
        (
            "llama",
            {"llama__context_length": None},
            r"the GGUF metadata has no llama.context_length",
        ),
        ("llama", {"llama__rope__scaling__type": "yarn"}, r"positions are scaled \(yarn\)"),
        (
            "qwen2",
            {"qwen2__rope__scaling__yarn_log_multiplier": 0.1},
            r"scaled by rope.scaling.yarn_l",
        ),
        ("qwen2", {"qwen2__rope__dimension_count": 8}, r"it turns 8 of the 16 numbers of a head"),
        ("llama", {"tokenizer__ggml__model": "rwkv"}, r"ggml.model is 'rwkv', which is none of"),
        (
            "llama",
            {"tokenizer__ggml__pre": "novel"},
            r"ggml.pre is 'novel', which is none of a.x-4.0, bailing",
        ),
        (
            "llama",
            {"tokenizer__ggml__bos_token_id": 9999},
            r"bos_token_id is 9999, and its vocabulary",
        ),
        (
            "llama",
            {"tokenizer__ggml__add_sep_token": True},
            r"wants a sep token around texts, and n",
        ),
        ("llama", {"tokenizer__ggml__token_type": [1]}, r"token_type has 1 values for \d+ tokens"),
    ],
)
def test_what_would_be_guessed_is_refused(
    tmp_path, qwen_tokens, architecture, changes, message
) -> None:
    """A model that is nearly right is worse than none."""
    path = write_gguf(tmp_path / "m.gguf", architecture, qwen_tokens, **changes)
    with pytest.raises(CheckpointIncomplete, match=message):
        converted(path)
    assert not (tmp_path / "checkpoint" / "model.safetensors").exists()


def test_a_missing_file_is_not_found(tmp_path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"no.gguf: there is no such GGUF file"):
        GgufSource().pin(request(tmp_path, "./no.gguf"))


def test_another_kind_of_file_is_refused(tmp_path) -> None:
    """A name proves nothing."""
    (tmp_path / "m.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointIncomplete, match=r"m.gguf: is not a GGUF file"):
        GgufSource().pin(request(tmp_path, "./m.gguf"))


def test_a_file_of_a_newer_version_is_refused(tmp_path, qwen_tokens) -> None:
    """What its fields mean is not known yet."""
    changed(write_gguf(tmp_path / "m.gguf", "llama", qwen_tokens), at=4, to="<I", value=4)
    with pytest.raises(CheckpointIncomplete, match=r"GGUF of version 4; 2 and 3 can be read"):
        GgufSource().pin(request(tmp_path, "./m.gguf"))


def test_a_file_in_the_other_byte_order_is_refused(tmp_path, qwen_tokens) -> None:
    """Its quantized blocks would be read backwards."""
    path = write_gguf(tmp_path / "m.gguf", "llama", qwen_tokens)
    changed(path, at=4, to=">I", value=3)
    with pytest.raises(CheckpointIncomplete, match=r"in big-endian byte order"):
        GgufSource().pin(request(tmp_path, "./m.gguf"))


@pytest.mark.parametrize("at", [8, 16])
def test_ten_million_entries_are_refused_unread(tmp_path, qwen_tokens, at) -> None:
    """Reading them would take hours and all memory; no model has them."""
    path = write_gguf(tmp_path / "m.gguf", "llama", qwen_tokens)
    changed(path, at=at, to="<Q", value=10_000_000)
    with pytest.raises(CheckpointIncomplete, match=r"promises .*10000000.*, which no model has"):
        GgufSource().pin(request(tmp_path, "./m.gguf"))


def test_a_list_of_ten_million_items_is_refused_unread(tmp_path, qwen_tokens) -> None:
    """One entry can promise as much as many."""
    path = write_gguf(tmp_path / "m.gguf", "llama", qwen_tokens)
    key = b"tokenizer.ggml.token_type"
    start = path.read_bytes().index(key) + len(key)
    changed(path, at=start + 8, to="<Q", value=10_000_000)
    with pytest.raises(CheckpointIncomplete, match=r"a list of 10000000 items, which no vocab"):
        converted(path)


def changed(path: Path, *, at: int, to: str, value: int) -> Path:
    """Write a number into the middle of a file."""
    import struct

    content = bytearray(path.read_bytes())
    struct.pack_into(to, content, at, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kept", [6, 40, 400, 30_000])
def test_a_truncated_file_is_refused(tmp_path, qwen_tokens, kept) -> None:
    """Wherever the download stopped."""
    path = write_gguf(tmp_path / "m.gguf", "llama", qwen_tokens)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointIncomplete, match=r"m.gguf: the GGUF file is truncated"):
        converted(path)


def test_the_pin_is_the_files_digest(tmp_path, qwen_tokens) -> None:
    """Moving a file rebuilds nothing; another file under its name rebuilds everything."""
    write_gguf(tmp_path / "a.gguf", "llama", qwen_tokens)
    pin = GgufSource().pin(request(tmp_path, "./a.gguf"))
    (tmp_path / "a.gguf").rename(tmp_path / "b.gguf")
    assert GgufSource().pin(request(tmp_path, "./b.gguf")) == pin
    write_gguf(tmp_path / "b.gguf", "llama", qwen_tokens, scale=0.06)
    assert GgufSource().pin(request(tmp_path, "./b.gguf")) != pin


def test_a_file_that_changed_after_the_pin_is_refused(tmp_path, qwen_tokens) -> None:
    """The artifact would carry the key of the file before."""
    write_gguf(tmp_path / "a.gguf", "llama", qwen_tokens)
    asked = request(tmp_path, "./a.gguf")
    pin = GgufSource().pin(asked)
    write_gguf(tmp_path / "a.gguf", "llama", qwen_tokens, scale=0.06)
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(SourceError, match=r"a.gguf: changed while it was read\n  build again"):
        GgufSource().fetch(asked, pin, tmp_path / "checkpoint")
