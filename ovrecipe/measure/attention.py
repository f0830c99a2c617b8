"""What answers as the source does: GenAI with paged attention, or SDPA, or the IR by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ovrecipe.builtin.ir import read_ir
from ovrecipe.errors import GateError, StageError, foreign_errors
from ovrecipe.json_files import read_object
from ovrecipe.measure.figures import gap
from ovrecipe.measure.models import EXACTLY, Opened, Paged, Stepped, Unpaged
from ovrecipe.run.artifact import STEPS
from ovrecipe.wording import last_line

if TYPE_CHECKING:
    from ovrecipe.measure.reference import Reference
    from ovrecipe.types import Json

#: The largest mean distance of log-probabilities through paged attention from the source's, as a
#: share of their standard deviation: rightly computed, SmolLM2 has 5e-5 and random models 2e-5.
#: Greedy answers may part where the source finds both tokens as likely as that.
MAX_GAP = 0.02
#: The input of a node of paged attention that has the width of its window, 0 for none.
#: Source: openvino/core/src/op/paged_attention.cpp of 2026.4.
WINDOW_INPUT = 10


class Heard(NamedTuple):
    """What was heard of a backend: how many of the `asked` greedy tokens are the source's.

    `gap` is how far its log-probabilities are from the source's (`figures.gap`), where it says any.
    """

    agreed: int
    asked: int
    gap: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether it computes what the source does."""
        return self.agreed == self.asked and self.gap <= MAX_GAP

    def __str__(self) -> str:
        greedy = f"{self.agreed} of {self.asked} greedy tokens like the source's"
        return f"{greedy}, log-probabilities {self.gap:.2g} off" if self.gap else greedy


def attention_facts(reference: Reference, base_dir: Path, tokenizer_dir: Path) -> dict[str, Json]:
    """Return which backend computes what the source does, in float32, and what was heard of them.

    Raises:
        GateError: none does.
    """
    paged = _paged(reference, base_dir, tokenizer_dir)
    if isinstance(paged, Heard) and paged.is_right:
        lost = lost_window(base_dir, reference.tokens.shape[1])
        if lost is None:
            return {"attention_backend": "PA", "paged_attention_gap": f"{paged.gap:.3g}"}
        return {"attention_backend": "SDPA", "paged_attention": lost}
    facts: dict[str, Json] = {"attention_backend": "SDPA", "paged_attention": str(paged)}
    unpaged = _heard(Unpaged, reference, base_dir, tokenizer_dir)
    if isinstance(unpaged, Heard) and unpaged.is_right:
        return facts
    stepped = _heard(Stepped, reference, base_dir, tokenizer_dir)
    if isinstance(stepped, Heard) and stepped.is_right:
        return {**facts, "attention_backend": STEPS, "sdpa": str(unpaged)}
    raise GateError(
        f"OpenVINO GenAI computes something else than the exported IR, with either attention: "
        f"paged attention: {paged}; SDPA: {unpaged}; and so does the IR token by token: {stepped}",
        remedy="the exported IR itself is right, so this is GenAI's; try another version",
    )


def _paged(reference: Reference, base_dir: Path, tokenizer_dir: Path) -> Heard | str:
    """Return what was heard of paged attention, or why it does not run the model."""
    try:
        opened = Paged(base_dir, EXACTLY, tokenizer_dir=tokenizer_dir)
        distance = gap(opened.log_probabilities(reference.tokens), reference.chosen)
        return greedy(opened, reference)._replace(gap=distance)
    except StageError as error:
        return last_line(error)


def _heard(
    kind: type[Opened], reference: Reference, base_dir: Path, tokenizer_dir: Path
) -> Heard | str:
    """Return what was heard of a backend that says no probabilities, or why it does not run it."""
    try:
        return greedy(kind(base_dir, EXACTLY, tokenizer_dir=tokenizer_dir), reference)
    except StageError as error:
        return last_line(error)


def greedy(opened: Opened, reference: Reference) -> Heard:
    """Return how far greedy answers behind the reference's prompts are the source's.

    Behind the first other token of an answer nothing can be compared.
    """
    read, spread = reference.prompt_tokens, float(reference.chosen.std())
    asked = reference.tokens.shape[1] - read
    answers = opened.answers(reference.tokens[:, :read], asked, ignore_eos=True)
    tie = MAX_GAP * spread
    rows = range(len(reference.tokens))
    agreed = sum(
        _agreed(reference, row, answer, tie) for row, answer in zip(rows, answers, strict=True)
    )
    return Heard(agreed, asked * len(rows))


def _agreed(reference: Reference, row: int, answer: Sequence[int], tie: float) -> int:
    """Return how many tokens of an answer are the source's before the first that differs.

    Where the source finds another token as likely within `tie`, the rest counts as agreed.
    """
    read = reference.prompt_tokens
    for number, (token, expected) in enumerate(
        zip(answer, reference.tokens[row, read:], strict=True)
    ):
        if token == expected:
            continue
        place = (row, read + number - 1)
        likely = dict(zip(reference.top_ids[place].tolist(), reference.top[place], strict=True))
        is_tie = reference.chosen[place] - likely.get(token, float("-inf")) <= tie
        return len(answer) if is_tie else number
    return len(answer)


def lost_window(base_dir: Path, length: int) -> str | None:
    """Return what paged attention loses beyond the `length` tokens that were read; None if nothing.

    Windows are taken over where a pattern of OpenVINO knows them, which the converted graph shows;
    chunks of attention are not known to it at all.
    """
    config = read_object(base_dir / "config.json", error=StageError)
    chunk = config.get("attention_chunk_size")
    if isinstance(chunk, int) and chunk >= length:
        return f"has no chunks of attention, which this model has beyond {chunk} tokens"
    window = window_of(config)
    if window is None or window < length or _keeps_windows(base_dir):
        return None
    return f"loses the window of attention, which this model has beyond {window} tokens"


def window_of(config: Mapping[str, Any]) -> int | None:
    """Return the number of tokens that some layers of a model see; None where all see all."""
    layers = config.get("layer_types") or ["sliding_attention"]
    if config.get("use_sliding_window", True) and "sliding_attention" in layers:
        window = config.get("sliding_window")
    else:
        window = None
    if window is None and "local" in str(config.get("attention_types")):
        window = config.get("window_size")
    return window if isinstance(window, int) and window > 0 else None


def _keeps_windows(base_dir: Path) -> bool:
    """Return whether a layer has a window once OpenVINO made paged attention of the IR."""
    with foreign_errors("making paged attention of the IR"):
        from openvino._offline_transformations import paged_attention_transformation

        model = read_ir(base_dir)
        paged_attention_transformation(model)
    for node in model.get_ops():
        if node.get_type_name() == "PagedAttentionExtension":
            window = node.input_value(WINDOW_INPUT).get_node()
            if window.get_type_name() != "Constant" or int(window.data.max()) > 0:
                return True
    return False
