"""LoRA adapters in safetensors files: what they change, and whether a model has all of it.

GenAI passes over what does not fit a model without a word, so that is found here. Only headers are
read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrecipe.builtin.checkpoint import read_header
from ovrecipe.builtin.stored import read_stored
from ovrecipe.errors import RecipeInvalid
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.json_files import read_object
from ovrecipe.wording import counted

#: PEFT's files in a folder.
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
#: The two matrices of a module, as PEFT and as diffusers call them.
TENSOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>A|B|down|up)(\.default)?\.weight")
PREFIXES = ("base_model.model.", "module.")
FLOATS = {"F32", "F16", "BF16"}
#: How many tensors a message names.
NAMED = 3


@dataclass(frozen=True)
class AdapterFile:
    """An adapter: what each module is changed by, as (inputs, outputs), and how much of it."""

    path: Path
    modules: Mapping[str, tuple[int, int]]
    #: What it is multiplied by.
    alpha: float
    base_model: str | None = None


def read_adapter(path: Path, *, alpha: float | None = None) -> AdapterFile:
    """Return what a safetensors file, or PEFT's folder, holds; `alpha` counts in place of PEFT's.

    Raises:
        CheckpointIncomplete: the file is missing, cut off, damaged or something else.
        RecipeInvalid: it is no LoRA adapter.
    """
    file = path / WEIGHTS if path.is_dir() else path
    config = read_object(file.parent / CONFIG, error=RecipeInvalid)
    kind = config.get("peft_type", "LORA")
    if kind != "LORA" or config.get("use_dora"):
        raise _refused(file, f"holds {'DoRA' if kind == 'LORA' else kind}; only LoRA is applied")
    base_model = config.get("base_model_name_or_path")
    return AdapterFile(
        path=file,
        modules=_modules(file, read_header("adapter", file)),
        alpha=_alpha(file, config) if alpha is None else alpha,
        base_model=str(base_model) if base_model else None,
    )


def _refused(file: Path, reason: str, remedy: str | None = None) -> RecipeInvalid:
    return RecipeInvalid(f"adapter {file.name}: {reason}", remedy=remedy)


def _alpha(file: Path, config: Mapping[str, Any]) -> float:
    """Return PEFT's scaling of an adapter; 1 where nothing says it."""
    alpha, rank = config.get("lora_alpha"), config.get("r")
    if alpha is None or rank is None:
        return 1.0
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        reason = "has another alpha or rank for some modules, and GenAI takes one for all"
        raise _refused(file, reason, "give 'alpha' in the recipe if they are the same after all")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else float(rank))


def _modules(file: Path, tensors: Iterable[WeightShape]) -> dict[str, tuple[int, int]]:
    """Return the modules that an adapter changes, each with its inputs and outputs."""
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in tensors:
        found = TENSOR.fullmatch(tensor.name)
        if found is None or tensor.dtype not in FLOATS or len(tensor.shape) != 2:
            what = f"{tensor.name} ({tensor.dtype}, {list(tensor.shape)})"
            raise _refused(file, f"the tensor {what} is no matrix of a LoRA adapter")
        module = found["module"]
        for prefix in PREFIXES:
            module = module.removeprefix(prefix)
        side = {"down": "A", "up": "B"}.get(found["side"], found["side"])
        sides.setdefault(module, {})[side] = tensor.shape
    if not sides:
        raise _refused(file, "holds no tensors")
    for module, found_sides in sides.items():
        if found_sides.keys() != {"A", "B"} or found_sides["A"][0] != found_sides["B"][1]:
            raise _refused(file, f"lora_A and lora_B of {module} do not fit together")
    return {module: (found["A"][1], found["B"][0]) for module, found in sides.items()}


def check_fits(adapter: AdapterFile, model_dir: Path) -> None:
    """Compare an adapter with the layers of an IR.

    Raises:
        RecipeInvalid: the model lacks a module, or has it in another shape; each is named.
    """
    layers = dict(_layers(model_dir))
    missing = [module for module in adapter.modules if module not in layers]
    other = [
        f"{module} is {_shape(layers[module])} in the model and {_shape(size)} in the adapter"
        for module, size in adapter.modules.items()
        if module in layers and layers[module] != size
    ]
    reasons = [f"the model has no {_some(missing)}"] if missing else []
    reasons += [_some(other)] if other else []
    if reasons:
        made_for = f", made for {adapter.base_model}," if adapter.base_model else ""
        raise _refused(
            adapter.path,
            f"it{made_for} does not fit: {'; '.join(reasons)}",
            "an adapter answers with the model that it was trained on, and no other",
        )


def _layers(model_dir: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the name of each layer of an IR with its inputs and outputs."""
    for weight in read_stored(model_dir).weights:
        for kind, name in weight.readers:
            if kind == "MatMul" and weight.outputs:
                module = name.partition("/")[0].removeprefix("__module.")
                yield module, (weight.elements // weight.outputs, weight.outputs)


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    rest = f" and {counted(more, 'other')}" if more > 0 else ""
    return f"{', '.join(names[:NAMED])}{rest}"
