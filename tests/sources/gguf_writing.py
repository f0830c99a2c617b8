"""Writing small GGUF files, as llama.cpp's converters write large ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEADS, KV_HEADS, INNER, LAYERS = 64, 4, 2, 96, 2


def write_gguf(
    path: Path,
    architecture: str,
    tokenizer: Mapping[str, Any],
    *,
    matrices: str = "F32",
    scale: float = 0.05,
    **metadata: Any,
) -> Path:
    """Write a file with random weights; `tokenizer` and `metadata` are GGUF keys.

    Metadata keys are written with `__` for a dot and win over what is written by default.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, architecture)
    extra = {name.replace("__", "."): value for name, value in metadata.items()}
    for key, value in {**_facts(architecture), **tokenizer, **extra}.items():
        add_metadata(writer, key, value)
    random = np.random.default_rng(20)
    for name, shape in _shapes(architecture, len(tokenizer["tokenizer.ggml.tokens"])).items():
        values = random.normal(0, scale, shape).astype(np.float32)
        kind = GGMLQuantizationType[matrices if len(shape) > 1 else "F32"]
        add_tensor(writer, name, values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_vocabulary(path: Path, tokenizer: Mapping[str, Any]) -> Path:
    """Write a file that has a vocabulary and no weights."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    for key, value in {**_facts("llama"), **tokenizer}.items():
        add_metadata(writer, key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_metadata(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif value is not None:
        writer.add_array(key, value)


def add_tensor(writer: Any, name: str, values: np.ndarray, kind: Any) -> None:
    from gguf import quantize

    if kind.name == "F32":
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)


def head_dim(architecture: str) -> int:
    """Return the width of a head; transformers' GGUF loader knows only Qwen3's default."""
    return 128 if architecture == "qwen3" else WIDTH // HEADS


def _facts(architecture: str) -> dict[str, Any]:
    facts = {
        "block_count": LAYERS,
        "context_length": 512,
        "embedding_length": WIDTH,
        "feed_forward_length": INNER,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 50000.0,
        "rope.dimension_count": head_dim(architecture),
        "attention.key_length": head_dim(architecture),
    }
    return {f"{architecture}.{name}": value for name, value in facts.items()}


def _shapes(architecture: str, vocab_size: int) -> dict[str, tuple[int, ...]]:
    q, kv = head_dim(architecture) * HEADS, head_dim(architecture) * KV_HEADS
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (WIDTH,),
        "attn_q.weight": (q, WIDTH),
        "attn_k.weight": (kv, WIDTH),
        "attn_v.weight": (kv, WIDTH),
        "attn_output.weight": (WIDTH, q),
        "ffn_norm.weight": (WIDTH,),
        "ffn_gate.weight": (INNER, WIDTH),
        "ffn_up.weight": (INNER, WIDTH),
        "ffn_down.weight": (WIDTH, INNER),
    }
    if architecture == "qwen2":
        layer |= {"attn_q.bias": (q,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
    if architecture == "qwen3":
        layer |= {f"attn_{letter}_norm.weight": (head_dim(architecture),) for letter in "qk"}
    names = {"token_embd.weight": (vocab_size, WIDTH), "output_norm.weight": (WIDTH,)}
    blocks = {f"blk.{n}.{name}": shape for n in range(LAYERS) for name, shape in layer.items()}
    untied = {} if architecture == "qwen3" else {"output.weight": (vocab_size, WIDTH)}
    return {**names, **blocks, **untied}


def byte_level_tokens(
    folder: Path, *, pre: str, kind: str = "qwen", texts: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the GGUF form of a twin's byte-level tokenizer.

    With texts, its merges are trained on them uncut, so that they cross words and lines.
    """
    import json

    from tests.twins import make_tokenizer

    ids = make_tokenizer(folder, kind)
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    if texts:
        content["model"] = _trained_uncut(texts, content["added_tokens"])
    vocabulary = {**content["model"]["vocab"]}
    added = {token["content"]: token["id"] for token in content["added_tokens"] if token["special"]}
    ordered = sorted({**vocabulary, **added}.items(), key=lambda entry: entry[1])
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [text for text, _ in ordered],
        "tokenizer.ggml.token_type": [3 if text in added else 1 for text, _ in ordered],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in content["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": ids["bos_token_id"],
        "tokenizer.ggml.eos_token_id": ids["eos_token_id"],
    }


def _trained_uncut(texts: Sequence[str], added: list[dict[str, Any]]) -> Any:
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = BpeTrainer(
        vocab_size=6000,
        min_frequency=2,
        max_token_length=24,
        special_tokens=[token["content"] for token in added],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *texts], trainer)
    return json.loads(tokenizer.to_str())["model"]


def sentencepiece_tokens(model_path: Path) -> dict[str, Any]:
    """Return the GGUF form of a SentencePiece model."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(model_path))
    numbers = range(len(model))
    kinds = [2 if model.is_unknown(n) else 3 if model.is_control(n) else 1 for n in numbers]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [model.id_to_piece(n) for n in numbers],
        "tokenizer.ggml.scores": [float(model.get_score(n)) for n in numbers],
        "tokenizer.ggml.token_type": [6 if model.is_byte(n) else kinds[n] for n in numbers],
        "tokenizer.ggml.bos_token_id": model.bos_id() if model.bos_id() >= 0 else None,
        "tokenizer.ggml.eos_token_id": model.eos_id(),
        "tokenizer.ggml.unknown_token_id": model.unk_id(),
    }
