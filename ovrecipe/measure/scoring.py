"""What tasks ask of a model: how likely a text is behind another, and how it goes on.

Prompts are read as the harness has other models read them: without special tokens of the
tokenizer's own, and cut at the front where a model has too few positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ovrecipe.errors import RunError
from ovrecipe.measure.evaluation import finite_logits
from ovrecipe.measure.reference import log_softmax
from ovrecipe.measure.texts import Text, read

if TYPE_CHECKING:
    from ovrecipe.builtin.ir import StatefulModel
    from ovrecipe.measure.encoder import Encoder


class Likelihood(NamedTuple):
    """The log-probability of a text, and whether each of its tokens is the likeliest."""

    log_probability: float
    is_greedy: bool


class Scorer:
    """A model with its tokenizer; `positions` is how many tokens it reads at most."""

    def __init__(
        self, model: StatefulModel, encoder: Encoder, *, positions: int | None = None
    ) -> None:
        self.encoder = encoder
        self._model = model
        self._positions = positions

    def likelihood(self, context: str, continuation: str) -> Likelihood:
        """Return how likely a text is behind another, which may be empty.

        Spaces at the end of the context belong to the continuation: they are part of its first
        word for most tokenizers.
        """
        given = context.rstrip()
        whole = self.encoder.plain(context + continuation)
        before = self.encoder.plain(given) if given else []
        if not before:
            before, whole = [self.encoder.begin], [self.encoder.begin, *whole]
        return self._following(whole, len(before))

    def rolling(self, text: str) -> float:
        """Return the log-probability of a whole text, however long.

        Each token is predicted once, from as many before it as the model has positions for.
        """
        ids = [self.encoder.begin, *self.encoder.plain(text)]
        size = self._positions or len(ids)
        total = 0.0
        for start in range(0, len(ids) - 1, size):
            end = min(start + size, len(ids) - 1)
            piece = ids[max(0, end - size) : end + 1]
            total += self._following(piece, len(piece) - (end - start)).log_probability
        return total

    def continued(self, prompt: str, *, until: Sequence[str], max_new_tokens: int) -> str:
        """Return the greedy answer up to the first of the texts `until`, which is left out.

        Raises:
            RunError: the answer alone is longer than the model has positions for.
        """
        import numpy as np

        ids = self.encoder.plain(prompt) or [self.encoder.begin]
        if self._positions is not None:
            room = self._positions - max_new_tokens
            if room < 1:
                raise RunError(
                    f"the task lets the model write {max_new_tokens} tokens, and it has "
                    f"{self._positions} positions",
                    remedy="give the task a smaller max_gen_toks",
                )
            ids = ids[-room:]
        for _, logits in read(self._model, np.asarray([ids], np.int64)):
            last = logits[0, -1]
        answer: list[int] = []
        text = ""
        while len(answer) < max_new_tokens:
            token = int(last.argmax())
            if token in self.encoder.end:
                break
            answer.append(token)
            text = self.encoder.decoded(answer)
            if any(stop in text for stop in until):
                break
            last = self._model.logits([[token]])[0, -1]
        return text[: min((text.find(stop) for stop in until if stop in text), default=len(text))]

    def _following(self, ids: list[int], given: int) -> Likelihood:
        """Return the likelihood of what follows the first `given` tokens."""
        import numpy as np

        if self._positions is not None and len(ids) > self._positions + 1:
            cut = len(ids) - self._positions - 1
            ids, given = ids[cut:], max(1, given - cut)
        text = Text(np.asarray(ids, np.int64), given, 0)
        total, is_greedy = 0.0, True
        for chosen, best in self._chosen(text):
            total += chosen
            is_greedy = is_greedy and best
        return Likelihood(total, is_greedy)

    def _chosen(self, text: Text) -> Iterator[tuple[float, bool]]:
        """Yield log-probabilities of the text's next tokens, a few at once."""
        import numpy as np

        for _, part, logits in finite_logits(self._model, [text], "model's"):
            wanted = text.following[part]
            found = log_softmax(logits)[np.arange(len(wanted)), wanted]
            is_greedy = (logits.argmax(axis=-1) == wanted).all()
            yield float(found.sum(dtype=np.float64)), bool(is_greedy)
