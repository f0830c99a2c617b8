"""The matrices of an IR that can be compressed, and the operations that read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe_budget.formats import Array

IR_XML = "openvino_model.xml"
IR_BIN = "openvino_model.bin"
FLOATS = ("f64", "f32", "f16", "bf16")
#: On which input an operation has its matrix.
WEIGHT_PORTS = {"MatMul": 1, "Gather": 0}


@dataclass(frozen=True)
class Matrix:
    """One constant with everything that reads it: with tied embeddings that is two operations.

    `nodes` are OpenVINO's; they live as long as the model that they come from.
    """

    constant: Any
    nodes: tuple[Any, ...]
    transposed: bool

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the operations, as NNCF's ignored scope has them."""
        return tuple(node.get_friendly_name() for node in self.nodes)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (output channels, or tokens) and channels, along which groups lie."""
        first, second = (int(length) for length in self.constant.shape)
        return (second, first) if self.transposed else (first, second)

    @property
    def size_bytes(self) -> int:
        """What the constant takes as it is."""
        rows, channels = self.shape
        return rows * channels * int(self.constant.get_element_type().bitwidth) // 8

    def values(self) -> Array:
        """Return the weights as f32, shape (rows, channels)."""
        import numpy as np

        data: Array = self.constant.get_data(dtype=np.float32)
        return np.ascontiguousarray(data.T) if self.transposed else data


def find_matrices(model: Any) -> list[Matrix]:
    """Return the matrices of a model in the order in which they are used, each constant once."""
    found: dict[str, Matrix] = {}
    for node, constant in _reads(model):
        name = constant.get_friendly_name()
        before = found[name].nodes if name in found else ()
        found[name] = Matrix(constant, (*before, node), _is_transposed(node))
    return list(found.values())


def _reads(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each operation that has a float matrix as its weight, and the constant."""
    for node in model.get_ordered_ops():
        port = WEIGHT_PORTS.get(node.get_type_name())
        if port is None:
            continue
        source = node.input_value(port).get_node()
        if source.get_type_name() == "Convert":
            source = source.input_value(0).get_node()
        if _is_float_matrix(source) and node.get_output_partial_shape(0).rank.is_static:
            yield node, source


def _is_float_matrix(node: Any) -> bool:
    return (
        node.get_type_name() == "Constant"
        and node.get_element_type().get_type_name() in FLOATS
        and len(node.shape) == 2
        and min(node.shape) > 1
    )


def _is_transposed(node: Any) -> bool:
    """Return whether the rows of the constant are input channels, as in GPT-2."""
    return node.get_type_name() == "MatMul" and not node.get_attributes()["transpose_b"]
