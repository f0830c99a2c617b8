"""The recipe that would make an OpenVINO folder that is there already, as far as its files tell.

What optimum and NNCF note in `openvino_model.xml` says how the weights were compressed; where they
noted nothing, the weights themselves are looked at.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ovrecipe.build.requested import STORED_AS, outer_weights, precision_of_mode
from ovrecipe.builtin.ir import IR_XML
from ovrecipe.builtin.nncf_rules import CORRECTIONS, DATA_AWARE, FIXED_GROUP_SIZE, is_int8
from ovrecipe.builtin.stored import FLOATS, Stored, read_stored
from ovrecipe.errors import CheckpointNotFound, RecipeInvalid
from ovrecipe.json_files import CHAT_TEMPLATE, GENERATION_CONFIG, TOKENIZER_CONFIG, read_object
from ovrecipe.recipe.compression import GENERATED, PRECISIONS
from ovrecipe.recipe.schema import SAMPLING, GenerationParameters, split_model_id
from ovrecipe.store.manifest import MANIFEST

#: What NNCF takes where nothing is asked for, of what it notes by name.
DEFAULTS = {"backup_mode": "int8_asym", "sensitivity_metric": "weight_quantization_error"}
BASE_MODEL = re.compile(r"^base_model:[ \t]*(?:\n\s*-\s*)?[\"']?([^\s\"']+)", re.MULTILINE)


@dataclass
class Adopted:
    """What a recipe would say; `unknown` has a sentence for each thing that no file tells."""

    model_id: str
    precision: str
    knobs: dict[str, Any]
    chat_template: str | None
    generation: dict[str, Any]
    #: Versions of what made it, by the names that optimum and NNCF give them.
    made_with: Mapping[str, str]
    unknown: list[str] = field(default_factory=list)


def adopt(folder: Path, model_id: str | None = None) -> Adopted:
    """Return the recipe of a folder; `model_id` goes before what its files name.

    Raises:
        CheckpointNotFound: it has no IR.
        RecipeInvalid: its files do not name the model, or say what no recipe can.
    """
    if not (folder / IR_XML).is_file():
        raise CheckpointNotFound(
            f"{folder} has no {IR_XML}, so it is no OpenVINO model",
            remedy="give the folder that optimum-cli wrote with '--task text-generation-with-past'",
        )
    stored, unknown = read_stored(folder), list[str]()
    found = model_id or _model_id(folder, unknown)
    if split_model_id(found)[0] == "hub":
        unknown.append("the model's revision: 'main' is taken")
    precision, knobs = _noted(stored, unknown) if stored.nncf else _measured(stored, unknown)
    if read_object(folder / "config.json").get("auto_map"):
        unknown.append("whether you trust the model's own code, which config.json names")
    return Adopted(
        found,
        precision,
        knobs,
        _chat_template(folder, unknown),
        _generation(folder, unknown),
        stored.made_with,
        unknown,
    )


def _model_id(folder: Path, unknown: list[str]) -> str:
    """Return what config.json, the model card or ovrecipe's manifest calls the model."""
    of_manifest = read_object(folder / MANIFEST).get("key", {}).get("model", {}).get("id")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    named = BASE_MODEL.search(text)
    candidates = {
        "config.json": read_object(folder / "config.json").get("_name_or_path"),
        "README.md": named[1] if named else None,
        MANIFEST: of_manifest,
    }
    for file, model_id in candidates.items():
        if isinstance(model_id, str) and model_id:
            if split_model_id(model_id)[0] in ("local", "gguf"):
                unknown.append(f"where the model is: {file} says {model_id}, a path of its maker")
            return model_id
    raise RecipeInvalid(
        f"{folder}: no file says which model it was made from",
        remedy="name it with --model-id, as ORG/NAME on the hub",
    )


def _noted(stored: Stored, unknown: list[str]) -> tuple[str, dict[str, Any]]:
    """Return precision and knobs as NNCF noted its arguments."""
    noted, mode = stored.nncf, stored.nncf.get("mode", "")
    precision, knobs = precision_of_mode(mode), dict[str, Any]()
    if precision not in PRECISIONS:
        raise RecipeInvalid(f"NNCF's mode was {mode!r}, which no recipe has")
    if mode.startswith("int4") or mode == "int8_sym":
        knobs["sym"] = not mode.endswith("_asym")
    if not is_int8(mode):
        knobs |= _low_bit(noted, mode, unknown)
    scope = {
        key: ast.literal_eval(noted[f"ignored_scope.{key}"])
        for key in ("names", "patterns", "types")
        if noted.get(f"ignored_scope.{key}", "[]") != "[]"
    }
    if scope:
        knobs["ignored_scope"] = scope
    backup = precision_of_mode(noted.get("backup_mode", ""))
    explained = {*STORED_AS[precision], *STORED_AS.get(backup, ()), *FLOATS}
    other = Counter(one.dtype for one in stored.weights if one.dtype not in explained)
    if other:
        left = ", ".join(f"{dtype} ({count})" for dtype, count in other.items())
        unknown.append(f"an earlier pass, which made weights {left}: NNCF notes only the last")
    return precision, knobs


