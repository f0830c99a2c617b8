"""How like a source's a model's embeddings or scores are, and what of that is accepted.

A cosine alone says little: unrelated texts have one of 0.8 in many models. So a model is judged by
what it lost of the differences between texts: the mean square of its error as a share of the
variance of the source's vectors. 0 is the source itself, 1 is one vector for every text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovrecipe.recipe.tasks import EMBEDDING, RERANK, TaskName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.builtin.vector_settings import Pooling, VectorSettings
    from ovrecipe.recipe.schema import Accept
    from ovrecipe.types import Json

    Vectors = NDArray[np.float32]

#: What is broken loses more than this share, by precision; what is compressed honestly does not.
#: Measured with all-MiniLM-L6-v2: FP16 1e-6, INT8 0.0007, INT4 0.07 to 0.10 by group size; INT4's
#: honest noise doubled 0.23, one layer's feed-forward zeroed or a ninth of the matrices 0.30,
#: without positions 0.75, pooled in another way 1.1.
BROKEN_LOST: Mapping[str, float] = {"fp16": 0.002, "int8": 0.02, "int4": 0.2}
#: What one product with weights may lose of what it makes of the texts (`layers`), by precision;
#: one that gives zeros loses 1. Measured with all-MiniLM-L6-v2: FP16 1e-6, INT8 0.0007, INT4 0.07
#: to 0.11; INT4 with a query projection zeroed 1.0, which lost 0.14 of the embeddings, with two
#: layers swapped 3 to 5. With SmolLM2-135M, which is harder: INT8 0.003, INT4 0.38 to 0.45.
BROKEN_LAYER_LOST: Mapping[str, float] = {"fp16": 0.02, "int8": 0.1, "int4": 0.7}
#: How much may be lost between an exact run of the weights and GenAI's.
MAX_AS_RUN_LOST = 0.05


def pooled(states: Sequence[Vectors], settings: VectorSettings) -> Vectors:
    """Return the embedding of each text, (texts, size), of length 1, of its tokens' states."""
    import numpy as np

    ways: Mapping[Pooling, Callable[[Vectors], Vectors]] = {
        "cls": lambda tokens: tokens[0],
        "mean": lambda tokens: tokens.mean(axis=0),
        "last_token": lambda tokens: tokens[-1],
    }
    assert settings.pooling is not None, "every embedding has one"
    found = np.stack([ways[settings.pooling](tokens) for tokens in states])
    return unit(found)


def unit(vectors: Vectors) -> Vectors:
    """Return vectors of length 1 in the same directions."""
    import numpy as np

    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def scores(logits: Sequence[Vectors], settings: VectorSettings) -> Vectors:  # noqa: ARG001
    """Return the score of each pair, (pairs, 1), from 0 to 1: its only label's logistic."""
    import numpy as np

    return np.asarray(1 / (1 + np.exp(-np.stack(logits))), np.float32)


def lost(source: Vectors, found: Vectors) -> float:
    """Return what of the differences between rows of the source was lost; infinite for NaN."""
    import numpy as np

    spread = float(np.square(source - source.mean(axis=0)).sum())
    error = float(np.square(source - found).sum())
    share = error / spread if spread else math.inf if error else 0.0
    return share if math.isfinite(share) else math.inf


@dataclass(frozen=True)
class Likeness:
    """How outputs of a task become rows that are compared, and the figure that people know."""

    rows: Callable[[Sequence[Vectors], VectorSettings], Vectors]
    figure: str
    compared: Callable[[Vectors, Vectors], float]


def _cosine(source: Vectors, found: Vectors) -> float:
    return float((source * found).sum(axis=-1).mean())


def _difference(source: Vectors, found: Vectors) -> float:
    return float(abs(source - found).mean())


LIKENESS: Mapping[TaskName, Likeness] = {
    EMBEDDING: Likeness(pooled, "cosine", _cosine),
    RERANK: Likeness(scores, "score_difference", _difference),
}


def quality_of(task: TaskName, source: Vectors, found: Vectors) -> dict[str, Json]:
    """Return the figures of a model's rows, for a manifest; what is no number is left out."""
    likeness = LIKENESS[task]
    figures = {likeness.figure: likeness.compared(source, found), "lost": lost(source, found)}
    return {name: round(value, 6) for name, value in figures.items() if math.isfinite(value)}


def vector_limits(accept: Accept, precision: str) -> dict[str, float]:
    """Return the limits of a variant: the recipe's, and what is broken in any case."""
    broken = {"lost": BROKEN_LOST, "layer_lost": BROKEN_LAYER_LOST}
    limits = {name: by.get(precision, max(by.values())) for name, by in broken.items()}
    return {**accept.given(), **limits, "as_run_lost": MAX_AS_RUN_LOST}
