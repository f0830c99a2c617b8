"""The JSON schema that editors complete and check recipes with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ovrecipe.recipe.schema import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping


DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "Recipe": {
        "extends": "the recipe in the same folder that this one is laid over",
        "description": "one line for people",
        "requires": "what must be installed",
        "model": "the checkpoint",
        "tokenizer": "who converts the tokenizer",
        "prompt": "how an instruction becomes the text that the model sees",
        "variants": "what to build; at least one",
        "generation": "parameters of generation",
        "check": "what a built variant must pass besides ovrecipe's own gates",
        "output": "what happens to the text before it is shown",
        "plugins": "settings of plugins, by plugin name, checked as each plugin declares",
    },
    "Requires": {
        "ovrecipe": 'versions of ovrecipe, as `">=0.1,<1"`',
        "plugins": ('versions of plugin distributions, as `{ovrecipe-awq: ">=0.2"}`; `""` is any'),
    },
    "Model": {
        "id": "where the checkpoint is",
        "revision": (
            "branch, tag or commit on the hub; resolved once to a commit, which "
            "`ovrecipe.lock` records"
        ),
        "trust_remote_code": "run Python code that the checkpoint brings",
        "allow_pickle": "accept weights in pickle files, which can run code when they are read",
        "exporter": (
            "who turns the checkpoint into OpenVINO's IR: a name, or `{name: {option: value}}`"
        ),
    },
    "Tokenizer": {
        "converter": "who converts the tokenizer: a name, or `{name: {option: value}}`",
    },
    "Prompt": {
        "template": "the text around `{instruction}`, and around `{system}` if `system` is given",
        "chat_template": (
            "`model` for the checkpoint's own, or a Jinja text; not together with `template`"
        ),
        "system": "the system message",
        "add_special_tokens": "let the tokenizer add its BOS; a template mostly writes it itself",
        "stop": "texts that end the answer and are not shown",
    },
    "Variant": {
        "precision": (
            "`fp16`, `int8`, `int4`, `nf4`, `cb4`, `mxfp4`, `mxfp8_e4m3`, `fp8_e4m3`, `fp4`"
            " or `nvfp4`"
        ),
        "optional": "build it only when it is named",
        "generation": (
            "generation parameters that this variant has otherwise; `null` takes one of the"
            " recipe's back"
        ),
        "passes": "several compressions, one after the other, each a mapping of the knobs below",
        "compressor": "who compresses",
        "options": "options of a plugin's compressor",
        "mode": "NNCF's mode by its name, as `int4_asym`",
        "sym": "symmetric weights, without zero point; int8 and int4 only",
        "group_size": (
            "weights that share a scale; `-1` is one scale per channel. Must divide every "
            "weight's channels"
        ),
        "ratio": (
            "share of the weights that get the precision, the others get `backup_mode`; "
            "above 0, at most 1"
        ),
        "all_layers": "compress embeddings and the last layer to the precision too",
        "backup_mode": "`none`, `int8_sym`, `int8_asym`, `mxfp8_e4m3` or `fp8_e4m3`",
        "ignored_scope": "weights that are left alone",
        "group_size_fallback": (
            "what to do where `group_size` does not divide: `error`, `ignore` or `adjust`"
        ),
        "sensitivity_metric": (
            "how `ratio` chooses weights; all but `weight_quantization_error` need `dataset`"
        ),
        "awq": "activation-aware scaling; works without `dataset` too",
        "scale_estimation": "fit scales to data; needs `dataset`",
        "gptq": "GPTQ; needs `dataset`; not with `lora_correction`",
        "lora_correction": "correct with low-rank adapters; needs `dataset`",
        "dataset": (
            "`generated` (text that the model writes itself), or a `.jsonl` or `.txt` file,"
            " relative to the recipe"
        ),
        "num_samples": "samples taken from `dataset`",
    },
    "IgnoredScope": {
        "names": "names of nodes",
        "patterns": "regular expressions over names",
        "types": "types of nodes",
        "validate": "it is an error when one of them matches nothing",
    },
    "Generation": {
        "max_new_tokens": "most tokens to generate; 256 when neither recipe nor call says a bound",
        "min_new_tokens": "no end before so many tokens",
        "max_length": "most tokens of prompt and answer together; `max_new_tokens` wins",
        "do_sample": "sample; implied by `temperature`, `top_p`, `top_k` and `min_p`",
        "temperature": "above 0; higher is more random",
        "top_p": "sample from the likeliest tokens that make up this probability",
        "top_k": "sample from so many tokens; 0 switches it off",
        "min_p": "drop tokens less likely than this share of the likeliest",
        "repetition_penalty": "above 1 makes repeated tokens less likely",
        "presence_penalty": "-2 to 2, for tokens that occurred",
        "frequency_penalty": "-2 to 2, for each time a token occurred",
        "no_repeat_ngram_size": "no group of so many tokens twice",
        "rng_seed": "seed of the sampling",
        "ignore_eos": "go on after the end token",
        "eos_token_id": "the end token",
        "stop_strings": "texts that end generation; `prompt.stop` is the usual place",
        "stop_token_ids": "tokens that end generation",
        "include_stop_str_in_output": "keep the text that stopped it",
        "num_beams": "beams of a beam search; 1 is none",
        "num_beam_groups": "groups of beams",
        "diversity_penalty": "difference between groups of beams",
        "length_penalty": "above 0 prefers long answers of a beam search",
        "stop_criteria": "`EARLY`, `HEURISTIC` or `NEVER`: when a beam search ends",
        "max_ngram_size": "longest match of prompt lookup",
        "echo": "return the prompt with the answer",
    },
    "Check": {
        "evaluators": "who judges, in order: a name, or `{name: {option: value}}`",
    },
    "Output": {
        "filters": "filters that the text passes, in order: a name, or `{name: {option: value}}`",
    },
    "ProviderSpec": {
        "name": "who does it",
        "options": "its options",
    },
}


FILE_NAME = "recipe.schema.json"
#: The first line of every recipe; editors with a YAML language server follow it.
MODELINE = f"# yaml-language-server: $schema={FILE_NAME}"


def recipe_json_schema() -> dict[str, Any]:
    """Return the schema of a recipe file, which is the Recipe class seen from a file."""
    schema = Recipe.model_json_schema(by_alias=True)
    for key in ("name", "path"):
        del schema["properties"][key]
    schema["title"] = "ovrecipe recipe"
    schema["description"] = "One model, its prompt, and the variants to build from it."
    # What a recipe extends may have the model and the variants.
    schema["required"] = []
    schema["anyOf"] = [{"required": ["model", "variants"]}, {"required": ["extends"]}]
    definitions = schema["$defs"]
    definitions["Model"]["required"] = []
    _let_the_name_say_the_precision(schema, definitions["Variant"])
    definitions["Output"]["properties"]["filters"]["items"] = {"anyOf": _ways_to_name()}
    definitions["Check"]["properties"]["evaluators"]["items"] = {"anyOf": _ways_to_name()}
    exporter = {"anyOf": _ways_to_name(), "default": "optimum"}
    definitions["Model"]["properties"]["exporter"] = exporter
    converter = {"anyOf": _ways_to_name(), "default": "openvino"}
    definitions["Tokenizer"]["properties"]["converter"] = converter
    _describe({**definitions, "Recipe": schema})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(recipe_json_schema(), indent=2, ensure_ascii=False) + "\n"


def _let_the_name_say_the_precision(schema: dict[str, Any], variant: dict[str, Any]) -> None:
    variant["required"] = []
    variants = schema["properties"]["variants"]
    for key in ("additionalProperties", "patternProperties"):
        variants.pop(key, None)
    variants["minProperties"] = variants.pop("minLength")
    variants["additionalProperties"] = {"anyOf": [{"$ref": "#/$defs/Variant"}, {"type": "null"}]}


def _ways_to_name() -> list[dict[str, Any]]:
    """Return how a provider may be named: by its name, or with options in two ways."""
    one_pair = {"minProperties": 1, "maxProperties": 1, "not": {"required": ["name"]}}
    with_options = {"type": "object", "additionalProperties": {"type": ["object", "null"]}}
    name = {"type": "string", "minLength": 1}
    return [name, {"$ref": "#/$defs/ProviderSpec"}, {**with_options, **one_pair}]


def _describe(sections: dict[str, Any]) -> None:
    """Put the manual's words on every key; drop titles and the defaults of whole sections."""
    words = {**DESCRIPTIONS, "CompressionPass": DESCRIPTIONS["Variant"]}
    for name, section in sections.items():
        section["description"] = section["description"].split("\n\n")[0]
        for key, value in section["properties"].items():
            value.pop("title", None)
            if isinstance(value.get("default"), dict) or value.get("default", 0) is None:
                del value["default"]
            value["description"] = words[name][key]
