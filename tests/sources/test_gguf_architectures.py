"""Each architecture that transformers maps comes back from GGUF with weights and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.builtin.gguf import GgufSource, write_checkpoint
from ovrecipe.builtin.gguf_file import GgufFile, parts_of
from ovrecipe.errors import CheckpointIncomplete, CheckpointNotFound
from tests.sources.gguf_models import MODELS, make_model, tensors_of, write_model
from tests.sources.gguf_writing import byte_level_tokens
from tests.sources.requests import request, silent

#: More tokens than Gemma's and Phi-3's sliding windows.
PROMPT = [(7 * n) % 500 + 3 for n in range(48)]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> dict[str, Any]:
    found = byte_level_tokens(tmp_path_factory.mktemp("qwen"), pre="qwen2", kind="qwen")
    return {**found, "tokenizer.ggml.padding_token_id": 0, "tokenizer.ggml.add_bos_token": False}


def size(tokens: dict[str, Any]) -> int:
    return len(tokens["tokenizer.ggml.tokens"])


def converted(gguf_path: Path) -> Path:
    checkpoint_dir = gguf_path.parent / f"{gguf_path.name}-checkpoint"
    checkpoint_dir.mkdir()
    write_checkpoint(gguf_path, checkpoint_dir, silent)
    return checkpoint_dir


def opened(gguf_path: Path) -> Any:
    """Return transformers' model of a converted file."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(converted(gguf_path), dtype=torch.float32).eval()


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.tensor([PROMPT])).logits[0]


