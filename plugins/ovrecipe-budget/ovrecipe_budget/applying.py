"""NNCF's passes over the base IR: one for each precision chosen, all else ignored in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe_budget.formats import BY_NAME, FORMATS
from ovrecipe_budget.matrices import IR_BIN, IR_XML

if TYPE_CHECKING:
    from ovrecipe.types import Progress

#: What holds a matrix rather than uses it; NNCF would take an ignored one for the matrix itself.
PASSIVE = ("Constant", "Convert")


def write_compressed(
    base_dir: Path, output_dir: Path, chosen: Mapping[str, Collection[str]], progress: Progress
) -> int:
    """Write the IR with the operations of `chosen` at its precisions; return its file's size.

    `chosen` has the names of operations by the name of a precision; what it does not name stays
    as it is in the base.
    """
    import openvino as ov

    model = ov.Core().read_model(base_dir / IR_XML)
    names = [precision.name for precision in FORMATS if precision.name in chosen]
    for index, name in enumerate(names):
        progress(f"compressing to {name}", done=index, total=len(names))
        model = _compressed(model, name, set(chosen[name]))
    progress("writing the compressed IR")
    ov.save_model(model, output_dir / IR_XML, compress_to_fp16=False)
    return (output_dir / IR_BIN).stat().st_size


def _compressed(model: Any, name: str, operations: Collection[str]) -> Any:
    """Compress some operations; NNCF passes over what is compressed already."""
    import nncf

    wanted = BY_NAME[name]
    arguments: dict[str, Any] = {"mode": nncf.CompressWeightsMode(wanted.mode)}
    if wanted.bits < 8:
        arguments |= {"group_size": wanted.group_size, "ratio": 1.0, "all_layers": True}
    others = [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() not in PASSIVE and node.get_friendly_name() not in operations
    ]
    return nncf.compress_weights(
        model, ignored_scope=nncf.IgnoredScope(names=others, validate=False), **arguments
    )
