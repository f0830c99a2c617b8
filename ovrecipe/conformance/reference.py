"""What the converted tokenizer is compared with: the checkpoint's own files.

A `tokenizer.json` is read by the library it was written for, and by nothing in between:
transformers may build another tokenizer from the same file, and a gate that used it would agree
with that mistake.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ovrecipe.errors import GateError
from ovrecipe.json_files import read_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: What turns text into ids and ids into text, apart from added tokens.
KEPT_PARTS = ("normalizer", "pre_tokenizer", "model", "decoder")


@dataclass(frozen=True)
class FileReference:
    """`tokenizer.json`, completed by the settings that stand beside it in the checkpoint."""

    original: Any
    completed: Any

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the ids of a text."""
        return list(self.completed.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Return the text of ids."""
        return str(self.completed.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def rewritten_parts(self) -> Iterator[tuple[str, str, str]]:
        """Yield (part, before, after) for what should have stayed as the checkpoint has it."""
        before, after = json.loads(self.original.to_str()), json.loads(self.completed.to_str())
        for part in KEPT_PARTS:
            if before[part] != after[part]:
                yield part, json.dumps(before[part]), json.dumps(after[part])

    @property
    def added_tokens(self) -> dict[int, str]:
        """The added tokens by id."""
        found = self.completed.get_added_tokens_decoder()
        return {number: token.content for number, token in sorted(found.items())}

    @property
    def vocab_size(self) -> int:
        """The vocabulary with its added tokens."""
        return int(self.completed.get_vocab_size(with_added_tokens=True))


@dataclass(frozen=True)
class TransformersReference:
    """A tokenizer that has no tokenizer.json: transformers reads its vocabulary files."""

    tokenizer: Any

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the ids of a text."""
        return list(self.tokenizer.encode(text, add_special_tokens=add_special_tokens))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Return the text of ids."""
        flags = {"skip_special_tokens": skip_special_tokens, "clean_up_tokenization_spaces": False}
        return str(self.tokenizer.decode(list(ids), **flags))

    def rewritten_parts(self) -> Iterator[tuple[str, str, str]]:
        """Yield nothing: there is no file that could have been rewritten."""
        yield from ()

    @property
    def added_tokens(self) -> dict[int, str]:
        """The added tokens by id."""
        found = self.tokenizer.added_tokens_decoder
        return {number: str(token) for number, token in sorted(found.items())}

    @property
    def vocab_size(self) -> int:
        """The vocabulary with its added tokens."""
        return len(self.tokenizer)


#: A tokenizer that is right by definition.
Reference: TypeAlias = FileReference | TransformersReference


def reference_of(
    checkpoint_dir: Path, tokenizer_dir: Path, *, trust_remote_code: bool
) -> Reference:
    """Return the reference of a checkpoint.

    `tokenizer_dir` has the file with the added tokens and the post-processor that
    tokenizer_config.json asks for; whether all else is as it was, `rewritten_parts` says.
    """
    path, completed = checkpoint_dir / "tokenizer.json", tokenizer_dir / "tokenizer.json"
    if path.is_file():
        original = _read(path)
        return FileReference(original, _read(completed) if completed.is_file() else original)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        checkpoint_dir, trust_remote_code=trust_remote_code, local_files_only=True
    )
    return TransformersReference(tokenizer)


def _read(path: Path) -> Any:
    """Return a file's tokenizer, without what a training script may have left switched on."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenizer_settings(tokenizer_dir: Path) -> dict[str, Any]:
    """Return tokenizer.json as data, or nothing when there is none.

    Raises:
        GateError: it is no JSON object.
    """
    return read_object(tokenizer_dir / "tokenizer.json", shown="tokenizer.json", error=GateError)
