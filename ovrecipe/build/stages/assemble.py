"""assemble: the directory that LLMPipeline, OVMS or any OpenVINO program opens by name.

Large files are hard links into the weights and tokenizer artifacts. What the recipe says of
prompt and generation is written into the files where other programs look for it, and `ovrecipe run`
reads the same files.
"""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.builtin.lora import CONFIG, WEIGHTS, check_fits, read_adapter
from ovrecipe.errors import RecipeInvalid
from ovrecipe.json_files import (
    CHAT_TEMPLATE,
    GENERATION_CONFIG,
    TOKENIZER_CONFIG,
    read_object,
    write_object,
)
from ovrecipe.recipe.problems import place_in_recipe
from ovrecipe.recipe.schema import Prompt, Recipe, settings_of
from ovrecipe.recipe.yaml_reader import dotted
from ovrecipe.run.artifact import ATTENTION
from ovrecipe.run.parameters import SETS, merged
from ovrecipe.run.prompt import (
    SECTION,
    ChatTemplate,
    PromptSettings,
    check_system,
    no_template,
    special_tokens,
    template_of,
    tokenizer_config,
)
from ovrecipe.store.disk import link_file
from ovrecipe.store.manifest import MANIFEST, read_manifest
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan

TOKENIZER_XML = "openvino_tokenizer.xml"
PLACEHOLDER = re.compile(r"\{(instruction|system)\}")
NO_SYSTEM = (
    "a system text was given, but the recipe's template has no {system}; write {system} into its "
    "prompt.template, or leave the system text out"
)
#: Files that are written anew, never linked: they carry what the recipe says.
REWRITTEN = {TOKENIZER_XML, TOKENIZER_CONFIG, GENERATION_CONFIG, CHAT_TEMPLATE}


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:
    """What the recipe says, beside the weights and the tokenizer.

    Much of it is in their keys too. Here it is in the recipe's words, for `ovrecipe run`, which
    compares it with the recipe of today.
    """
    fields: dict[str, Json] = settings_of(plan.recipe, str(variant))
    if plan.recipe.adapters:
        fields["adapter_files"] = {
            name: _adapter_digests(plan, name) for name in plan.recipe.adapters
        }
    return fields


def _adapter_digests(plan: RecipePlan, name: str) -> dict[str, Json]:
    path = adapter_path(plan.recipe, name)
    # What PEFT wrote beside a single file says its alpha too.
    files = [path / WEIGHTS, path / CONFIG] if path.is_dir() else [path, path.parent / CONFIG]
    try:
        return {file.name: plan.context.digests.sha256(file) for file in files if file.exists()}
    except OSError as error:
        raise adapter_error(plan.recipe, name, f"cannot be read: {error.strerror}") from error


def adapter_path(recipe: Recipe, name: str) -> Path:
    """Return the file or folder of an adapter.

    Raises:
        RecipeInvalid: it is not there.
    """
    path = recipe.recipe_dir / Path(recipe.adapters[name].path).expanduser()
    if not path.exists() or (path.is_dir() and not (path / WEIGHTS).is_file()):
        raise adapter_error(recipe, name, f"no such file, nor a folder with {WEIGHTS}")
    return path


def adapter_error(recipe: Recipe, name: str, reason: str) -> RecipeInvalid:
    """Return the error of an adapter that cannot be read, at its place in the recipe."""
    loc = ("adapters", name, "path")
    where = f"{place_in_recipe(recipe, loc)}: {dotted(loc)}"
    return RecipeInvalid(
        f"{where}: {recipe.adapters[name].path}: {reason}",
        remedy="a path starts at the recipe's folder",
    )


