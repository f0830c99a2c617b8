"""assemble: the directory that LLMPipeline, OVMS or any OpenVINO program opens by name.

Large files are hard links into the weights and tokenizer artifacts. What the recipe says of
prompt and generation is written into the files where other programs look for it, so that they
behave as `ovrecipe run` does.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from ovrecipe.build.stages.stage import Stage, always
from ovrecipe.recipe.schema import settings_of
from ovrecipe.run.parameters import SETS, merged
from ovrecipe.run.prompt import plain_template, special_tokens
from ovrecipe.store.disk import link_file
from ovrecipe.store.manifest import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.stages.stage import Job, StageContext
    from ovrecipe.recipe.schema import Prompt, Recipe
    from ovrecipe.types import Json

TOKENIZER_XML = "openvino_tokenizer.xml"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
#: Files that are written anew, never linked: they carry what the recipe says.
REWRITTEN = {TOKENIZER_XML, TOKENIZER_CONFIG, GENERATION_CONFIG, CHAT_TEMPLATE}


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:
    """What the recipe says, beside the weights and the tokenizer.

    Much of it is in their keys too. Here it is in the recipe's words, for `ovrecipe run`, which
    compares it with the recipe of today.
    """
    return settings_of(plan.recipe, str(variant))


def run(job: Job, bench: StageContext) -> dict[str, Json]:  # noqa: ARG001
    """Link the large files and write the small ones."""
    weights_dir, tokenizer_dir = job.inputs["weights"], job.inputs["tokenizer"]
    links: dict[str, Json] = {}
    for source_dir in (tokenizer_dir, weights_dir):
        for path in sorted(source_dir.iterdir()):
            if path.name not in REWRITTEN | {MANIFEST}:
                links[path.name] = link_file(path, job.output_dir / path.name)
    _write_generation_config(job, weights_dir)
    _write_chat_template(job.recipe.prompt, tokenizer_dir, job.output_dir)
    return {"links": links}


def _write_generation_config(job: Job, weights_dir: Path) -> None:
    config = _read_json(weights_dir / GENERATION_CONFIG)
    config.update(generation_document(job.recipe, str(job.variant)))
    _write_json(job.output_dir / GENERATION_CONFIG, config)


def generation_document(recipe: Recipe, variant: str) -> dict[str, Any]:
    """Return the recipe's generation parameters under the names of generation_config.json."""
    given = merged(recipe.generation_of(variant).given(), {}, stop=recipe.prompt.stop)
    return {name: sorted(each) if name in SETS else each for name, each in given.items()}


def _write_chat_template(prompt: Prompt, tokenizer_dir: Path, output_dir: Path) -> None:
    template = chat_template_of(prompt, tokenizer_dir)
    config = _read_json(tokenizer_dir / TOKENIZER_CONFIG)
    config.pop("chat_template", None)
    _write_json(output_dir / TOKENIZER_CONFIG, config)
    if template is not None:
        (output_dir / CHAT_TEMPLATE).write_text(template, encoding="utf-8")
    _write_tokenizer_xml(tokenizer_dir / TOKENIZER_XML, output_dir / TOKENIZER_XML, template)


def chat_template_of(prompt: Prompt, tokenizer_dir: Path) -> str | None:
    """Return the Jinja text that other programs shall use, or None when there is none."""
    if prompt.template is not None:
        plain = plain_template(prompt.template, special_tokens(tokenizer_dir))
        return plain.to_jinja(system=prompt.system or "")
    if prompt.chat_template not in {None, "model"}:
        return prompt.chat_template
    path = tokenizer_dir / CHAT_TEMPLATE
    if path.exists():
        return path.read_text(encoding="utf-8")
    template = _read_json(tokenizer_dir / TOKENIZER_CONFIG).get("chat_template")
    return template if isinstance(template, str) else None


def _write_tokenizer_xml(source: Path, target: Path, template: str | None) -> None:
    """Copy the tokenizer's graph with the chat template that it carries replaced.

    GenAI prefers the template inside this file to chat_template.jinja.
    """
    tree = ET.parse(source)  # noqa: S314 - written by our own tokenizer stage
    info = tree.getroot().find("rt_info")
    if info is not None:
        for each in [*info.findall("chat_template"), *info.findall("simplified_chat_template")]:
            info.remove(each)
        if template is not None:
            ET.SubElement(info, "chat_template", value=template)
    tree.write(target, encoding="utf-8", xml_declaration=True)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    return document if isinstance(document, dict) else {}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


STAGE = Stage(
    name="assemble",
    doc="the directory that LLMPipeline opens",
    doing="assembling the model directory",
    version=2,
    inputs=always("weights", "tokenizer"),
    fields=fields,
    run=run,
    per_variant=True,
    own_process=False,
    publishes=True,
    links=("tokenizer", "weights"),
)
