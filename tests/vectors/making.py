"""Tiny checkpoints that only read: a BERT, a cross-encoder and a Qwen3, as on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.twins import SIZES, TRAINING_TEXT, make_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: Few enough that texts are cut.
POSITIONS = 64
PREFIX = "sentence_transformers.models."


def make_wordpiece(folder: Path) -> int:
    """Write BERT's kind of tokenizer; return the vocabulary's size."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = WordPieceTrainer(vocab_size=600, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([TRAINING_TEXT], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": POSITIONS}
    write(folder, "tokenizer_config.json", settings | dict(zip(names, SPECIAL, strict=True)))
    return int(tokenizer.get_vocab_size())


def make_bert(folder: Path, *, labels: int | None = None, spread: float = 0.2) -> Path:
    """Write a BERT; with labels one that scores pairs. `spread` is that of its random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    settings = {**SIZES, "max_position_embeddings": POSITIONS, "initializer_range": spread}
    config = BertConfig(vocab_size=make_wordpiece(folder), num_labels=labels or 2, **settings)
    torch.manual_seed(20)
    kind = BertForSequenceClassification if labels else BertModel
    kind(config).save_pretrained(folder)
    return folder


def make_qwen3(folder: Path) -> Path:
    """Write a Qwen3 as its embedding models are: an end token behind each text, in bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModel

    ids = make_tokenizer(folder, "qwen")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    end = {"id": "<|endoftext|>", "type_id": 0}
    first = {"Sequence": {"id": "A", "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, {"SpecialToken": end}],
        "pair": [first, {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": end}],
        "special_tokens": {
            end["id"]: {"id": end["id"], "ids": [ids["bos_token_id"]], "tokens": [end["id"]]}
        },
    }
    path.write_text(json.dumps(tokenizer), "utf-8")
    settings = {**SIZES, **ids, "num_key_value_heads": 2, "head_dim": 16, "initializer_range": 0.2}
    torch.manual_seed(20)
    config = AutoConfig.for_model("qwen3", **settings)
    AutoModel.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def write_sentence_files(
    folder: Path,
    pooling: str = "pooling_mode_mean_tokens",
    *,
    steps: tuple[str, ...] = ("Transformer", "Pooling", "Normalize"),
    **more: dict[str, Any],
) -> None:
    """Write what sentence-transformers keeps beside a model; `more` are files by their name."""
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": n, "name": str(n), "path": paths.get(kind, f"{n}_{kind}"), "type": PREFIX + kind}
        for n, kind in enumerate(steps)
    ]
    write(folder, "modules.json", modules)
    write(folder, "1_Pooling/config.json", {"word_embedding_dimension": 64, pooling: True})
    for name, content in more.items():
        write(folder, f"{name}.json", content)


def write(folder: Path, name: str, content: Any) -> None:
    """Write a JSON file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
