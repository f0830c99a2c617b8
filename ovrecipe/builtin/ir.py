"""Reading, writing, running and describing IRs, and the room that their weights take."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from ovrecipe.errors import StageError, foreign_errors
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.json_files import read_object
from ovrecipe.types import Json

IR_XML = "openvino_model.xml"
#: Constants with fewer elements are shapes, norms and scalars, not weights of a layer.
SMALLEST_WEIGHT = 1024
#: XML, tokenizer files, logs: what every model needs besides its weights.
SMALL_FILES_BYTES = 40_000_000
#: `model.layers.12.mlp...`, `transformer.h.3.attn...`, `blk.0...`: a layer's number in a name.
LAYER_NUMBER = re.compile(r"[./](\d+)[./]")
EMBEDDING = re.compile(r"emb|wte", re.IGNORECASE)
WIDTHS = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2}


def read_ir(folder: Path) -> Any:
    """Return the IR of a folder; its weights stay mapped from the file.

    Raises:
        StageError: OpenVINO cannot read it.
    """
    import openvino as ov

    with foreign_errors(f"reading {IR_XML}"):
        return ov.Core().read_model(folder / IR_XML)


def save_ir(model: Any, folder: Path, *, source_dir: Path, to_fp16: bool = False) -> None:
    """Write the IR into `folder`, which must not be where its weights are mapped from.

    Raises:
        StageError: it is the same folder; OpenVINO would truncate the file it reads (SIGBUS).
    """
    import openvino as ov

    if folder.resolve() == source_dir.resolve():
        raise StageError("an IR cannot be saved over the one that is being read")
    with foreign_errors(f"writing {IR_XML}"):
        ov.save_model(model, folder / IR_XML, compress_to_fp16=to_fp16)


def weight_facts(model: Any) -> dict[str, Json]:
    """Return how the weights are stored: layers and elements by dtype, and bits per weight.

    Scales and zero points are counted into the bits, not into the weights.
    """
    layers: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    bits = 0
    for node in _constants(model):
        bits += prod(node.shape) * int(node.get_element_type().bitwidth)
    for _, kind, size in _weights(model):
        layers[kind] += 1
        elements[kind] += size
    per_weight = round(bits / elements.total(), 3) if elements else None
    return {"layers": {**layers}, "weights": {**elements}, "bits_per_weight": per_weight}


def layer_weights(model: Any) -> dict[str, dict[str, int]]:
    """Return the elements by dtype of each layer: "embedding", "0", "1" and so on, "other".

    A layer's number is the first in the name of its weights, as exporters keep the checkpoint's.
    """
    found: dict[str, Counter[str]] = {}
    for name, kind, size in _weights(model):
        number = LAYER_NUMBER.search(name)
        layer = number[1] if number else "embedding" if EMBEDDING.search(name) else "other"
        found.setdefault(layer, Counter())[kind] += size

    def place(layer: str) -> tuple[bool, int]:
        return layer == "other", int(layer) if layer.isdecimal() else -1

    return {layer: {**found[layer]} for layer in sorted(found, key=place)}


def _constants(model: Any) -> Iterator[Any]:
    return (node for node in model.get_ops() if node.get_type_name() == "Constant")


def _weights(model: Any) -> Iterator[tuple[str, str, int]]:
    """Yield name, dtype and number of elements of each weight; scales and zero points are none."""
    for node in _constants(model):
        size, name = prod(node.shape), node.get_friendly_name()
        if size >= SMALLEST_WEIGHT and "/scale" not in name and "/zero_point" not in name:
            yield name, node.get_element_type().get_type_name(), size


#: What a model of texts takes.
MODEL_INPUTS = frozenset(
    {"input_ids", "attention_mask", "position_ids", "token_type_ids", "beam_idx"}
)


def model_inputs(tokens: Any, names: Collection[str], *, past: int = 0) -> dict[str, Any]:
    """Return tokens, (batch, tokens), as those of the inputs `names`; `past` were read before."""
    import numpy as np

    tokens = np.asarray(tokens, np.int64)
    batch, length = tokens.shape
    inputs = {
        "input_ids": tokens,
        "attention_mask": np.ones((batch, past + length), np.int64),
        "position_ids": np.tile(np.arange(past, past + length, dtype=np.int64), (batch, 1)),
        # One text, where a pair would have types 0 and 1.
        "token_type_ids": np.zeros((batch, length), np.int64),
        "beam_idx": np.arange(batch, dtype=np.int32),
    }
    return {name: value for name, value in inputs.items() if name in names}


#: Recurrent models, by `model_type`, whose IR computes rightly what it reads token by token. Of
#: several tokens at once it loses states that fade fast (mamba: 0.2 to 1.3 off in a logit, against
#: 2e-5), or those before the last chunk (zamba2, as transformers itself does), and their mask is
#: that of the tokens which are read, not of all that were (optimum-intel 2.2).
ONE_AT_A_TIME = frozenset({"mamba", "falcon_mamba", "zamba2"})
#: Where a token stands in a convolution that has its window full: its last place, however wide.
IN_A_FULL_WINDOW = 1 << 20


class StatefulModel:
    """An IR on a device that remembers which tokens it has read."""

    def __init__(
        self, folder: Path, properties: Mapping[str, Any] | None = None, *, device: str = "CPU"
    ) -> None:
        import openvino as ov

        compiled = ov.Core().compile_model(folder / IR_XML, device, {**(properties or {})})
        #: Whether it reads one token after the other, and not all of a text at once.
        self.one_at_a_time = read_object(folder / "config.json").get("model_type") in ONE_AT_A_TIME
        self.vocabulary_size = int(compiled.output("logits").get_partial_shape()[-1].get_length())
        self._inputs = {name for port in compiled.inputs for name in port.names}
        self._request = compiled.create_infer_request()
        self._past, self._copies = 0, 0

    def forget(self) -> None:
        """Begin with new texts."""
        self._request.reset_state()
        self._past, self._copies = 0, 0

    @property
    def can_copy(self) -> bool:
        """Whether one text can be gone on with in several ways."""
        return "beam_idx" in self._inputs

    def copy(self, rows: int) -> None:
        """Let what is read next, (rows, tokens), go on with the one text that was read."""
        self._copies = rows

    def logits(self, tokens: Any) -> Any:
        """Read more tokens, (batch, tokens); return logits, (batch, tokens, vocabulary)."""
        import numpy as np

        tokens = np.asarray(tokens, np.int64)
        if not self.one_at_a_time:
            return self._read(model_inputs(tokens, self._inputs, past=self._past))
        places = np.full(1, IN_A_FULL_WINDOW)
        beside = {"cache_position": places} if "cache_position" in self._inputs else {}
        said = [
            self._read({**model_inputs(column[:, None], self._inputs), **beside})
            for column in tokens.T
        ]
        return np.concatenate(said, axis=1)

    def _read(self, inputs: dict[str, Any]) -> Any:
        self._past += inputs["input_ids"].shape[1]
        if self._copies:
            inputs["beam_idx"][:] = 0
            self._copies = 0
        return self._request.infer(inputs)["logits"]


def base_bytes(tensors: Iterable[WeightShape]) -> int:
    """Return the size of the weights in the checkpoint's own dtype."""
    return sum(WIDTHS[tensor.dtype] * prod(tensor.shape) for tensor in tensors)


def vector_bytes(tensors: Iterable[WeightShape]) -> int:
    """Return the size of the norms and biases, which every variant keeps at f32."""
    return sum(4 * prod(tensor.shape) for tensor in tensors if len(tensor.shape) < 2)
