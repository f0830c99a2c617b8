"""Checkpoints' tokenizers as the well-known models have them, trained on the spot."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

TEXT = (
    "A recipe names a model, and a model becomes weights, a tokenizer and a prompt. "
    "Don't count tokens by hand: 1, 2, 3 and 40 are numbers, (x + y) is code.\n"
    "Paris is the capital of France,  Berlin that of Germany, and Rome that of Italy. "
    "Le café est là; das Maß ist voll, über alles. Здравствуй, мир! 你好,世界。\n"
) * 30
SPECIAL = ("<unk>", "<s>", "</s>")
PLAIN: dict[str, Any] = {
    "normalization_rule_name": "identity", "remove_extra_whitespaces": False,
    "byte_fallback": True, "model_type": "bpe", "vocab_size": 420,
}  # fmt: skip


def train(path: Path, **options: Any) -> Path:
    """Train a SentencePiece model; without options it is made as Llama 2's was."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines()),
        model_writer=made,
        minloglevel=2,
        **{**PLAIN, **options},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.getvalue())
    return path


def write_config(folder: Path, size: int, **settings: Any) -> None:
    """Write the tokenizer's settings and the part of config.json that the gate reads."""
    named = dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, **named, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    config = {"model_type": "llama", "vocab_size": size, "bos_token_id": 1, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def model_only(folder: Path, **options: Any) -> Path:
    """Llama 2 as its first uploads had it: a tokenizer.model and no tokenizer.json."""
    path = train(folder / "tokenizer.model", **options)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    write_config(folder, len(pieces))
    return folder


def prepending(folder: Path, around: str = "<s> $A") -> Path:
    """Llama 2 and Mistral 0.2: a space before every piece of text."""
    prefix = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _with_json(folder, normalizer=prefix, around=around)


def metaspace(folder: Path, scheme: str) -> Path:
    """Mistral 0.3 and newer Llama conversions: a space where there is none."""
    cut = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    return _with_json(folder, pre_tokenizer=cut, strip=scheme != "never")


def gemma(folder: Path) -> Path:
    """Gemma: nothing is put before a text, and turns are tokens behind the vocabulary."""
    return _with_json(
        folder,
        normalizer=normalizers.Replace(" ", "▁"),
        strip=False,
        added=("<start_of_turn>", "<end_of_turn>"),
        add_dummy_prefix=False,
    )


def _with_json(
    folder: Path,
    *,
    normalizer: Any = None,
    pre_tokenizer: Any = None,
    strip: bool = True,
    around: str = "<s> $A",
    added: tuple[str, ...] = (),
    **options: Any,
) -> Path:
    path = train(folder / "tokenizer.model", **options)
    tokenizer = _bpe(path)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] * strip)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in (*SPECIAL, *added)])
    ids = [(token, tokenizer.token_to_id(token)) for token in SPECIAL if token in around]
    tokenizer.post_processor = TemplateProcessing(single=around, special_tokens=ids)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_config(folder, tokenizer.get_vocab_size())
    return folder


def _bpe(path: Path) -> Tokenizer:
    """Return the BPE model with merges in the order of SentencePiece's scores."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = {model.id_to_piece(n): n for n in range(len(model))}
    ordered = sorted(pieces, key=lambda text: -model.get_score(pieces[text]))
    merges = [
        (text[:cut], text[cut:])
        for text in ordered
        for cut in range(1, len(text))
        if text[:cut] in pieces and text[cut:] in pieces
    ]
    return Tokenizer(
        models.BPE(pieces, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
