"""What the converted tokenizer is compared with: the checkpoint's own files.

A `tokenizer.json` is read by the library it was written for, and by nothing in between:
transformers may build another tokenizer from the same file, and a gate that used it would agree
with that mistake.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

#: What turns text into ids and ids into text, apart from added tokens.
KEPT_PARTS = ("normalizer", "pre_tokenizer", "model", "decoder")


@dataclass(frozen=True)
class Reference:
    """A tokenizer that is right by definition.

    `encode(text, add_special_tokens=)` returns ids, `decode(ids, skip_special_tokens=)` text;
    `added_tokens` are by id, and part of the `vocab_size`. `rewritten` has (part, before, after)
    for what the converter should have left as the checkpoint has it.
    """

    encode: Callable[..., list[int]]
    decode: Callable[..., str]
    added_tokens: dict[int, str]
    vocab_size: int
    rewritten: list[tuple[str, str, str]] = field(default_factory=list)


def reference_of(
    checkpoint_dir: Path, tokenizer_dir: Path, *, trust_remote_code: bool
) -> Reference:
    """Return the reference of a checkpoint; `tokenizer_dir` has what the converter wrote.

    A checkpoint without a `tokenizer.json` is read by transformers from its vocabulary files.
    """
    path = checkpoint_dir / "tokenizer.json"
    if path.is_file():
        return _of_file(path, tokenizer_dir / "tokenizer.json")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        checkpoint_dir, trust_remote_code=trust_remote_code, local_files_only=True
    )
    added = sorted(tokenizer.added_tokens_decoder.items())
    return Reference(
        encode=tokenizer.encode,
        decode=partial(tokenizer.decode, clean_up_tokenization_spaces=False),
        added_tokens={number: str(token) for number, token in added},
        vocab_size=len(tokenizer),
    )


def _of_file(path: Path, completed_path: Path) -> Reference:
    """Return the reference of a `tokenizer.json`.

    The converter's copy has the added tokens and the post-processor that tokenizer_config.json
    asks for; whether all else is as it was, `rewritten` says.
    """
    original = _read(path)
    completed = _read(completed_path) if completed_path.is_file() else original
    before, after = json.loads(original.to_str()), json.loads(completed.to_str())
    added = sorted(completed.get_added_tokens_decoder().items())
    return Reference(
        encode=lambda *texts, **flags: completed.encode(*texts, **flags).ids,
        decode=completed.decode,
        added_tokens={number: token.content for number, token in added},
        vocab_size=completed.get_vocab_size(with_added_tokens=True),
        rewritten=[
            (part, json.dumps(before[part]), json.dumps(after[part]))
            for part in KEPT_PARTS
            if before[part] != after[part]
        ],
    )


def _read(path: Path) -> Any:
    """Return a file's tokenizer, without what a training script may have left switched on."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
