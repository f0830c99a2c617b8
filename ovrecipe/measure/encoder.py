"""The tokenizer of a built directory: prompts and a file's texts as tokens, answers as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.calibration import each_text
from ovrecipe.errors import StageError
from ovrecipe.json_files import GENERATION_CONFIG, read_object
from ovrecipe.measure.texts import ANSWERS, INSTRUCTIONS, LONGEST_ANSWER, Given, Written
from ovrecipe.run.prompt import read_settings, rendered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A file's texts are cut into pieces of so many tokens, each read on its own.
WINDOW = 512
#: A text is cut to so many characters for each token that is wanted, before it is tokenized.
CHARACTERS = 16


class Encoder:
    """The tokenizer of a built directory."""

    def __init__(self, model_dir: Path) -> None:
        from openvino_genai import Tokenizer

        self._model_dir = model_dir
        self._tokenizer: Any = Tokenizer(model_dir)
        self._special = read_settings(model_dir).add_special_tokens
        listed = read_object(model_dir / GENERATION_CONFIG).get("eos_token_id")
        ids = listed if isinstance(listed, list) else [listed]
        own = int(self._tokenizer.get_eos_token_id())
        #: The tokens that end an answer.
        self.end = frozenset({own, *(token for token in ids if isinstance(token, int))})
        first = int(self._tokenizer.get_bos_token_id())
        #: The token that stands before a text of which nothing precedes.
        self.begin = first if first >= 0 else own

    def prompt(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a rendered prompt."""
        return tuple(self._ids(text, add_special_tokens=self._special))

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text without special tokens in front of it or behind it."""
        return self._ids(text, add_special_tokens=False)

    def written(self, *, tokens: int) -> Written:
        """Return what the source answers to the instructions, about `tokens` in all."""
        prompts = tuple(self.prompt(rendered(self._model_dir, text)) for text in INSTRUCTIONS)
        new_tokens = min(LONGEST_ANSWER, tokens // (ANSWERS * len(prompts)))
        return Written(prompts, new_tokens, self.end)

    def given(self, path: Path, *, tokens: int) -> Given:
        """Return the first texts of a `.jsonl` or `.txt` file, with at most `tokens` to predict.

        Raises:
            StageError: the file cannot be used, or has no text of two tokens.
        """
        begin = int(self._tokenizer.get_bos_token_id())
        texts = (self._ids(text[: CHARACTERS * tokens]) for text in each_text(path))
        cut = (piece for ids in texts for piece in pieces_of(ids, begin))
        if not (pieces := tuple(up_to(tokens, cut))):
            raise StageError(f"data set {path.name} has no text of two tokens or more")
        return Given(pieces)

    def decoded(self, tokens: list[int]) -> str:
        """Return the text of an answer."""
        return str(self._tokenizer.decode(tokens))

    def _ids(self, text: str, **how: bool) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, **how).input_ids.data[0].tolist()
        return ids


def pieces_of(ids: list[int], begin: int) -> Iterator[list[int]]:
    """Yield a text in pieces; the token `begin` that is in front of it is in front of each."""
    first = [token for token in ids[:1] if token == begin]
    body = ids[len(first) :]
    size = WINDOW - len(first)
    yield from ([*first, *body[start : start + size]] for start in range(0, len(body), size))


def up_to(tokens: int, pieces: Iterable[list[int]]) -> Iterator[NDArray[np.int64]]:
    """Yield pieces until they have so many tokens to predict; the last one is cut."""
    import numpy as np

    for piece in pieces:
        kept = list(islice(piece, tokens + 1))
        if len(kept) > 1:
            yield np.asarray(kept, np.int64)
            tokens -= len(kept) - 1
        if tokens <= 0:
            return
