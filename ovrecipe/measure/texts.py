"""Texts along which a variant is compared: answers of its source, or those of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ovrecipe.errors import GateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.builtin.ir import StatefulModel

#: What the source is asked: facts, prose, code, numbers, lists, other languages.
INSTRUCTIONS = (
    "What is the capital of France?",
    "Write three sentences about the sea.",
    "Write a Python function that reverses a list.",
    "Explain to a child why the sky is blue.",
    "A train leaves at 9:40 and arrives at 12:15. How long does the journey take?",
    "List five things to pack for a week in the mountains.",
    "Write a short letter that declines an invitation to a wedding.",
    "What is the difference between a virus and a bacterium?",
    "Translate into German: The weather is fine today and we are going for a walk.",
    "Write an SQL query that counts the orders of each customer.",
    "Describe how bread is baked, step by step.",
    "Write the beginning of a detective story that is set in Venice.",
    "Raconte en quelques phrases la vie de Marie Curie.",
    "Give three arguments for and three against working from home.",
    "Write a JSON object that describes a book with its author and its year.",
    "What happened in the year 1969?",
)
#: How many tokens are compared where nobody says how many.
TOKENS = 2048
#: How often each is answered, in one batch: greedily by the first row, sampled by the others.
ANSWERS = 4
SEED = 7
#: The longest answer. Beyond it a small model mostly repeats itself.
LONGEST_ANSWER = 256
#: How many logits are in memory at once: 32 MB in float32, and a few copies of it.
LOGITS = 2**23


@dataclass(frozen=True)
class Text:
    """Tokens, (length,), of which the first `read` are given and the others are predicted.

    Texts of one `group` depend on each other. A `is_greedy` one is the source's likeliest answer.
    """

    tokens: NDArray[np.int64]
    read: int
    group: int
    is_greedy: bool = False

    @property
    def following(self) -> NDArray[np.int64]:
        """The tokens that are predicted."""
        return self.tokens[self.read :]


class Texts(Protocol):
    """Groups of texts, `count` of them, each made when it is asked for."""

    @property
    def count(self) -> int:
        """How many groups there are."""

    def key(self) -> object:
        """Return, as JSON has it, all that the texts depend on besides the source."""

    def of(self, group: int, source: StatefulModel) -> list[Text]:
        """Return the texts of a group."""


@dataclass(frozen=True)
class Written:
    """What the source answers to prompts: to each greedily, and sampled from all of its tokens.

    An answer ends with one of the tokens `end`, or after `new_tokens`.
    """

    prompts: tuple[tuple[int, ...], ...]
    new_tokens: int
    end: frozenset[int]

    @property
    def count(self) -> int:
        """How many prompts there are."""
        return len(self.prompts)

    def key(self) -> object:
        """Return, as JSON has it, all that the texts depend on besides the source."""
        how = [self.new_tokens, ANSWERS, SEED]
        return {"prompts": self.prompts, "written": how, "end": sorted(self.end)}

    def of(self, group: int, source: StatefulModel) -> list[Text]:
        """Let the source answer a prompt; the same source gives the same answers."""
        import numpy as np

        prompt = self.prompts[group]
        random = np.random.default_rng([SEED, group])

        def draw(logits: NDArray[np.float32]) -> NDArray[np.int64]:
            # Noise of this kind makes the largest a draw from the distribution (Gumbel-max).
            noise = random.gumbel(size=logits.shape)
            noise[0] = 0
            return np.asarray((logits + noise).argmax(axis=-1))

        rows = np.asarray([prompt] * ANSWERS, np.int64)
        answers = self._answers(source, rows, draw, self.new_tokens)
        return [
            Text(np.asarray([*prompt, *answer], np.int64), len(prompt), group, is_greedy=not row)
            for row, answer in enumerate(answers)
        ]

    def continuation(self, model: StatefulModel, text: Text, kept: int) -> list[int]:
        """Return a model's own greedy answer, of which it gives the first `kept` tokens as `text`.

        So no more is computed than what differs.
        """
        begun = text.tokens[: text.read + kept]
        [more] = self._answers(
            model, begun[None], lambda logits: logits.argmax(axis=-1), self.new_tokens - kept
        )
        return [*begun[text.read :].tolist(), *more]

    def _answers(
        self,
        model: StatefulModel,
        rows: NDArray[np.int64],
        choose: Callable[[NDArray[np.float32]], NDArray[np.int64]],
        new_tokens: int,
    ) -> list[list[int]]:
        answers: list[list[int]] = [[] for _ in rows]
        is_open = [True] * len(rows)
        # What all rows begin with is read once.
        copies = len(rows) if model.can_copy and (rows == rows[0]).all() else 1
        for _, logits in read(model, rows[:1] if copies > 1 else rows):
            last = logits[:, -1]
        if copies > 1:
            last = last.repeat(copies, axis=0)
            model.copy(copies)
        for _ in range(new_tokens):
            chosen = choose(last)
            for row, token in enumerate(chosen.tolist()):
                if is_open[row]:
                    answers[row].append(token)
                    is_open[row] = token not in self.end
            if not any(is_open):
                break
            last = model.logits(chosen[:, None])[:, -1]
        return answers


@dataclass(frozen=True)
class Given:
    """Pieces of the user's own texts; each token but a piece's first is predicted."""

    pieces: tuple[NDArray[np.int64], ...]

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return len(self.pieces)

    def key(self) -> object:
        """Return, as JSON has it, all that the texts depend on besides the source."""
        return {"pieces": [piece.tolist() for piece in self.pieces]}

    def of(self, group: int, source: StatefulModel) -> list[Text]:  # noqa: ARG002
        """Return a piece: one that stands for itself, as a block."""
        return [Text(self.pieces[group], 1, group)]


def read(
    model: StatefulModel, rows: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Let a model read rows of tokens, (batch, length), a few places at once.

    Yields where they begin, and their logits, (batch, places, vocabulary).

    Raises:
        GateError: a token is beyond the model's vocabulary.
    """
    check_known(model, rows)
    model.forget()
    step = max(1, LOGITS // (model.vocabulary_size * len(rows)))
    for start in range(0, rows.shape[1], step):
        yield start, model.logits(rows[:, start : start + step])


def check_known(model: StatefulModel, tokens: NDArray[np.int64]) -> None:
    """Refuse tokens for which the model has no embedding: it would read other memory.

    Raises:
        GateError: one is beyond its vocabulary.
    """
    highest, vocabulary = int(tokens.max()), model.vocabulary_size
    if highest >= vocabulary:
        raise GateError(
            f"the tokenizer gives token {highest}, the model knows only those below {vocabulary}",
            remedy="the tokenizer is another model's; build from a checkpoint that is whole",
        )


def predicted(
    model: StatefulModel, texts: Sequence[Text]
) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
    """Yield of each text which of its predicted tokens, and the logits for them, (places, vocab).

    What the texts of a group begin with is read once.
    """
    import numpy as np

    for text in texts:
        check_known(model, text.tokens)
    given = texts[0].tokens[: texts[0].read]
    are_alike = all(np.array_equal(text.tokens[: text.read], given) for text in texts)
    if len(texts) == 1 or not are_alike or not model.can_copy:
        for number, text in enumerate(texts):
            for part, logits in _predicted(model, text):
                yield number, part, logits
        return
    yield from _predicted_together(model, texts)


def _predicted_together(
    model: StatefulModel, texts: Sequence[Text]
) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
    first = texts[0]
    for _, logits in read(model, first.tokens[None, : first.read]):
        last = logits[0, -1:]
    for number in range(len(texts)):
        yield number, slice(0, 1), last
    answers = [text.following[:-1] for text in texts]
    rows = _padded(answers, int(first.tokens[0]))
    if not rows.size:
        return
    model.copy(len(rows))
    step = max(1, LOGITS // (model.vocabulary_size * len(rows)))
    for start in range(0, rows.shape[1], step):
        logits = model.logits(rows[:, start : start + step])
        for number, answer in enumerate(answers):
            count = min(len(answer) - start, step)
            if count > 0:
                yield number, slice(start + 1, start + 1 + count), logits[number, :count]


def _padded(rows: Sequence[NDArray[np.int64]], token: int) -> NDArray[np.int64]:
    """Return rows of one length: what stands behind a row changes nothing before it."""
    import numpy as np

    padded = np.full((len(rows), max(map(len, rows))), token, np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded


def _predicted(model: StatefulModel, text: Text) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    first = text.read - 1
    for start, logits in read(model, text.tokens[None, :-1]):
        found = logits[0, max(0, first - start) :]
        if len(found):
            begin = max(start, first) - first
            yield slice(begin, begin + len(found)), found
