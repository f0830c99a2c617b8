"""The text of a new recipe for a model that has none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ovrecipe.recipe.json_schema import MODELINE
from ovrecipe.recipe.schema import split_model_id
from ovrecipe.recipe.sections import name_objection

#: What optimum-intel gives a model that it has no tuned values for.
GENERAL_INT4: Mapping[str, Any] = {"sym": False, "group_size": 128, "ratio": 1.0}
#: optimum-intel's words for knobs that NNCF calls otherwise.
_SAME_NAME = (
    "sym",
    "group_size",
    "ratio",
    "all_layers",
    "scale_estimation",
    "gptq",
    "lora_correction",
    "sensitivity_metric",
    "group_size_fallback",
    "ignored_scope",
    "num_samples",
)


def draft_name(model_id: str) -> str:
    """Return a recipe name for a model id: its last part, in small letters."""
    last = re.split(r"[/\\:]", model_id.rstrip("/\\"))[-1].removesuffix(".gguf")
    name = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._") or "model"
    # A checkpoint may be called `con`; a recipe may not.
    return f"model-{name}" if name_objection(name) else name


def int4_knobs(tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Return optimum-intel's INT4 configuration in the words of a recipe.

    Its named data sets need a network, so data-aware methods get `dataset: generated` instead.
    A configuration of several compressions becomes `passes`.
    """
    parts = tuned.get("quantization_configs")
    if isinstance(parts, Mapping):
        tuned = parts.get("lm_model", {})
    if "quantization_config1" in tuned:
        steps = [tuned["quantization_config1"], tuned["quantization_config2"]]
        return {"passes": [_pass(step) for step in steps]}
    return _knobs(tuned)


def _pass(tuned: Mapping[str, Any]) -> dict[str, Any]:
    if tuned.get("bits") == 8:
        return {"mode": "int8_sym" if tuned.get("sym") else "int8_asym"}
    return _knobs(tuned)


def _knobs(tuned: Mapping[str, Any]) -> dict[str, Any]:
    knobs = {name: tuned[name] for name in _SAME_NAME if tuned.get(name) is not None}
    method = tuned.get("quant_method")
    if getattr(method, "value", method) == "awq":
        knobs["awq"] = True
    if tuned.get("backup_precision") is not None:
        knobs["backup_mode"] = tuned["backup_precision"]
    if tuned.get("dataset") is not None:
        knobs["dataset"] = "generated"
    return knobs


def draft_text(model_id: str, int4: Mapping[str, Any], reason: str) -> str:
    """Return a commented recipe; `reason` says in a comment where the INT4 values are from."""
    return "\n".join(_lines(model_id, int4, reason)) + "\n"


def _lines(model_id: str, int4: Mapping[str, Any], reason: str) -> Iterator[str]:
    yield MODELINE
    yield "# Every key is explained in docs/recipes.md; 'ovrecipe validate' checks this file."
    yield "model:"
    yield f"  id: {_flow(model_id)}"
    if split_model_id(model_id)[0] == "hub":
        yield "  # A branch, tag or commit; resolved once and recorded in ovrecipe.lock."
        yield "  # revision: main"
    yield "  # Only if the checkpoint brings its own Python code and you trust it."
    yield "  # trust_remote_code: true"
    yield "prompt:"
    yield "  # The checkpoint's own chat template. Without one, write the text it was tuned on:"
    yield '  # template: "Question: {instruction}\\nAnswer:"'
    yield "  chat_template: model"
    yield "variants:"
    yield "  fp16: {}"
    yield "  int8: {}"
    yield f"  # {reason}"
    yield f"  int4: {_flow(int4)}"
    yield "  # An NPU wants symmetric weights with one scale per channel."
    yield "  int4-npu: {sym: true, group_size: -1, ratio: 1.0, optional: true}"
    yield "generation: {max_new_tokens: 256}"


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style; JSON strings are YAML strings."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value):
        return json.dumps(value) if value.lower() in _NOT_PLAIN else value
    return json.dumps(value, ensure_ascii=False)


_NOT_PLAIN = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