def run(job: Job, context: StageContext) -> dict[str, Json]:  # noqa: ARG001
    """Link the large files and write the small ones; facts say how GenAI is to run it."""
    weights_dir, tokenizer_dir = job.inputs["weights"], job.inputs["tokenizer"]
    links: dict[str, Json] = {}
    for source_dir in (tokenizer_dir, weights_dir):
        for path in sorted(source_dir.iterdir()):
            if path.name not in REWRITTEN | {MANIFEST}:
                links[path.name] = link_file(path, job.output_dir / path.name)
    generation = job.recipe.generation_of(str(job.variant)).given()
    config = read_object(weights_dir / GENERATION_CONFIG)
    for name, value in merged(generation, stop=job.recipe.prompt.stop).items():
        config[name] = sorted(value) if name in SETS else value
    write_object(job.output_dir / GENERATION_CONFIG, config)
    _write_chat_template(job.recipe.prompt, tokenizer_dir, job.output_dir)
    # Of this one the gate has found that GenAI's engine makes the same prompts.
    for_genai = job.inputs["conformance"] / CHAT_TEMPLATE
    written = for_genai if for_genai.is_file() else job.output_dir / CHAT_TEMPLATE
    _write_tokenizer_xml(
        tokenizer_dir / TOKENIZER_XML,
        job.output_dir / TOKENIZER_XML,
        written.read_text(encoding="utf-8"),
    )
    known = read_manifest(job.inputs["reference"]).facts
    return {"links": links, ATTENTION: known[ATTENTION], **_assistants(job)}


def _assistants(job: Job) -> dict[str, Json]:
    """Copy the adapters of which the model has all modules; return what it is run with."""
    recipe, variant = job.recipe, str(job.variant)
    adapters: dict[str, Json] = {}
    for name, adapter in recipe.adapters.items():
        found = read_adapter(adapter_path(recipe, name), alpha=adapter.alpha)
        check_fits(found, job.inputs["weights"])
        copy = job.output_dir / f"adapter-{name}.safetensors"
        shutil.copyfile(found.path, copy)
        adapters[name] = {"file": copy.name, "alpha": found.alpha, "always": adapter.always}
    draft = recipe.draft_of(variant)
    return {
        **({"draft": draft.model_dump(mode="json")} if draft is not None else {}),
        **({"prompt_lookup": True} if recipe.prompt_lookup_of(variant) else {}),
        **({"adapters": adapters} if adapters else {}),
    }


def _write_chat_template(prompt: Prompt, tokenizer_dir: Path, output_dir: Path) -> None:
    """Write the template of Jinja2, and what `ovrecipe run` reads beside it."""
    template = chat_template_of(prompt, tokenizer_dir)
    control = () if prompt.special_tokens_in_text else control_tokens(tokenizer_dir, template)
    settings = PromptSettings(
        add_special_tokens=prompt.add_special_tokens,
        system=prompt.system or "",
        control_tokens=control,
    )
    config = tokenizer_config(tokenizer_dir)
    config.pop("chat_template", None)
    config[SECTION] = settings.model_dump(mode="json")
    write_object(output_dir / TOKENIZER_CONFIG, config)
    (output_dir / CHAT_TEMPLATE).write_text(template, encoding="utf-8")


def chat_template_of(prompt: Prompt, tokenizer_dir: Path) -> str:
    """Return the Jinja text that `ovrecipe run` and other programs use.

    Raises:
        PromptRefused: neither recipe nor checkpoint has one, or it has no place for the recipe's
            system text.
    """
    template = template_without_system(prompt, tokenizer_dir)
    system = system_before(prompt)
    if system:
        template = with_system(template, system)
        probe = ChatTemplate(template, special_tokens=special_tokens(tokenizer_dir))
        check_system(system, probe.render([{"role": "user", "content": "?"}]))
    return template


def system_before(prompt: Prompt) -> str:
    """Return the recipe's system text where it is said before a chat template; else nothing."""
    return (prompt.system or "") if prompt.template is None else ""


def template_without_system(prompt: Prompt, tokenizer_dir: Path) -> str:
    """Return the Jinja text before `system_before` is put into it.

    Raises:
        PromptRefused: neither recipe nor checkpoint has one.
    """
    if prompt.template is not None:
        special = special_tokens(tokenizer_dir)
        tokens = {name: special.get(name, "") for name in ("bos_token", "eos_token")}
        return plain_to_jinja(prompt.template, system=prompt.system or "", **tokens)
    own = prompt.chat_template not in {None, "model"}
    template = str(prompt.chat_template) if own else template_of(tokenizer_dir)
    if template is None:
        raise no_template()
    return template