def _low_bit(noted: Mapping[str, str], mode: str, unknown: list[str]) -> dict[str, Any]:
    """Return the knobs that INT8 has not; what is NNCF's default is left out."""
    knobs: dict[str, Any] = {"ratio": float(noted.get("ratio", "1"))}
    if mode not in FIXED_GROUP_SIZE:
        knobs = {"group_size": int(noted.get("group_size", "-1")), **knobs}
    knobs |= {name: True for name in ("all_layers", *CORRECTIONS) if noted.get(name) == "True"}
    knobs |= {name: noted[name] for name, own in DEFAULTS.items() if noted.get(name, own) != own}
    if knobs["ratio"] == 1:
        knobs.pop("sensitivity_metric", None)
    advanced = ast.literal_eval(noted.get("advanced_parameters", "{}"))
    fallback = advanced.get("group_size_fallback_mode", "error")
    if fallback != "error":
        knobs["group_size_fallback"] = fallback
    if "sensitivity_metric" in knobs or knobs.keys() & {*DATA_AWARE}:
        knobs["dataset"] = GENERATED
        unknown.append(f"the data set that NNCF was given: '{GENERATED}' stands in for it")
    elif "awq" in knobs:
        unknown.append("whether awq was given data; it is written without")
    return knobs


def _measured(stored: Stored, unknown: list[str]) -> tuple[str, dict[str, Any]]:
    """Return precision and knobs as the weights themselves show them."""
    scaled = [one for one in stored.weights if one.group_size is not None]
    if not scaled:
        floats = Counter(one.dtype for one in stored.weights)
        if set(floats) - {"f16"}:
            unknown.append(f"a variant for weights in {', '.join(sorted(floats))}: fp16 is nearest")
        return "fp16", {}
    unknown.append("NNCF's arguments, which are not noted: read from the weights themselves")
    low = [one for one in scaled if one.dtype not in STORED_AS["int8"]] or scaled
    dtype = Counter(one.dtype for one in low).most_common(1)[0][0]
    precision = next((name for name, stored_as in STORED_AS.items() if dtype in stored_as), None)
    if precision is None:
        raise RecipeInvalid(f"weights are stored as {dtype}, which no recipe has")
    if precision == "int8":
        return precision, {} if low[0].has_zero_point else {"sym": True}
    outer = outer_weights(stored)
    inner = sum(one.elements for one in stored.weights if one not in outer)
    share = sum(one.elements for one in low if one not in outer) / inner if inner else 1.0
    size = Counter(one.group_size for one in low).most_common(1)[0][0]
    knobs = {"group_size": size, "ratio": min(round(share, 2), 1.0)}
    return precision, {"sym": not low[0].has_zero_point, **knobs} if precision == "int4" else knobs


def _chat_template(folder: Path, unknown: list[str]) -> str | None:
    """Return the folder's chat template; it is written out, for the model's may be another one."""
    path = folder / CHAT_TEMPLATE
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = read_object(folder / TOKENIZER_CONFIG).get("chat_template")
    if isinstance(template, list):
        template = next((one["template"] for one in template if one["name"] == "default"), None)
    if not isinstance(template, str):
        unknown.append("the prompt: no chat template is in the folder, so the text goes as it is")
        return None
    return template


def _generation(folder: Path, unknown: list[str]) -> dict[str, Any]:
    """Return the parameters of generation_config.json, without the checkpoint's own tokens."""
    config, found = read_object(folder / GENERATION_CONFIG), dict[str, Any]()
    for name in GenerationParameters.model_fields:
        value = config.get(name)
        idle = name in SAMPLING and not config.get("do_sample")
        if value is None or idle or name == "eos_token_id":
            continue
        try:
            GenerationParameters.model_validate({name: value})
        except ValidationError:
            unknown.append(f"generation parameter {name}: {value!r} is none that a recipe takes")
        else:
            found[name] = value
    return found
