"""The source's own answers: the texts it was shown and went on with, and how likely each token was.

Written once for each checkpoint, by the checkpoint's own code where the exporter has it in memory,
and read by every gate and evaluation behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import ArtifactCorrupt, StageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

FILE = "reference.npz"
#: How many of the likeliest tokens are kept at each place; of all others only their sum.
TOP = 1024
#: What is continued: prose, instructions, code and other scripts, each read to the same length.
TEXTS = (
    "The sea covers more than two thirds of the earth. Its water is never still: the moon draws "
    "the tides, the wind raises the waves, and warm currents carry the heat of the tropics to the "
    "north. Sailors learned early to read the colour of the water and the flight of birds, and",
    "Question: What is the capital of France, which river flows through it, and what would a "
    "visitor with a single day in the city want to see first?\n\nAnswer: The capital of France is "
    "Paris. It lies on the river Seine, and a visitor who has only one day should begin with",
    "def is_prime(number: int) -> bool:\n    \"\"\"Return whether a number is prime.\"\"\"\n    if "
    "number < 2:\n        return False\n    divisor = 2\n    while divisor * divisor <= number:\n"
    "        if number % divisor == 0:\n            return False\n        divisor += 1\n    return",
    "1. Mix 250 g of flour with 5 g of salt. 2. Add two eggs and 120 ml of milk. 3. Let the dough "
    "rest for 30 minutes. Die Zutaten sind einfach; le reste est une affaire de patience. Then "
    "heat the pan (180 °C), and when the butter has melted, pour in a thin layer of the dough and",
)
PROMPT_TOKENS, NEW_TOKENS = 40, 16


@dataclass(frozen=True)
class Reference:
    """What a source said of the tokens of some texts.

    `tokens`, (rows, length), are `prompt_tokens` read ones and the source's greedy continuation.
    At each place but the last, (rows, length - 1): `top_ids` and `top`, (..., k), are the likeliest
    next tokens and their natural log-probabilities; `chosen` is that of the token that follows.
    `by` says who computed them.
    """

    tokens: NDArray[np.int64]
    prompt_tokens: int
    top_ids: NDArray[np.int32]
    top: NDArray[np.float32]
    chosen: NDArray[np.float32]
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
        import numpy as np

        try:
            with np.load(folder / FILE, allow_pickle=False) as found:
                return cls(
                    tokens=found["tokens"],
                    prompt_tokens=int(found["prompt_tokens"]),
                    top_ids=found["top_ids"],
                    top=found["top"],
                    chosen=found["chosen"],
                    by=str(found["by"]),
                )
        except (OSError, ValueError, KeyError, EOFError) as exc:
            raise ArtifactCorrupt(
                f"{folder / FILE}: {exc}", remedy="'ovrecipe verify --remove' removes what is damaged"
            ) from exc


class ReferenceTaker:
    """Collects a source's answers, a row at a time, so that one row of logits is in memory."""

    def __init__(self, by: str) -> None:
        self.by = by
        self._rows: list[tuple[Any, Any, Any, Any]] = []

    def take(self, tokens: Any, logits: Any) -> None:
        """Keep a row: `tokens`, (length,), and their `logits`, (length, vocabulary), as float32.

        Raises:
            StageError: a logit is not finite.
        """
        import numpy as np

        tokens, logits = np.asarray(tokens, np.int64), np.asarray(logits, np.float32)
        if not np.isfinite(logits).all():
            raise StageError(
                f"the checkpoint's own logits are not finite ({self.by})",
                remedy="its weights are damaged, or overflow in their dtype; fetch it again",
            )
        found = log_softmax(logits[:-1])
        top_ids = likeliest(found, TOP)
        self._rows.append(
            (
                tokens,
                top_ids.astype(np.int32),
                np.take_along_axis(found, top_ids, axis=-1),
                np.take_along_axis(found, tokens[1:, None], axis=-1)[:, 0],
            )
        )

    def reference(self, prompt_tokens: int) -> Reference:
        """Return all rows that were taken; they have one length."""
        import numpy as np

        tokens, top_ids, top, chosen = (np.stack(column) for column in zip(*self._rows, strict=True))
        return Reference(tokens, prompt_tokens, top_ids, top, chosen, self.by)


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


def prompt_rows(encoded: Iterable[list[int]], length: int = PROMPT_TOKENS) -> list[list[int]]:
    """Cut encoded texts to one length: `length`, or that of the shortest."""
    rows = list(encoded)
    shortest = min(length, *(len(row) for row in rows))
    return [row[:shortest] for row in rows]
