"""Twins of real models: their architecture and kind of tokenizer, two layers, random weights.

Everything is made on the spot, in a second or two, and is the same on every run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: hidden_size and intermediate_size are multiples of every usual group_size up to 64.
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
#: What tokenizers are trained on: words to merge, and a few bytes beyond ASCII.
TRAINING_TEXT = (
    "A recipe names a model, and a model becomes weights, a tokenizer and a prompt. "
    "The weights are large and the tokenizer is small; both must be right. "
    "Don't count tokens by hand: 1, 2, 3 and 40 are numbers, (x + y) is code. "
    "Paris is the capital of France, Berlin that of Germany, and Rome that of Italy. "
    "Le café est là où naît l'été; das Maß ist voll, über alles. Здравствуй, мир! 你好,世界。\n"
) * 20
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPM_SPECIAL = ("<unk>", "<s>", "</s>")

MODELS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    # name: (model_type, tokenizer, what differs from SIZES)
    "llama": ("llama", "spm", {"num_key_value_heads": 2}),
    "mistral": ("mistral", "spm", {"num_key_value_heads": 2, "sliding_window": None}),
    "phi": ("phi", "codegen", {"partial_rotary_factor": 0.5}),
    "gpt_neox": ("gpt_neox", "neox", {"rotary_pct": 0.25}),
    "qwen2": ("qwen2", "qwen", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
}
ARCHITECTURES = tuple(MODELS)
#: What is exported in the toolchain tf-4.57, and so is made there too: a checkpoint as people have.
OLDER: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "gemma": ("gemma", "gemma", {"num_key_value_heads": 1, "head_dim": 16}),
    "gemma2": ("gemma2", "gemma", {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 64}),
    "gemma3_text": (
        "gemma3_text",
        "gemma",
        {"num_key_value_heads": 1, "head_dim": 16, "sliding_window": 64, "num_hidden_layers": 6},
    ),
    "llama4_text": (
        "llama4_text",
        "gemma",
        {
            "num_key_value_heads": 2,
            "head_dim": 16,
            "num_hidden_layers": 4,
            "intermediate_size_mlp": 128,
            "num_local_experts": 4,
            "attention_chunk_size": 128,
            "pad_token_id": 0,
        },
    ),
}
#: Whose attention has ALiBi's biases, which GenAI's paged attention leaves out.
ALIBI = ("mpt", "neox", {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 512})


def make_checkpoint(
    checkpoint_dir: Path, architecture: str, *, dtype: str = "float16", **config: Any
) -> Path:
    """Write a whole checkpoint of an architecture and return its directory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    model_type, tokenizer, differences = {**MODELS, **OLDER, "mpt": ALIBI}[architecture]
    checkpoint_dir.mkdir(parents=True, exist_ok=True)
    ids = make_tokenizer(checkpoint_dir, tokenizer)
    torch.manual_seed(20)
    settings = AutoConfig.for_model(model_type, **{**SIZES, **differences, **ids, **config})
    model = AutoModelForCausalLM.from_config(settings, dtype=getattr(torch, dtype))
    model.generation_config = GenerationConfig(
        bos_token_id=ids["bos_token_id"], eos_token_id=ids["eos_token_id"]
    )
    model.save_pretrained(checkpoint_dir)
    return checkpoint_dir


def make_tokenizer(checkpoint_dir: Path, kind: str) -> dict[str, int]:
    """Write the tokenizer's files; return the vocabulary's size and the special ids."""
    checkpoint_dir.mkdir(parents=True, exist_ok=True)
    tokenizer, settings = TOKENIZERS[kind](checkpoint_dir)
    tokenizer.save(str(checkpoint_dir / "tokenizer.json"))
    settings = {"model_max_length": SIZES["max_position_embeddings"], **settings}
    (checkpoint_dir / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    (checkpoint_dir / "chat_template.jinja").write_text(CHAT_TEMPLATE, "utf-8")
    named = ("bos_token", "eos_token")
    ids = {f"{name}_id": tokenizer.token_to_id(settings[name]) for name in named}
    return {"vocab_size": tokenizer.get_vocab_size(), **ids}


def _byte_level(vocab_size: int, special: list[str], *, nfc: bool, pattern: str | None) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    cut: Any = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is not None:
        words = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        cut = pre_tokenizers.Sequence([words, cut])
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator([TRAINING_TEXT], trainer)
    return tokenizer


def _neox(_: Path) -> tuple[Any, dict[str, Any]]:
    """GPT-NeoX as dolly uses it: NFC, runs of spaces and two markers as added tokens."""
    from tokenizers import AddedToken

    tokenizer = _byte_level(600, ["<|endoftext|>", "<|padding|>"], nfc=True, pattern=None)
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in (4, 3, 2)])
    tokenizer.add_special_tokens(["### End", "### Instruction:", "### Response:"])
    settings = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    return tokenizer, {"tokenizer_class": "GPTNeoXTokenizer", "add_prefix_space": False, **settings}


