"""Calibration text that the model writes itself, as token ids.

Sequences start at tokens spread over the vocabulary, go on greedily, then by sampling, so that
they stay in the model's own distribution and still differ.

Source: "LLM-QAT: Data-Free Quantization Aware Training for Large Language Models", section 3.1
(arXiv 2305.17888); lengths as in nncf.data.generate_text_data, NNCF 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.compressors.ir import read_ir
from ovrecipe.builtin.foreign import foreign_errors
from ovrecipe.errors import StageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy import ndarray

    from ovrecipe.hooks.roles import Progress

    Array = ndarray[Any, Any]

SEED = 42
GREEDY_TOKENS = 16
SAMPLED_TOKENS = 32
BATCH = 16
#: A sequence with fewer different tokens is a loop and calibrates nothing.
FEWEST_DIFFERENT = 5
#: How many sequences are tried for each that is wanted.
TRIES = 4


def generated_ids(base_dir: Path, num_samples: int, progress: Progress) -> list[list[int]]:
    """Return `num_samples` sequences; the same model gives the same ones.

    Raises:
        StageError: the model mostly repeats itself.
    """
    import numpy as np

    progress("compiling the base IR to generate calibration text")
    with foreign_errors("generating calibration text"):
        writer = _Writer(base_dir, np.random.default_rng(SEED))
        starts = _starts(writer.vocabulary_size, num_samples)
        found: list[list[int]] = []
        for begin in range(0, len(starts), BATCH):
            batch = writer.write(starts[begin : begin + BATCH])
            found += [ids for ids in batch if len(set(ids)) >= FEWEST_DIFFERENT]
            progress("generating calibration text", done=len(found), total=num_samples)
            if len(found) >= num_samples:
                return found[:num_samples]
    raise StageError(
        f"the model wrote {len(found)} usable texts of the {num_samples} wanted; it repeats itself",
        remedy="give a data set of your own",
    )


def _starts(vocabulary_size: int, num_samples: int) -> list[int]:
    """Return first tokens: evenly spread ones, then those beside them as replacements."""
    step = max(1, vocabulary_size // num_samples)
    return [
        (index * step + shift) % vocabulary_size
        for shift in range(TRIES)
        for index in range(num_samples)
    ]


class _Writer:
    """Continues batches of first tokens with the base IR."""

    def __init__(self, base_dir: Path, random: Any) -> None:
        import openvino as ov

        model = read_ir(base_dir)
        self.names = {port.get_any_name() for port in model.inputs}
        self.vocabulary_size = int(model.output("logits").get_partial_shape()[-1].get_length())
        self.request = ov.Core().compile_model(model, "CPU").create_infer_request()
        self.random = random

    def write(self, starts: list[int]) -> list[list[int]]:
        """Return the continuations of one batch, without their first tokens."""
        import numpy as np

        self.request.reset_state()
        tokens = np.array(starts, np.int64)[:, None]
        written = []
        for position in range(GREEDY_TOKENS + SAMPLED_TOKENS):
            logits = self._step(tokens, position)
            greedy = position < GREEDY_TOKENS
            tokens = (logits.argmax(-1) if greedy else self._sampled(logits))[:, None]
            written.append(tokens)
        return [[int(each) for each in row] for row in np.concatenate(written, axis=1)]

    def _step(self, tokens: Array, position: int) -> Array:
        """Return the logits of the last token, shape (batch, vocabulary)."""
        import numpy as np

        batch = len(tokens)
        inputs = {
            "input_ids": tokens,
            "attention_mask": np.ones((batch, position + 1), np.int64),
            "position_ids": np.full((batch, 1), position, np.int64),
            "beam_idx": np.arange(batch, dtype=np.int32),
        }
        given = {name: value for name, value in inputs.items() if name in self.names}
        logits: Array = self.request.infer(given)["logits"][:, -1]
        return logits

    def _sampled(self, logits: Array) -> Array:
        """Draw a token from each row by the Gumbel-max trick."""
        noise = self.random.gumbel(size=logits.shape)
        chosen: Array = (logits + noise).argmax(-1)
        return chosen
