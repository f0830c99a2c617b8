"""What NNCF would compute again for each weight and each pass, computed once.

Its data-free sensitivity scores, half of an INT4 pass below ratio 1: by them it chooses which
weights keep more bits, and they depend on the weight alone, not on group size, ratio or sym. And
the small models by which OpenVINO rounds a weight: compiling one takes ten times what running it
takes, and a model's matrices share a handful.

Source: DataFreeCriterion and OVWeightCompressionAlgoBackend of
nncf.quantization.algorithms.weight_compression, NNCF 3.4.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

FILE_NAME = "sensitivity.json"
METHOD = "_calc_score_per_node"
#: What runs a model that rounds a weight, and what lets it be compiled again.
RUN, FORGETTING = "_infer_ov_model", "disable_results_caching"


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

    with _replaced(criterion, METHOD, score):
        yield
    if len(known) > before:
        _write(path, known)


@contextmanager
def compiled_once() -> Iterator[None]:
    """Let NNCF keep the models that round weights, and copy what they give.

    It compiles each anew while it writes weights, for a model overwrites what it gave when it runs
    again.
    """
    from nncf.openvino.optimized_functions import models
    from nncf.quantization.algorithms.weight_compression import openvino_backend
    from nncf.tensor import Tensor

    run = getattr(models, RUN)

    def owned(*args: Any) -> list[Any]:
        return [Tensor(_copied(given.data)) for given in run(*args)]

    with _replaced(models, RUN, owned), _replaced(openvino_backend, FORGETTING, nullcontext):
        yield


@contextmanager
def _replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _copied(data: Any) -> Any:
    """Return a copy of a numpy array, or of an OpenVINO tensor, whose type numpy may not have."""
    import openvino as ov

    if not isinstance(data, ov.Tensor):
        return data.copy()
    copy = ov.Tensor(data.element_type, data.shape)
    data.copy_to(copy)
    return copy


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
