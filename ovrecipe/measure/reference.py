"""The source's own answers: the texts it was shown and went on with, and how likely each token was.

Written once for each checkpoint, by the checkpoint's own code where the exporter has it in memory,
and read by every gate and evaluation behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile

from ovrecipe.errors import ArtifactCorrupt, StageError, foreign_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "reference.npz"
#: How many of the likeliest tokens are kept at each place; of all others only their sum.
TOP = 1024
#: What is continued: prose, instructions, code and other scripts, each read to the same length.
PROSE = (
    "The sea covers more than two thirds of the earth. Its water is never still: the moon draws "
    "the tides, the wind raises the waves, and warm currents carry the heat of the tropics to the "
    "north. Sailors learned early to read the colour of the water and the flight of birds, and"
)
QUESTION = (
    "Question: What is the capital of France, which river flows through it, and what would a "
    "visitor with a single day in the city want to see first?\n\nAnswer: The capital of France is "
    "Paris. It lies on the river Seine, and a visitor who has only one day should begin with"
)
CODE = (
    "def is_prime(number):\n    # Whether a number has no divisor but one and itself.\n    if "
    "number < 2:\n        return False\n    divisor = 2\n    while divisor * divisor <= number:\n"
    "        if number % divisor == 0:\n            return False\n        divisor += 1\n    return"
)
RECIPE = (
    "1. Mix 250 g of flour with 5 g of salt. 2. Add two eggs and 120 ml of milk. 3. Let the dough "
    "rest for 30 minutes. Die Zutaten sind einfach; le reste est une affaire de patience. Then "
    "heat the pan (180 °C), and when the butter has melted, pour in a thin layer of the dough and"
)
TEXTS = (PROSE, QUESTION, CODE, RECIPE)
PROMPT_TOKENS, NEW_TOKENS = 40, 8


@dataclass(frozen=True)
class Reference:
    """What a source said of the tokens of some texts.

    `tokens`, (rows, length), are `prompt_tokens` read ones and the source's greedy continuation.
    At each place but the last, (rows, length - 1): `top_ids` and `top`, (..., k), are the likeliest
    next tokens and their natural log-probabilities; `chosen` is that of the token that follows.
    `by` says who computed them.
    """

    tokens: NDArray[np.int64]
    top_ids: NDArray[np.int32]
    top: NDArray[np.float32]
    chosen: NDArray[np.float32]
    prompt_tokens: int
    by: str

    def save(self, folder: Path) -> None:
        """Write `reference.npz` into a folder."""
        import numpy as np

        arrays = {name: getattr(self, name) for name in ("tokens", "top_ids", "top", "chosen")}
        np.savez(folder / FILE, prompt_tokens=self.prompt_tokens, by=self.by, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read `reference.npz` of a folder.

        Raises:
            ArtifactCorrupt: it is damaged.
        """
        with stored_arrays(folder / FILE) as found:
            return cls(
                tokens=found["tokens"],
                prompt_tokens=int(found["prompt_tokens"]),
                top_ids=found["top_ids"],
                top=found["top"],
                chosen=found["chosen"],
                by=str(found["by"]),
            )


@contextmanager
def stored_arrays(path: Path) -> Iterator[Any]:
    """Open the arrays that a stage has written into a file, by name.

    Raises:
        ArtifactCorrupt: it is damaged, or one that is asked for is not in it.
    """
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            yield found
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as exc:
        raise ArtifactCorrupt(
            f"{path}: {exc}", remedy="'ovrecipe verify --remove' removes what is damaged"
        ) from exc


class AnswersTaken:
    """Collects a source's answers (`hooks.roles.Answers`), with one row's logits in memory."""

    new_tokens = NEW_TOKENS

    def __init__(self, checkpoint_dir: Path, *, trust_remote_code: bool) -> None:
        self._read = partial(read_prompts, checkpoint_dir, trust_remote_code=trust_remote_code)
        self._rows: list[tuple[NDArray[Any], ...]] = []

    @cached_property
    def prompts(self) -> list[list[int]]:
        """The texts as ids, of one length; the tokenizer is read for who asks."""
        return self._read()

    def take(self, tokens: Any, logits: Any) -> None:
        """Keep a row: `tokens`, (length,), and `logits`, (length - 1, vocabulary), of what follows.

        Raises:
            StageError: a logit is not finite, or the shapes are others.
        """
        import numpy as np

        tokens, logits = np.asarray(tokens, np.int64), np.asarray(logits, np.float32)
        if logits.ndim != 2 or len(logits) != len(tokens) - 1:
            raise StageError(f"answers of shape {logits.shape} for tokens of shape {tokens.shape}")
        if not np.isfinite(logits).all():
            raise StageError(
                "the checkpoint's own logits are not finite",
                remedy="its weights are damaged, or overflow in their dtype; fetch it again",
            )
        self._rows.append((tokens, *said(logits, tokens[1:])))

    def reference(self, by: str) -> Reference | None:
        """Return all rows that were taken; None without any."""
        import numpy as np

        if not self._rows:
            return None
        tokens, top_ids, top, chosen = map(np.stack, zip(*self._rows, strict=True))
        return Reference(tokens, top_ids, top, chosen, len(self.prompts[0]), by)


class Said(NamedTuple):
    """What is kept of a source's logits at some places: as in `Reference`, without rows."""

    top_ids: NDArray[np.int32]
    top: NDArray[np.float32]
    chosen: NDArray[np.float32]

    def at(self, places: slice) -> Said:
        """Return what is kept of some of the places."""
        return Said(self.top_ids[places], self.top[places], self.chosen[places])


def said(logits: NDArray[np.float32], following: NDArray[np.int64]) -> Said:
    """Return what is kept of logits, (places, vocabulary), and of the tokens that follow."""
    import numpy as np

    found = log_softmax(logits)
    top_ids = likeliest(found, TOP)
    top = np.take_along_axis(found, top_ids, axis=-1)
    chosen = np.take_along_axis(found, following[:, None], axis=-1)[:, 0]
    return Said(top_ids.astype(np.int32), top, chosen)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return natural log-probabilities over the last axis."""
    import numpy as np

    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def likeliest(log_probabilities: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the ids of the `count` likeliest tokens at each place, the likeliest first."""
    import numpy as np

    count = min(count, log_probabilities.shape[-1])
    found = np.argpartition(log_probabilities, -count, axis=-1)[..., -count:]
    order = np.argsort(-np.take_along_axis(log_probabilities, found, axis=-1), kind="stable")
    ids: NDArray[np.int64] = np.take_along_axis(found, order, axis=-1)
    return ids


def read_prompts(checkpoint_dir: Path, *, trust_remote_code: bool) -> list[list[int]]:
    """Return the texts as ids of the checkpoint's own tokenizer, all of one length.

    Raises:
        StageError: transformers cannot read the tokenizer.
    """
    with foreign_errors("reading the checkpoint's tokenizer"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint_dir, local_files_only=True, trust_remote_code=trust_remote_code
        )
        rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    length = min(PROMPT_TOKENS, *map(len, rows))
    return [row[:length] for row in rows]