def plain_to_jinja(
    template: str, *, system: str = "", bos_token: str = "", eos_token: str = ""
) -> str:
    """Return a recipe's plain `prompt.template` as a chat template.

    A conversation is its turns in sequence: each prompt in the template, its answer behind it,
    then a new line. The BOS token that a template starts with is written once; a template that
    writes BOS or EOS gets EOS behind each answer, as the model saw it in training. `system` is
    said where no message does. Only what both Jinja2 and GenAI's engine know is used.
    """
    bos = bos_token if template.startswith(bos_token) else ""
    closes = bool(bos) or (bool(eos_token) and eos_token in template)
    end_of_answer = _literal((eos_token if closes else "") + "\n")
    # Literal text and names of placeholders in turn, beginning and ending with text.
    parts = PLACEHOLDER.split(template.removeprefix(bos))
    given = {"instruction": "message['content']", "system": "told.system"}
    turn = " + ".join(
        given[part] if index % 2 else _literal(part) for index, part in enumerate(parts)
    )
    refusal = f"{{%- if told.system -%}}{{{{ raise_exception({_literal(NO_SYSTEM)}) }}}}"
    refused = "" if "system" in parts[1::2] else f"{refusal}{{%- endif -%}}"
    return (
        f"{{%- set told = namespace(system={_literal(system)}, known=false) -%}}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' and not told.known -%}"
        "{%- set told.system = message['content'] -%}{%- set told.known = true -%}"
        f"{{%- endif -%}}{{%- endfor -%}}{refused}{{{{ {_literal(bos)} }}}}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'assistant' -%}"
        f"{{{{ message['content'] + {end_of_answer} }}}}"
        f"{{%- elif message['role'] != 'system' -%}}{{{{ {turn} }}}}"
        "{%- endif -%}{%- endfor -%}"
    )


def with_system(template: str, system: str) -> str:
    """Return a chat template that says `system` where no message does; an empty one silences it."""
    own = f"[{{'role': 'system', 'content': {_literal(system)}}}]"
    return (
        "{%- if not messages or messages[0]['role'] != 'system' -%}"
        f"{{%- set messages = {own} + messages -%}}"
        "{%- elif not messages[0]['content'] -%}{%- set messages = messages[1:] -%}{%- endif %}\n"
        f"{template}"
    )


def _literal(text: str) -> str:
    """Return a string of Jinja2: as in JSON, but letters outside ASCII stay as they are."""
    return json.dumps(text, ensure_ascii=False)


def control_tokens(tokenizer_dir: Path, template: str) -> tuple[str, ...]:
    """Return the texts that steer the model where the tokenizer meets them, sorted.

    These are its special tokens, and of the other added ones (runs of spaces, HTML) those marks
    that the chat template writes: not every tokenizer calls the marks of its turns special.
    """
    found = set(special_tokens(tokenizer_dir).values())
    added = list(read_object(tokenizer_dir / "tokenizer.json").get("added_tokens", []))
    added += tokenizer_config(tokenizer_dir).get("added_tokens_decoder", {}).values()
    for token in added:
        text = token["content"]
        mark = any(not letter.isalnum() and not letter.isspace() for letter in text)
        if token.get("special") or (mark and text in template):
            found.add(text)
    return tuple(sorted(text for text in found if text.strip()))


def _write_tokenizer_xml(source: Path, target: Path, template: str) -> None:
    """Copy the tokenizer's graph with the template in it replaced: GenAI prefers that one."""
    tree = ET.parse(source)  # noqa: S314 - written by our own tokenizer stage
    info = tree.getroot().find("rt_info")
    if info is not None:
        for old in [*info.findall("chat_template"), *info.findall("simplified_chat_template")]:
            info.remove(old)
        ET.SubElement(info, "chat_template", value=template)
    tree.write(target, encoding="utf-8", xml_declaration=True)


STAGE = Stage(
    name="assemble",
    doc="the directory that LLMPipeline opens",
    doing="assembling the model directory",
    version=5,
    inputs=always("weights", "tokenizer", "conformance", "reference"),
    fields=fields,
    run=run,
    per_variant=True,
    own_process=False,
    publishes=True,
    links=("tokenizer", "weights"),
)
