"""What helps to write recipes: a draft for a new model, and the JSON schema for editors."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovrecipe.json_files import read_object
from ovrecipe.recipe.compression import GENERATED, CompressionPass
from ovrecipe.recipe.project import name_objection
from ovrecipe.recipe.schema import FROM_THE_FILE, Recipe, split_model_id
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TaskName

FILE_NAME = "recipe.schema.json"
#: The first line of every recipe; editors with a YAML language server follow it.
MODELINE = f"# yaml-language-server: $schema={FILE_NAME}"

#: What optimum-intel gives a model that it has no tuned values for.
GENERAL_INT4: Mapping[str, Any] = {"sym": False, "group_size": 128, "ratio": 1.0}
#: Words that are no text in YAML 1.1 or 1.2.
_NOT_PLAIN = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")


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
        steps = (tuned["quantization_config1"], tuned["quantization_config2"])
        return {"passes": [_knobs(step) for step in steps]}
    return _knobs(tuned)


def _knobs(tuned: Mapping[str, Any]) -> dict[str, Any]:
    if tuned.get("bits") == 8:
        return {"mode": "int8_sym" if tuned.get("sym") else "int8_asym"}
    names = (name for name in CompressionPass.model_fields if tuned.get(name) is not None)
    knobs = {name: tuned[name] for name in names}
    method = tuned.get("quant_method")
    if getattr(method, "value", method) == "awq":
        knobs["awq"] = True
    if tuned.get("backup_precision") is not None:
        knobs["backup_mode"] = tuned["backup_precision"]
    return {**knobs, "dataset": GENERATED} if "dataset" in knobs else knobs


def task_of(checkpoint_dir: Path) -> TaskName:
    """Return what a checkpoint is for, by the files that its authors' libraries read."""
    if (checkpoint_dir / "modules.json").is_file():
        return EMBEDDING  # of sentence-transformers
    named = read_object(checkpoint_dir / "config.json").get("architectures")
    first = str(named[0]) if isinstance(named, list) and named else ""
    return RERANK if first.endswith("ForSequenceClassification") else GENERATION


def draft_text(
    model_id: str, int4: Mapping[str, Any], reason: str, task: TaskName = GENERATION
) -> str:
    """Return a commented recipe; `reason` says in a comment where the INT4 values are from."""
    revision = """
  # A branch, tag or commit; resolved once and recorded in ovrecipe.lock.
  # revision: main"""
    named = "" if task == GENERATION else f"task: {task}\n"
    before, behind = SECTIONS[task]
    npu = """
  # An NPU wants symmetric weights with one scale per channel.
  int4-npu: {sym: true, group_size: -1, ratio: 1.0, optional: true}"""
    return f"""\
{MODELINE}
# Every key is explained in docs/recipes.md; 'ovrecipe validate' checks this file.
{named}model:
  id: {flow(model_id)}{revision if split_model_id(model_id)[0] == "hub" else ""}
  # Only if the checkpoint brings its own Python code and you trust it.
  # trust_remote_code: true
{before}variants:
  fp16: {{}}
  int8: {{}}
  # {reason}
  int4: {flow(int4)}{npu if task == GENERATION else ""}
{behind}"""


#: What a recipe for each task has before and behind its variants.
SECTIONS: Mapping[TaskName, tuple[str, str]] = {
    GENERATION: (
        """\
prompt:
  # The checkpoint's own chat template. Without one, write the text it was tuned on:
  # template: "Question: {instruction}\\nAnswer:"
  chat_template: model
""",
        "generation: {max_new_tokens: 256}\n",
    ),
    EMBEDDING: (
        """\
# Only for what the checkpoint's files for sentence-transformers do not say:
# embedding: {pooling: mean, query_instruction: "query: ", document_instruction: "passage: "}
""",
        "",
    ),
    RERANK: (
        """\
# Only for a text in front of each query, or to read less of each pair:
# rerank: {query_instruction: "", max_length: 512}
""",
        "",
    ),
}


def adopted_text(
    model_id: str,
    variants: Mapping[str, Mapping[str, Any]],
    *,
    chat_template: str | None,
    generation: Mapping[str, Any],
    comments: Sequence[str],
) -> str:
    """Return the recipe of a folder that is there already; `comments` stand at its top."""
    prompt = (
        f"chat_template: {_block(chat_template)}" if chat_template else 'template: "{instruction}"'
    )
    lines = [
        MODELINE,
        *(f"# {' '.join(comment.split())}" for comment in comments),
        f"model:\n  id: {flow(model_id)}",
        f"prompt:\n  {prompt}",
        "variants:",
        *(f"  {name}: {flow(knobs)}" for name, knobs in variants.items()),
        *([f"generation: {flow(generation)}"] if generation else []),
    ]
    return "\n".join(lines) + "\n"


def _block(text: str) -> str:
    """Return a text as a literal block of YAML, where that can hold it, else as JSON."""
    lines = text.split("\n")
    if len(lines) == 1 or not all(line.isprintable() for line in lines) or not text.strip():
        return _quoted(text)
    ends = len(text) - len(text.rstrip("\n"))
    chomping = ("-", "", "+")[min(ends, 2)]
    indented = [f"    {line}" if line else "" for line in lines]
    body = "\n".join(indented[:-1] if ends else indented)
    return f"|2{chomping}\n{body}"


def flow(value: Any) -> str:
    """Return a value in YAML's flow style; JSON strings are YAML strings."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    is_word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value)
    if is_word and value.lower() not in _NOT_PLAIN:
        return str(value)
    return _quoted(value)


def _quoted(value: Any) -> str:
    """Return a value as JSON that YAML reads too: it takes fewer characters as they are."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(recipe_json_schema(), indent=2, ensure_ascii=False) + "\n"


def recipe_json_schema() -> dict[str, Any]:
    """Return the schema of a recipe file, which is the Recipe class seen from a file."""
    schema = Recipe.model_json_schema(by_alias=True)
    for key in FROM_THE_FILE:
        del schema["properties"][key]
    schema["title"] = "ovrecipe recipe"
    definitions = schema["$defs"]
    # What a recipe extends may have the rest, and a variant's name says its precision.
    for section in (schema, definitions["Model"], definitions["Variant"]):
        section["required"] = []
    schema["anyOf"] = [{"required": ["model", "variants"]}, {"required": ["extends"]}]
    variants = schema["properties"]["variants"]
    del variants["patternProperties"]
    variants["minProperties"] = variants.pop("minLength")
    variants["additionalProperties"] = {"anyOf": [{"$ref": "#/$defs/Variant"}, {"type": "null"}]}
    for section in (schema, *definitions.values()):
        section["description"] = section["description"].split("\n\n")[0]
        for value in section["properties"].values():
            _simplify(value)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _simplify(value: dict[str, Any]) -> None:
    """Drop the title, and the default of what is unset; allow the short ways to name providers."""
    value.pop("title", None)
    if isinstance(value.get("default"), dict) or value.get("default", 0) is None:
        del value["default"]
    spec = value.get("items", value)
    if spec.get("$ref") == "#/$defs/ProviderSpec":
        one_pair = {"minProperties": 1, "maxProperties": 1, "not": {"required": ["name"]}}
        pair = {"type": "object", "additionalProperties": {"type": ["object", "null"]}, **one_pair}
        spec["anyOf"] = [{"type": "string", "minLength": 1}, {"$ref": spec.pop("$ref")}, pair]