def _codegen(_: Path) -> tuple[Any, dict[str, Any]]:
    """CodeGen's tokenizer as phi-2 uses it: runs of spaces and of tabs as added tokens."""
    from tokenizers import AddedToken

    tokenizer = _byte_level(600, ["<|endoftext|>"], nfc=False, pattern=None)
    runs = [" " * n for n in range(8, 1, -1)] + ["\t" * n for n in (4, 3, 2)]
    tokenizer.add_tokens([AddedToken(run, normalized=True) for run in runs])
    settings = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    return tokenizer, {"tokenizer_class": "CodeGenTokenizer", "add_prefix_space": False, **settings}


def _qwen(_: Path) -> tuple[Any, dict[str, Any]]:
    from ovrecipe.builtin.gguf_cuts import QWEN2_WORDS

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = _byte_level(600, special, nfc=True, pattern=QWEN2_WORDS)
    return tokenizer, {
        "tokenizer_class": "Qwen2Tokenizer",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }


def trained_sentencepiece(folder: Path) -> Path:
    """Train a SentencePiece BPE model with byte fallback; return its path."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING_TEXT.splitlines()),
        model_writer=model,
        model_type="bpe",
        vocab_size=480,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    path = folder / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


def pieces_of(path: Path) -> list[tuple[str, float]]:
    """Return the pieces of a SentencePiece model with their scores."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [(model.id_to_piece(n), model.get_score(n)) for n in range(len(model))]


def _merges(pieces: list[tuple[str, float]]) -> list[tuple[str, str]]:
    """Return merges in the order of SentencePiece's scores, which is the order of its ids."""
    known = {text for text, _ in pieces}
    return [
        (text[:cut], text[cut:])
        for text, _ in sorted(pieces, key=lambda entry: -entry[1])
        for cut in range(1, len(text))
        if text[:cut] in known and text[cut:] in known
    ]


def _byte_fallback(folder: Path) -> Any:
    from tokenizers import Tokenizer, models

    pieces = pieces_of(trained_sentencepiece(folder))
    vocabulary = {text: number for number, (text, _) in enumerate(pieces)}
    return Tokenizer(
        models.BPE(
            vocabulary, _merges(pieces), unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )


def _spm(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Llama 2's and Mistral's tokenizer: BOS in front, a space before the text."""
    from tokenizers import AddedToken, decoders, normalizers, processors

    tokenizer = _byte_fallback(folder)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPM_SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer, {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": False,
        **dict(zip(("unk_token", "bos_token", "eos_token"), SPM_SPECIAL, strict=True)),
    }


def _gemma(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Gemma's tokenizer: spaces become marks and nothing is put in front but BOS."""
    from tokenizers import AddedToken, decoders, normalizers, processors

    tokenizer = _byte_fallback(folder)
    (folder / "tokenizer.model").unlink()
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    turns = ("<start_of_turn>", "<end_of_turn>")
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in (*SPM_SPECIAL, *turns)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer, {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **dict(zip(("unk_token", "bos_token", "eos_token"), SPM_SPECIAL, strict=True)),
    }


TOKENIZERS: Mapping[str, Callable[[Path], tuple[Any, dict[str, Any]]]] = {
    "neox": _neox,
    "codegen": _codegen,
    "qwen": _qwen,
    "spm": _spm,
    "gemma": _gemma,
}
