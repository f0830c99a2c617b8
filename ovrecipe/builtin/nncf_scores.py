"""NNCF's data-free sensitivity of each weight, computed once for a base: half of an INT4 pass.

By it NNCF chooses which weights keep more bits below ratio 1. It depends on the weight alone, not
on group size, ratio or sym.

Source: DataFreeCriterion of nncf.quantization.algorithms.weight_compression, NNCF 3.4.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE_NAME = "sensitivity.json"
METHOD = "_calc_score_per_node"


@contextmanager
def remembered_scores(cache_dir: Path | None) -> Iterator[None]:
    """Let NNCF read the scores that are in `cache_dir`, and keep there what it computes.

    For passes over the base IR only: a weight is known by its name.
    """
    from nncf.quantization.algorithms.weight_compression import mixed_precision

    if cache_dir is None:
        yield
        return
    criterion = mixed_precision.DataFreeCriterion
    path = cache_dir / FILE_NAME
    known, computed = _read(path), getattr(criterion, METHOD)
    before = len(known)

    def score(self: Any, weight: Any, *args: Any, **kwargs: Any) -> float:
        name = f"{weight.weight_name} {list(weight.reduction_axes)}"
        if name not in known:
            # Its type is NNCF's; as a float it compares with others as before.
            known[name] = float(computed(self, weight, *args, **kwargs))
        return known[name]

    setattr(criterion, METHOD, score)
    try:
        yield
    finally:
        setattr(criterion, METHOD, computed)
    if len(known) > before:
        _write(path, known)


def _read(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_right = isinstance(found, dict) and all(isinstance(one, float) for one in found.values())
    return found if is_right else {}


def _write(path: Path, known: dict[str, float]) -> None:
    """Write the file whole or not at all: two passes may end at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(known), encoding="utf-8")
    partial.replace(path)
