"""How an IR stores its weights: the precision, groups and zero points of each, read from its XML.

Nothing is loaded: types, shapes and who reads whom stand in the XML, and so do the arguments that
NNCF was called with (`rt_info`).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path

from ovrecipe.builtin.ir import IR_XML, SMALLEST_WEIGHT
from ovrecipe.errors import StageError
from ovrecipe.types import Json

#: On which inputs an operation may have its weight, the usual one first.
WEIGHT_PORTS = {"MatMul": (1, 0), "Gather": (0,), "Convolution": (1,), "GroupConvolution": (1,)}
#: What stands between a weight and its reader and changes no value.
PASSING = ("Convert", "Reshape", "Transpose")
#: Numbers that count and index.
NO_WEIGHTS = ("i64", "i32", "boolean")
FLOATS = ("f64", "f32", "f16", "bf16")
#: How NNCF calls the low-rank matrices of `lora_correction`, and the indexes into a codebook.
ADAPTER, INDEXES = re.compile(r"_lora_[AB]$"), "_nncf_codebook_idxs"


@dataclass(frozen=True)
class StoredWeight:
    """One weight; `readers` are (type, name) of the operations that use it, tied ones are two.

    `group_size` is -1 with one scale per channel and None for a float without scale; `channels`
    is how many weights of a row there are where it has groups.
    """

    name: str
    dtype: str
    elements: int
    group_size: int | None = None
    channels: int | None = None
    has_zero_point: bool = False
    readers: tuple[tuple[str, str], ...] = ()
    #: The channels that a matrix product with it writes; 0 where none reads it.
    outputs: int = 0

    @property
    def kind(self) -> str:
        """What kind of layer it is in: `self_attn.q_proj`, `embed_tokens`."""
        module = self.readers[0][1].split("/")[0].removeprefix("__module.")
        _, number, inner = re.sub(r"\.\d+\.", ".#.", module).partition(".#.")
        return inner.replace("#", "*") if number else module.rpartition(".")[2]

    def has_groups_of(self, size: int) -> bool:
        """Return whether it has such groups; one that is all of a row is one per channel too."""
        return self.group_size == size or (size == -1 and self.group_size == self.channels)


@dataclass(frozen=True)
class Stored:
    """What the XML of an IR says: its weights in the order of use, and NNCF's arguments."""

    weights: tuple[StoredWeight, ...]
    adapters: int
    #: Of the last call of `nncf.compress_weights`, as text; empty when there was none.
    nncf: Mapping[str, str]
    #: Versions by the names that optimum and NNCF note them under.
    made_with: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Json]:
        """Return the share of the weights at each precision, in all and by kind of layer."""
        dtypes: dict[str, list[StoredWeight]] = defaultdict(list)
        kinds: dict[str, Counter[str]] = defaultdict(Counter)
        for weight in self.weights:
            dtypes[weight.dtype].append(weight)
            kinds[weight.kind][weight.dtype] += weight.elements
        total = sum(weight.elements for weight in self.weights)
        return {
            "precisions": {name: _described(found, total) for name, found in dtypes.items()},
            "kinds": {kind: _shares(counts) for kind, counts in kinds.items()},
        }


def _described(weights: Sequence[StoredWeight], total: int) -> dict[str, Json]:
    elements = sum(weight.elements for weight in weights)
    facts: dict[str, Json] = {"share": round(elements / total, 4), "weights": len(weights)}
    scaled = [weight for weight in weights if weight.group_size is not None]
    if scaled:
        sizes = Counter(str(weight.group_size) for weight in scaled)
        facts |= {
            "group_sizes": dict(sizes),
            "sym": not any(weight.has_zero_point for weight in scaled),
        }
    return facts


def _shares(elements: Counter[str]) -> dict[str, Json]:
    return {dtype: round(count / elements.total(), 4) for dtype, count in elements.items()}


def read_stored(folder: Path) -> Stored:
    """Return how the IR of a folder stores its weights.

    Raises:
        StageError: its XML cannot be read.
    """
    try:
        root = ET.parse(folder / IR_XML).getroot()  # noqa: S314 - expat limits what entities expand to
    except (OSError, ET.ParseError) as error:
        raise StageError(f"{IR_XML} cannot be read: {error}") from error
    graph = _Graph(root)
    found: dict[str, StoredWeight] = {}
    for kind, name, weight in graph.reads():
        before = found.setdefault(weight.name, weight)
        readers = (*before.readers, (kind, name))
        found[weight.name] = replace(
            before, readers=readers, outputs=before.outputs or weight.outputs
        )
    adapters = [name for name in found if ADAPTER.search(name)]
    weights = tuple(weight for name, weight in found.items() if name not in adapters)
    arguments = _values(root.find("rt_info/nncf/weight_compression"))
    return Stored(weights, len(adapters), arguments, _values(root.find("rt_info/optimum")))


