"""The probe: the base IR, compiled with a knob on each matrix that makes it err.

Behind every operation that reads a matrix the graph gets `y + alpha * rms(y) * noise`, which is
what rounding the matrix does to its output, with a strength that can be set from outside. So one
compiled model measures all of them, and no matrix is ever copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import StageError
from ovrecipe_budget.matrices import IR_XML, find_matrices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

KNOWN_INPUTS = ("input_ids", "attention_mask", "position_ids", "beam_idx")
#: The measuring must not see the rounding of the CPU's own bf16 or of a compressed KV cache.
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
#: Keeps a division by the power of an output that is zero from being one.
TINY = 1e-12


class Probe:
    """The base IR with its knobs, compiled; `operations` are the names they belong to."""

    def __init__(self, base_dir: Path) -> None:
        """Compile the base IR.

        Raises:
            StageError: the model reads something besides text.
        """
        import openvino as ov

        core = ov.Core()
        model = core.read_model(base_dir / IR_XML)
        self._inputs = _text_inputs(model)
        nodes = [node for matrix in find_matrices(model) for node in matrix.nodes]
        self.operations = tuple(node.get_friendly_name() for node in nodes)
        self.vocabulary_size = _last(model.output("logits"))
        self._widest = max((_last(node.output(0)) for node in nodes), default=1)
        self._powers = add_knobs(model, nodes)
        self._request = core.compile_model(model, "CPU", EXACT).create_infer_request()

    def reset(self) -> None:
        """Forget the text so far."""
        self._request.reset_state()

    def logits(
        self,
        ids: Numbers,
        *,
        past: int = 0,
        alphas: Numbers | None = None,
        noise: Numbers | None = None,
    ) -> Numbers:
        """Return the logits of new tokens, shape (batch, tokens, vocabulary).

        `past` counts the tokens before them; `alphas` are the knobs, one an operation; `noise`
        has the shape of `noise_shape(ids)`. Without the two the model is as it was.
        """
        import numpy as np

        batch, tokens = ids.shape
        known = {
            "input_ids": ids,
            "attention_mask": np.ones((batch, past + tokens), np.int64),
            "position_ids": np.tile(np.arange(past, past + tokens), (batch, 1)),
            "beam_idx": np.arange(batch, dtype=np.int32),
        }
        given = {name: known[name] for name in self._inputs}
        silent = np.zeros(len(self.operations), np.float32)
        given["alphas"] = silent if alphas is None else alphas.astype(np.float32)
        given["noise"] = np.zeros(self.noise_shape(ids), np.float32) if noise is None else noise
        return np.array(self._request.infer(given)["logits"])

    def noise_shape(self, ids: Numbers) -> tuple[int, int]:
        """Return one number for each token and output channel of the widest matrix."""
        return (ids.size, self._widest)

    def relative_powers(self) -> dict[str, Numbers]:
        """Return, of the last call, the power of each input channel relative to the output.

        It is averaged over tokens and known for multiplications only. Weighted with it, a sum of
        squared errors of the weights is the relative error of the output.
        """
        return {
            name: self._request.get_tensor(output).data.copy().reshape(-1)
            for name, output in self._powers.items()
        }


def add_knobs(model: Any, nodes: list[Any]) -> dict[str, str]:
    """Add the knobs, and an output with the relative power of each multiplication's input.

    Returns the outputs' names by the operations' names.
    """
    import openvino.opset13 as ops
    from openvino import Type

    alphas = ops.parameter([len(nodes)], Type.f32, name="alphas")
    noise = ops.parameter([-1, -1], Type.f32, name="noise")
    for parameter in (alphas, noise):
        _named(parameter, parameter.get_friendly_name())
    powers: dict[str, str] = {}
    for index, node in enumerate(nodes):
        if node.get_type_name() == "MatMul":
            powers[node.get_friendly_name()] = f"power_{index}"
            model.add_outputs([_named(_relative_power(node), f"power_{index}")])
        _add_knob(node, ops.gather(alphas, [index], 0), noise)
    model.add_parameters([alphas, noise])
    return powers


def _add_knob(node: Any, alpha: Any, noise: Any) -> None:
    """Put `y + alpha * rms(y) * noise` between an operation and those that read it."""
    import openvino.opset13 as ops

    output = node.output(0)
    readers = list(output.get_target_inputs())
    part = ops.slice(noise, [0], [_last(output)], [1], [1])
    shaped = ops.reshape(part, ops.shape_of(output), special_zero=False)
    rms = ops.sqrt(ops.reduce_mean(ops.multiply(output, output), [-1], keep_dims=True))
    move = ops.multiply(ops.multiply(shaped, rms), alpha)
    moved = ops.add(output, ops.convert_like(move, output))
    for reader in readers:
        reader.replace_source_output(moved.output(0))


def _relative_power(node: Any) -> Any:
    """Return the mean over tokens of x**2 / sum(y**2), shape (channels,)."""
    import openvino.opset13 as ops
    from openvino import Type

    given, output = node.input_value(0), node.output(0)
    strength = ops.reduce_sum(ops.multiply(output, output), [-1], keep_dims=True)
    relative = ops.divide(
        ops.multiply(given, given), ops.add(strength, ops.constant(TINY, Type.f32))
    )
    flat = ops.reshape(relative, [-1, _last(given)], special_zero=False)
    return ops.reduce_mean(flat, [0], keep_dims=False)


def _named(node: Any, name: str) -> Any:
    output = node.output(0)
    output.set_names({name})
    return output


def _last(output: Any) -> int:
    """Return the length of the last dimension, which weights make static."""
    return int(output.get_partial_shape()[-1].get_length())


def _text_inputs(model: Any) -> list[str]:
    """Return the names of the model's inputs.

    Raises:
        StageError: the model reads something besides text, so it cannot be tried without data.
    """
    names = [given.get_any_name() for given in model.inputs]
    unknown = sorted(set(names) - set(KNOWN_INPUTS))
    if unknown:
        raise StageError(
            f"the model has the inputs {', '.join(unknown)}, for which there is no data",
            remedy="only text models can have a budget; use 'compressor: nncf'",
        )
    return names
