"""What each layer of a model makes of the probes: damage that the model's end hardly shows.

One matrix that was lost, or two that changed places, may move an embedding no further than four
bits do. But of what that matrix itself gives nothing is left: its texts' differences are lost as a
whole, of which honest compression loses a part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ovrecipe.builtin.ir import IR_XML, SMALLEST_WEIGHT, read_ir
from ovrecipe.errors import foreign_errors
from ovrecipe.measure.likeness import lost
from ovrecipe.measure.models import EXACTLY
from ovrecipe.measure.readings import results
from ovrecipe.measure.reference import stored_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = Mapping[str, NDArray[np.float32]]

FILE = "layers.npz"
#: What stands between stored weights and the product that they are used in.
DEQUANTIZATION = frozenset({"Convert", "Subtract", "Multiply", "Reshape", "Transpose"})
#: A layer whose rows differ by less of their size makes the same of every text.
LEAST_SPREAD = 1e-6


class Worst(NamedTuple):
    """What the layer that lost most has lost, and which layer to look at, by its product's name."""

    lost: float
    layer: str


def layers_of(
    model_dir: Path,
    inputs: Sequence[Mapping[str, Sequence[int]]],
    names: Sequence[str] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Return what each layer makes of each probe, the mean over its tokens, (probes, size).

    Layers are products with weights by name: those of the IR that are compared (`compared_layers`),
    or those of `names` that it has.

    Raises:
        StageError: OpenVINO cannot open or run the model.
    """
    import numpy as np
    import openvino as ov

    model = read_ir(model_dir)
    with foreign_errors(f"running {IR_XML} with the outputs of its layers"):
        products = {
            node.get_friendly_name(): node
            for node in model.get_ordered_ops()
            if node.get_type_name() == "MatMul"
        }
        asked = compared_layers(products) if names is None else [n for n in names if n in products]
        first = len(model.outputs)
        model.add_outputs([products[name].output(0) for name in asked])
        compiled = ov.Core().compile_model(model, "CPU", {**EXACTLY})
        rows: dict[str, list[Any]] = {name: [] for name in asked}
        for result in results(compiled, inputs):
            for number, name in enumerate(asked, start=first):
                found = result[number]
                rows[name].append(found.reshape(-1, found.shape[-1]).mean(axis=0))
    return {name: np.array(found, np.float32) for name, found in rows.items()}


def compared_layers(products: Mapping[str, Any]) -> list[str]:
    """Return the names of the products with weights whose rows are compared.

    Not of those that only gate another one: AWQ moves scales from one to the next, and what they
    lose the next one shows. Nor of one that is the model's output, which is compared by itself.
    """
    return [name for name, node in products.items() if _has_weights(node) and _is_inside(node)]


def _has_weights(product: Any) -> bool:
    node = product.input_value(1).get_node()
    while node.get_type_name() in DEQUANTIZATION:
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant" and math.prod(node.shape) >= SMALLEST_WEIGHT)


def _is_inside(product: Any) -> bool:
    readers = product.output(0).get_target_inputs()
    kinds = {reader.get_node().get_type_name() for reader in readers}
    return "Result" not in kinds and kinds != {"Multiply"}


def worst_layer(source: Rows, found: Rows, limit: float) -> Worst | None:
    """Return what was lost most of what a layer of the source makes; one that is missing lost all.

    What is behind a damaged layer may lose more than it, so named is the first that lost more than
    `limit`; where none did, the one that lost most.

    What all texts have in common is left out on both sides: layers of decoders make large numbers
    that are the same for every text, and four bits move these further than texts are apart. None
    where no layer makes something of one text that it does not make of another.
    """
    import numpy as np

    shares = {}
    for name, rows in source.items():
        apart = _apart(rows)
        if float(np.square(apart).sum()) > LEAST_SPREAD * float(np.square(rows).sum()):
            shares[name] = lost(apart, _apart(found[name])) if name in found else math.inf
    if not shares:
        return None
    most = max(shares, key=lambda name: shares[name])
    beyond = (name for name, share in shares.items() if share > limit)
    return Worst(shares[most], next(beyond, most))


def _apart(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows without what they have in common."""
    import numpy as np

    return np.asarray(rows - rows.mean(axis=0), np.float32)


def save_layers(rows: Rows, folder: Path) -> None:
    """Write `layers.npz` into a folder."""
    import numpy as np

    # Names are values and not keys: they may have slashes, which files in an archive have not.
    arrays: dict[str, Any] = {
        f"rows_{number:05}": found for number, found in enumerate(rows.values())
    }
    np.savez(folder / FILE, names=np.array(list(rows)), **arrays)


def load_layers(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Read `layers.npz` of a folder.

    Raises:
        ArtifactCorrupt: it is damaged.
    """
    with stored_arrays(folder / FILE) as kept:
        names = [str(name) for name in kept["names"]]
        return {name: kept[f"rows_{number:05}"] for number, name in enumerate(names)}
