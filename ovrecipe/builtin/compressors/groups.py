"""Group sizes against the channels of every weight, before anything is exported."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ovrecipe.builtin.compressors.settings import group_size_of, is_int8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import WeightShape
    from ovrecipe.recipe.compression import CompressionPass, IgnoredScope

#: How many weights a message names.
NAMED = 3
#: Smaller groups cost more in scales than they save.
SMALLEST_GROUP = 16
EMBEDDING = re.compile(r"(embed_tokens|embed_in|embed_positions|wte|wpe|word_embeddings?|embd)\b")
LAST_LAYER = re.compile(r"(^|\.)(lm_head|embed_out|output|score)\b(?!\.dense)")
#: What the exported IR calls a module's operation, after the module's own path.
OPERATIONS = {
    "MatMul": ("/ov_ext::linear/MatMul", "/aten::linear/MatMul", "/aten::matmul/MatMul"),
    "Gather": ("/aten::embedding/Gather", "/ov_ext::embedding/Gather"),
}


def group_size_problems(
    compression: CompressionPass, precision: str, shapes: Sequence[WeightShape]
) -> tuple[str, ...]:
    """Return what NNCF would refuse: weights with channels that the group size does not divide.

    Below ratio 1 NNCF itself picks the low-bit weights, without regard to their channels; the
    refusal is only certain, and only made, when too few weights are left to reach the ratio.
    """
    mode = compression.mode_for(precision)
    group_size = group_size_of(compression, mode)
    if is_int8(mode) or group_size == -1 or compression.group_size_fallback in ("ignore", "adjust"):
        return ()
    low_bit = low_bit_weights(compression, shapes)
    odd = [each for each in low_bit if each.shape[-1] % group_size]
    if not odd or _can_be_left_out(odd, low_bit, compression.ratio):
        return ()
    return (_message(group_size, odd, low_bit),)


def low_bit_weights(
    compression: CompressionPass, shapes: Sequence[WeightShape]
) -> list[WeightShape]:
    """Return the weights that may get the primary precision.

    NNCF keeps embeddings and the last layer at the backup precision unless `all_layers` is set.
    """
    return [
        each
        for each in shapes
        if (compression.all_layers or not keeps_backup(each.name))
        and not is_ignored(each.name, compression.ignored_scope)
    ]


def keeps_backup(name: str) -> bool:
    """Return whether a weight is an embedding or the last layer, by its name."""
    return bool(EMBEDDING.search(name) or LAST_LAYER.search(name))


def is_ignored(name: str, scope: IgnoredScope | None) -> bool:
    """Return whether the ignored scope names the operation that this weight belongs to."""
    if scope is None:
        return False
    kind = "Gather" if EMBEDDING.search(name) else "MatMul"
    nodes = [f"__module.{name.removesuffix('.weight')}{each}" for each in OPERATIONS[kind]]
    return (
        kind in scope.types
        or any(node in scope.names for node in nodes)
        or any(re.match(pattern, node) for pattern in scope.patterns for node in nodes)
    )


def _can_be_left_out(
    odd: Sequence[WeightShape], all_of: Sequence[WeightShape], ratio: float | None
) -> bool:
    size = sum(math.prod(each.shape) for each in all_of)
    return ratio is not None and sum(math.prod(e.shape) for e in odd) <= size * (1 - ratio)


def _message(group_size: int, odd: Sequence[WeightShape], low_bit: Sequence[WeightShape]) -> str:
    named = ", ".join(f"{each.name} ({each.shape[-1]} channels)" for each in odd[:NAMED])
    more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
    valid = ", ".join(map(str, valid_group_sizes(low_bit)))
    return (
        f"group_size {group_size} does not divide the channels of {named}{more}; "
        f"group sizes that fit every weight: {valid}; "
        "or let NNCF adjust it per weight with 'group_size_fallback: adjust'"
    )


def valid_group_sizes(weights: Sequence[WeightShape]) -> list[int]:
    """Return -1 (one group per channel) and the powers of two that divide all channels."""
    common = math.gcd(*(each.shape[-1] for each in weights))
    sizes = []
    size = SMALLEST_GROUP
    while common % size == 0 and size <= common:
        sizes.append(size)
        size *= 2
    return [-1, *reversed(sizes)]