@pytest.mark.parametrize("architecture", MODELS)
def test_weights_and_answers_are_those_of_the_checkpoint(tmp_path, tokens, architecture) -> None:
    """The weights alone do not show a lost soft cap, a partial rotation or a scaled position."""
    import torch

    original = make_model(architecture, size(tokens))
    ours = opened(write_model(tmp_path / "m.gguf", architecture, original, tokens))
    expected, found = original.state_dict(), ours.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        # Gemma's norms went through a float32 sum, Mamba's through an exponential.
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
    torch.testing.assert_close(logits(ours), logits(original), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", MODELS)
def test_llama_cpp_reads_the_same_answers(tmp_path, tokens, architecture) -> None:
    """The files of these tests are what llama.cpp means by them."""
    llama_cpp = pytest.importorskip("llama_cpp")
    window = {"sliding_window": 512} if architecture == "phi3" else {}  # llama.cpp has none for it
    original = make_model(architecture, size(tokens), **window)
    path = write_model(tmp_path / "m.gguf", architecture, original, tokens)
    reader = llama_cpp.Llama(
        str(path), n_ctx=64, n_batch=64, n_threads=1, logits_all=True, verbose=False
    )
    reader.eval(PROMPT)
    theirs = np.array(reader.scores[: len(PROMPT)])
    reader.close()
    np.testing.assert_allclose(theirs, logits(original).numpy(), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("scaling", "facts"),
    [
        (
            {"rope_type": "linear", "factor": 4.0},
            {"rope__scaling__type": "linear", "rope__scaling__factor": 4.0},
        ),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
            {
                "rope__scaling__type": "yarn",
                "rope__scaling__factor": 4.0,
                "rope__scaling__original_context_length": 16,
            },
        ),
    ],
)
def test_scaled_positions_are_scaled(tmp_path, tokens, scaling, facts) -> None:
    """Lost, they change every answer beyond the length of training, and nothing says so."""
    import torch

    original = make_model("qwen2", size(tokens), rope_scaling=dict(scaling))
    path = write_model(tmp_path / "m.gguf", "qwen2", original, tokens, **facts)
    torch.testing.assert_close(logits(opened(path)), logits(original), rtol=1e-5, atol=1e-5)


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize("stretched", [1.0, 1.01])
def test_llama3_scaling_is_recognized_by_its_factors(tmp_path, tokens, stretched) -> None:
    """A file has the factors and not the rule; other factors are none that a checkpoint knows."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    original = make_model("llama", size(tokens), rope_scaling=LLAMA3, rope_theta=500_000.0)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](original.config, "cpu")
    plain = 1.0 / 500_000.0 ** (torch.arange(0, 16, 2) / 16)
    factors = (plain / scaled).numpy() * np.array([1.0] * 7 + [stretched], np.float32)
    path = write_model(
        tmp_path / "m.gguf", "llama", original, tokens,
        rope__freq_base=500_000.0, more={"rope_freqs.weight": factors.astype(np.float32)},
    )  # fmt: skip
    if stretched != 1.0:
        with pytest.raises(CheckpointIncomplete, match=r"other factors than those of Llama 3.1"):
            converted(path)
        return
    torch.testing.assert_close(logits(opened(path)), logits(original), rtol=1e-4, atol=1e-4)


def test_phi3s_factors_for_long_and_short_texts_are_kept(tmp_path, tokens) -> None:
    """They are tensors in a GGUF file and settings in a checkpoint."""
    import torch

    short, long = [1.0 + n / 16 for n in range(8)], [2.0 + n / 4 for n in range(8)]
    scaling = {"rope_type": "longrope", "short_factor": short, "long_factor": long}
    limits = {"original_max_position_embeddings": 32, "max_position_embeddings": 512}
    original = make_model("phi3", size(tokens), rope_scaling=scaling, **limits)
    factors = {"long": long, "short": short}
    more = {f"rope_factors_{k}.weight": np.array(v, np.float32) for k, v in factors.items()}
    said = {"rope__scaling__original_context_length": 32}
    path = write_model(tmp_path / "m.gguf", "phi3", original, tokens, **said, more=more)
    torch.testing.assert_close(logits(opened(path)), logits(original), rtol=1e-4, atol=1e-4)


def test_a_tensor_missing_a_tensor_too_many_and_another_shape(tmp_path, tokens) -> None:
    """What loads a checkpoint would fill the gap with random numbers and only warn."""
    original = make_model("qwen2", size(tokens))
    cases = {
        r"1 tensors are missing, blk.1.ffn_up.weight": {"blk.1.ffn_up.weight": None},
        r"tensor 'blk.0.novel.weight' has no place": {"blk.0.novel.weight": np.ones(4, "f4")},
        r"'blk.0.ffn_up.weight' is 4 and should be 96 x 64": {
            "blk.0.ffn_up.weight": np.ones(4, "f4")
        },
        r"the tensor token_embd.weight is missing": {"token_embd.weight": None},
    }
    for number, (message, more) in enumerate(cases.items()):
        path = write_model(tmp_path / f"{number}.gguf", "qwen2", original, tokens, more=more)
        with pytest.raises(CheckpointIncomplete, match=message):
            converted(path)
        assert not list(tmp_path.glob("*-checkpoint/*"))


def quantized_types() -> list[str]:
    """Return the names of the types that the gguf package dequantizes and that have blocks."""
    from gguf.quants import _type_traits

    return sorted(kind.name for kind in _type_traits)


@pytest.mark.parametrize("kind", quantized_types())
def test_every_type_that_gguf_dequantizes_is_read(tmp_path, tokens, kind) -> None:
    """Blocks of zeros and ones are enough: what they mean is the gguf package's affair."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    original = make_model("qwen2", size(tokens), hidden_size=256, intermediate_size=256)
    path = write_model(
        tmp_path / "m.gguf", "qwen2", original, tokens,
        embedding_length=256, feed_forward_length=256, raw={"blk.0.ffn_up.weight": kind},
    )  # fmt: skip
    block, width = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    file = GgufFile(path)
    file.check_types()
    tensor = file.tensors["blk.0.ffn_up.weight"]
    assert tensor.data.shape == (256, 256 // block * width)
    expected = dequantize(tensor.data, tensor.tensor_type)
    found = opened(path).state_dict()["model.layers.0.mlp.up_proj.weight"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_a_type_that_gguf_cannot_dequantize_is_refused(tmp_path, tokens) -> None:
    original = make_model("qwen2", size(tokens), hidden_size=256, intermediate_size=256)
    path = write_model(
        tmp_path / "m.gguf", "qwen2", original, tokens,
        embedding_length=256, feed_forward_length=256, raw={"blk.0.ffn_up.weight": "Q8_K"},
    )  # fmt: skip
    with pytest.raises(CheckpointIncomplete, match=r"blk.0.ffn_up.weight is Q8_K, which the gguf"):
        converted(path)


@pytest.fixture
def parts(tmp_path, tokens) -> list[Path]:
    """A model in three files."""
    original = make_model("qwen2", size(tokens))
    write_model(tmp_path / "whole.gguf", "qwen2", original, tokens)
    write_model(tmp_path / "m.gguf", "qwen2", original, tokens, tensors_per_part=12)
    return sorted(tmp_path.glob("m-*.gguf"))


def test_a_split_file_is_read_as_one(tmp_path, parts) -> None:
    """The first part has the metadata, the others have tensors."""
    assert [part.name for part in parts] == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    whole, ours = converted(tmp_path / "whole.gguf"), converted(parts[0])
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (ours / name).read_bytes() == (whole / name).read_bytes()


def test_the_pin_of_a_split_file_knows_each_part(tmp_path, parts) -> None:
    """Another second part is another model."""
    asked = request(tmp_path, f"./{parts[0].name}")
    pin = GgufSource().pin(asked)
    assert len(pin["sha256"].split("+")) == 3
    (tmp_path / "fetched").mkdir()
    GgufSource().fetch(asked, pin, tmp_path / "fetched")
    parts[1].write_bytes(parts[1].read_bytes() + b"\0")
    assert GgufSource().pin(asked) != pin


def test_the_first_part_is_asked_for_and_all_must_be_there(parts) -> None:
    with pytest.raises(CheckpointIncomplete, match=r"is a part .*\n  give m-00001-of-00003.gguf"):
        parts_of(parts[1])
    parts[2].unlink()
    with pytest.raises(CheckpointNotFound, match=r"m-00003-of-00003.gguf: there is no such"):
        parts_of(parts[0])


def test_a_renamed_part_is_no_whole(tmp_path, parts) -> None:
    """Its tensors would be missing."""
    parts[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(CheckpointIncomplete, match=r"it is a part of 3, and its name says 1"):
        GgufFile(tmp_path / "renamed.gguf")


def test_a_part_of_another_file_is_refused(tmp_path, parts) -> None:
    """Names alone do not make them belong together."""
    parts[2].write_bytes(parts[1].read_bytes())
    with pytest.raises(CheckpointIncomplete, match=r"promises \d+ tensors and its parts have"):
        GgufFile(parts[0])


def test_the_embeddings_may_have_more_rows_than_there_are_tokens(tmp_path, tokens) -> None:
    """Qwen pads its vocabulary to a round number."""
    rows = size(tokens) + 8
    ours = opened(write_model(tmp_path / "m.gguf", "qwen2", make_model("qwen2", rows), tokens))
    assert ours.config.vocab_size == rows


def test_what_the_helpers_write_is_what_the_model_has(tokens) -> None:
    """A helper that lost tensors would let everything else pass."""
    assert len(tensors_of("qwen2", make_model("qwen2", size(tokens)))) == 27
