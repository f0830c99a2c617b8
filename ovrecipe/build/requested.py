"""Whether a compression pass did what the recipe asks of it, judged by the IR that it wrote.

Only what a recipe says is compared: a knob that is left out is the compressor's to choose.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ovrecipe.builtin.nncf_rules import CORRECTIONS
from ovrecipe.builtin.stored import FLOATS, Stored, StoredWeight
from ovrecipe.errors import GateError
from ovrecipe.recipe.compression import CompressionPass, IgnoredScope
from ovrecipe.recipe.sections import Objection
from ovrecipe.recipe.yaml_reader import Loc, dotted
from ovrecipe.wording import counted

#: What a weight of a precision is stored as, symmetric or not.
STORED_AS = {
    "fp16": ("f16",),
    "int8": ("i8", "u8"),
    "int4": ("i4", "u4"),
    "nf4": ("nf4",),
    "cb4": ("u4",),
    "mxfp4": ("f4e2m1",),
    "fp4": ("f4e2m1",),
    "nvfp4": ("f4e2m1",),
    "mxfp8_e4m3": ("f8e4m3",),
    "fp8_e4m3": ("f8e4m3",),
}
#: What a recipe asks for by a name of NNCF, and what NNCF writes into the IR when it got it.
METHODS = (*CORRECTIONS, "sensitivity_metric")
#: Weights that are too small to be counted may count for `ratio`.
SLACK = 0.01


def refuse(loc: Loc, objections: Iterable[Objection]) -> None:
    """Raise what is objected to in the pass that is written at `loc`, a line each.

    Raises:
        GateError: there is something.
    """
    lines = [f"{dotted((*loc, *found.keys))}: {found.reason}" for found in objections]
    if lines:
        remedy = "remove what this model cannot have, or name what it has; see docs/compression.md"
        raise GateError("\n".join(lines), remedy=remedy)


def idle_scope(compression: CompressionPass, before: Stored) -> Iterator[Objection]:
    """Yield the entries of an `ignored_scope` that keep no weight; known before the work."""
    scope = compression.ignored_scope
    if scope is None or not scope.validate_:
        return
    readers = [reader for weight in before.weights for reader in weight.readers]
    for key, entries in (
        ("names", scope.names),
        ("patterns", scope.patterns),
        ("types", scope.types),
    ):
        for number, entry in enumerate(entries):
            if not any(_matches(key, entry, reader) for reader in readers):
                some = ", ".join(name for _, name in readers[:2])
                reason = (
                    f"'{entry}' matches no weight of this model, whose operations are {some}, ..."
                )
                yield Objection(("ignored_scope", key, number), reason)


def _matches(key: str, entry: str, reader: tuple[str, str]) -> bool:
    """Return whether one entry of a scope means an operation, as NNCF reads it."""
    kind, name = reader
    if key == "patterns":
        return re.match(entry, name) is not None
    return entry == (kind if key == "types" else name)


def _is_ignored(weight: StoredWeight, scope: IgnoredScope | None) -> bool:
    """Return whether a scope names every operation that reads the weight."""
    entries = [
        (key, entry)
        for key in ("names", "patterns", "types")
        for entry in (getattr(scope, key) if scope else ())
    ]
    return all(any(_matches(*entry, reader) for entry in entries) for reader in weight.readers)


def undone(
    compression: CompressionPass,
    precision: str,
    before: Stored,
    after: Stored,
    applied: Sequence[str] | None = None,
) -> Iterator[Objection]:
    """Yield what the recipe asks of a pass and the IR that it wrote does not have.

    `precision` is the variant's. `applied` are the methods that the compressor itself says it
    applied; without it, what NNCF noted in the IR counts.
    """
    wanted = precision_of_mode(compression.mode or precision)
    was = {weight.name: weight.dtype for weight in before.weights}
    is_copy = wanted == "fp16"
    made = [
        weight
        for weight in after.weights
        if weight.dtype in STORED_AS[wanted]
        and (is_copy or was.get(weight.name) not in STORED_AS[wanted])
    ]
    if not made:
        yield Objection(
            ("mode",) if compression.mode else (),
            f"no weight became {wanted}; the weights are {_counts(after.weights)}",
        )
    else:
        yield from _form(compression, wanted, made)
        yield from _spread(compression, wanted, made, before, after)
        yield from _backup(compression, wanted, made, before, after)
    yield from _kept(compression, before, after)
    yield from _methods(compression, before, after, applied)


def precision_of_mode(mode: str) -> str:
    """Return the precision that a mode of NNCF gives; a precision is its own."""
    return re.sub("_a?sym$", "", mode)


def _counts(weights: Sequence[StoredWeight]) -> str:
    counts = Counter(weight.dtype for weight in weights)
    return ", ".join(f"{dtype} ({count})" for dtype, count in counts.items()) or "none"


def _form(
    compression: CompressionPass, wanted: str, made: Sequence[StoredWeight]
) -> Iterator[Objection]:
    """Yield where groups or zero points are not the ones asked for."""
    size, sym = compression.group_size, compression.sym
    if sym is None and compression.mode is not None and compression.mode.endswith("sym"):
        sym = not compression.mode.endswith("_asym")
    if size is not None and not any(weight.has_groups_of(size) for weight in made):
        found = Counter(weight.group_size for weight in made)
        sizes = ", ".join(f"{group} ({count})" for group, count in found.items())
        yield Objection(("group_size",), f"no {wanted} weight has groups of {size}, but {sizes}")
    wrong = [weight for weight in made if sym is not None and weight.has_zero_point is sym]
    if wrong:
        key = "mode" if compression.sym is None else "sym"
        form = "zero points" if sym else "no zero point"
        number = counted(len(wrong), f"{wanted} weight")
        yield Objection((key,), f"{number} of {len(made)} have {form}")


def _spread(
    compression: CompressionPass,
    wanted: str,
    made: Sequence[StoredWeight],
    before: Stored,
    after: Stored,
) -> Iterator[Objection]:
    """Yield where `ratio` or `all_layers` did not decide which weights got the precision.

    As NNCF counts, the embedding and the last layer have no part in the ratio without
    `all_layers`; the last weight that would fit may be too large.
    """
    ends = {weight.name for weight in outer_weights(before)}
    names = {weight.name for weight in made}
    ratio = 1.0 if compression.ratio is None else compression.ratio
    if compression.all_layers and ratio == 1 and ends and not names & ends:
        now = _counts([weight for weight in after.weights if weight.name in ends])
        reason = f"neither the embedding nor the last layer is {wanted}: {now}"
        yield Objection(("all_layers",), reason)
    if compression.ratio is None:
        return
    pool = [
        weight
        for weight in before.weights
        if weight.dtype in FLOATS
        and (compression.all_layers or weight.name not in ends)
        and not _is_ignored(weight, compression.ignored_scope)
    ]
    total = sum(weight.elements for weight in pool)
    if not total:
        return
    share = sum(weight.elements for weight in pool if weight.name in names) / total
    largest = max(weight.elements for weight in pool) / total if ratio < 1 else 0.0
    least = 0.0 if compression.group_size_fallback else ratio - largest - SLACK
    if not least <= share <= ratio + SLACK:
        reason = f"{ratio:g} is asked for, and {share:.3f} of the weights are {wanted}"
        yield Objection(("ratio",), reason)


def outer_weights(stored: Stored) -> list[StoredWeight]:
    """Return the embeddings and the last layer, which NNCF leaves at the backup precision."""
    last = stored.weights[-1:]
    embeddings = [one for one in stored.weights if any(kind == "Gather" for kind, _ in one.readers)]
    tied = any(len(one.readers) > 1 for one in embeddings)
    return [*embeddings, *(one for one in last if one not in embeddings and not tied)]


def _backup(
    compression: CompressionPass,
    wanted: str,
    made: Sequence[StoredWeight],
    before: Stored,
    after: Stored,
) -> Iterator[Objection]:
    """Yield when no weight is stored at the backup precision that is asked for."""
    mode = compression.backup_mode
    if mode is None:
        return
    was = {weight.name: weight.dtype for weight in before.weights}
    names = {weight.name for weight in made}
    rest = [
        weight
        for weight in after.weights
        if weight.name not in names
        and was.get(weight.name) in FLOATS
        and not _is_ignored(weight, compression.ignored_scope)
    ]
    if mode == "none":
        is_done = any(weight.dtype == was[weight.name] for weight in rest)
    else:
        stored_as = STORED_AS[precision_of_mode(mode)]
        asymmetric = mode.endswith("_asym")
        is_done = any(
            weight.dtype in stored_as and weight.has_zero_point is asymmetric for weight in rest
        )
    if not is_done:
        left = _counts(rest) if rest else f"all of them became {wanted}"
        yield Objection(("backup_mode",), f"no weight is left at {mode}: {left}")


def _kept(compression: CompressionPass, before: Stored, after: Stored) -> Iterator[Objection]:
    """Yield when weights of the ignored scope were changed."""
    scope = compression.ignored_scope
    now = {weight.name: weight.dtype for weight in after.weights}
    changed = [
        weight
        for weight in before.weights
        if scope is not None
        and _is_ignored(weight, scope)
        and now.get(weight.name, weight.dtype) != weight.dtype
    ]
    if changed:
        first = changed[0]
        reason = (
            f"{counted(len(changed), 'weight')} in it did not keep the precision, as "
            f"{first.readers[0][1]}, which was {first.dtype} and is {now[first.name]}"
        )
        yield Objection(("ignored_scope",), reason)


def _methods(
    compression: CompressionPass, before: Stored, after: Stored, applied: Sequence[str] | None
) -> Iterator[Objection]:
    """Yield the methods that are asked for and left no trace."""
    for name in METHODS:
        asked = getattr(compression, name)
        if not asked or (applied is not None and name in applied):
            continue
        noted = after.nncf.get(name)
        if applied is not None and name in CORRECTIONS:
            yield Objection((name,), "matched nothing in this model and changed nothing")
        elif noted is None:
            reason = "the compressor neither says that it applied it nor wrote it into the IR"
            yield Objection((name,), reason)
        elif noted != str(asked):
            yield Objection((name,), f"is not what NNCF was called with: {noted}")
    if compression.lora_correction and after.adapters <= before.adapters:
        yield Objection(("lora_correction",), "the IR has no adapters")