def _values(element: ET.Element | None) -> dict[str, str]:
    """Return what is noted below an element; an ignored scope's as `ignored_scope.patterns`."""
    found: dict[str, str] = {}
    for child in () if element is None else element:
        found |= {f"{child.tag}.{inner.tag}": inner.get("value", "") for inner in child}
        if "value" in child.attrib:
            found[child.tag] = child.attrib["value"]
    return found


@dataclass(frozen=True)
class _Trace:
    """A chain of operations up to a constant: what it is, and what it is scaled by."""

    constant: ET.Element
    scale: ET.Element | None = None
    zero_point: ET.Element | None = None
    is_reshaped: bool = False

    @property
    def elements(self) -> int:
        return prod(_shape(self.constant))


@dataclass
class _Graph:
    """The layers of an IR by their ids, without the bodies of loops and branches."""

    root: ET.Element
    _traced: dict[tuple[str, int], _Trace | None] = field(default_factory=dict)

    @cached_property
    def _layers(self) -> dict[str, ET.Element]:
        return {layer.attrib["id"]: layer for layer in self.root.iterfind("layers/layer")}

    @cached_property
    def _sources(self) -> dict[str, list[str]]:
        """The ids of what a layer reads, in the order of its inputs."""
        ports: dict[str, dict[int, str]] = defaultdict(dict)
        for edge in self.root.iterfind("edges/edge"):
            ports[edge.attrib["to-layer"]][int(edge.attrib["to-port"])] = edge.attrib["from-layer"]
        return {layer: [read[port] for port in sorted(read)] for layer, read in ports.items()}

    def reads(self) -> Iterator[tuple[str, str, StoredWeight]]:
        """Yield type and name of each operation that has a weight, and the weight."""
        for number, layer in self._layers.items():
            for port in WEIGHT_PORTS.get(layer.attrib["type"], ()):
                trace = self._trace(number, port)
                if trace is not None and _is_weight(trace):
                    kind, weight = layer.attrib["type"], _weight(trace)
                    if kind == "MatMul":
                        weight = replace(weight, outputs=_last_dimension(layer))
                    yield kind, layer.attrib["name"], weight
                    break

    def _trace(self, number: str, port: int) -> _Trace | None:
        """Return the constant behind an input; None where it is no constant, but computed."""
        place = number, port
        if place not in self._traced:
            sources = self._sources.get(number, [])
            self._traced[place] = self._traced_to(sources[port]) if port < len(sources) else None
        return self._traced[place]

    def _traced_to(self, number: str) -> _Trace | None:
        layer = self._layers[number]
        kind = layer.attrib["type"]
        if kind == "Const":
            return _Trace(layer)
        if kind not in (*PASSING, "Multiply", "Subtract", "Gather"):
            return None
        first = self._trace(number, 0)
        if first is None:
            return None
        if kind in PASSING:
            return replace(first, is_reshaped=first.is_reshaped or kind == "Reshape")
        second = self._trace(number, 1)
        if second is None:
            return None
        if kind == "Gather":  # values of a codebook
            return second
        weight, other = sorted((first, second), key=lambda trace: -trace.elements)
        if kind == "Multiply":
            return replace(weight, scale=other.constant)
        return replace(weight, zero_point=other.constant)


def _last_dimension(layer: ET.Element) -> int:
    """Return the last dimension of what an operation writes; 0 where it is open."""
    sizes = [int(dim.text or 0) for dim in layer.iterfind("output/port/dim")]
    return max(sizes[-1], 0) if sizes else 0


def _is_weight(trace: _Trace) -> bool:
    return trace.elements >= SMALLEST_WEIGHT and _dtype(trace.constant) not in NO_WEIGHTS


def _weight(trace: _Trace) -> StoredWeight:
    zero_point = trace.zero_point
    group_size, channels = _groups(trace)
    return StoredWeight(
        name=trace.constant.attrib["name"].removesuffix(INDEXES),
        dtype=_dtype(trace.constant),
        elements=trace.elements,
        group_size=group_size,
        channels=channels,
        # One number for all is how unsigned integers store what is symmetric.
        has_zero_point=zero_point is not None and prod(_shape(zero_point)) > 1,
    )


def _groups(trace: _Trace) -> tuple[int | None, int | None]:
    """Return the size of the groups and the channels that they divide.

    Grouped weights have an axis more, along which there is one scale, and are reshaped behind it.
    """
    if trace.scale is None:
        return None, None
    shape, scale = _shape(trace.constant), _shape(trace.scale)
    if not trace.is_reshaped or len(shape) != len(scale):
        return -1, None
    axis = next((n for n, size in enumerate(shape) if size > 1 and scale[n] == 1), None)
    if axis is None:
        return -1, None
    return shape[axis], shape[axis] * shape[axis - 1]


def _dtype(constant: ET.Element) -> str:
    data = constant.find("data")
    return "" if data is None else data.get("element_type", "")


def _shape(constant: ET.Element) -> tuple[int, ...]:
    data = constant.find("data")
    text = "" if data is None else data.get("shape", "")
    return tuple(int(size) for size in text.split(",") if size.strip())
