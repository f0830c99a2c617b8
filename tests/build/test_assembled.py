"""The assembled directory behaves in other programs as the recipe does in `ovrecipe run`."""

from __future__ import annotations

import io
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.execute import Work
from ovrecipe.build.stages import stage_named
from ovrecipe.build.stages.stage import Job, StageContext
from ovrecipe.errors import PromptRefused
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project, find_project
from ovrecipe.run.prompt import Message, PromptSettings, read_settings, read_template
from ovrecipe.store.manifest import Manifest
from ovrecipe.testing import plugins_with
from tests.build.making import fake_recipe, write_recipe

SMOLLM2 = "smollm2-135m"
INPUTS = ("weights", "tokenizer", "conformance", "reference")
#: What a checkpoint brings, and what the tokenizer stage writes into the file itself.
OWN = "{{ messages[0]['content'] }}"
TOKENIZER_XML = f"""<net name="t"><layers/>
<rt_info><chat_template value="{OWN}"/><simplified_chat_template value="s"/>
<eos_token_id value="2"/></rt_info></net>"""


def write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """Weights and a tokenizer of nothing; the small files are as a checkpoint's."""
    found = {name: tmp_path / name for name in INPUTS}
    for folder in found.values():
        folder.mkdir()
    (found["weights"] / "openvino_model.bin").write_bytes(b"weights")
    config = {"temperature": 0.6, "eos_token_id": 2}
    write_json(found["weights"] / "generation_config.json", config)
    manifest = Manifest(
        stage="reference", sha256="", key={}, files={}, created="", tools={},
        facts={"attention_backend": "PA"}, peak_memory_bytes=None, seconds=None,
    )  # fmt: skip
    (found["reference"] / "manifest.json").write_text(json.dumps(manifest.as_json()))
    (found["tokenizer"] / "openvino_tokenizer.xml").write_text(TOKENIZER_XML)
    special = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": OWN}
    write_json(found["tokenizer"] / "tokenizer_config.json", special)
    return found


def assembled(project: Project, inputs: dict[str, Path], **sections: Any) -> Path:
    """Return the directory that is assembled for the recipe with these sections."""
    write_recipe(project, "m", {**fake_recipe(), **sections})
    output_dir = project.root / "output"
    output_dir.mkdir()
    job = Job(
        recipe=load_recipe(project, "m"),
        variant="int4",
        inputs=inputs,
        output_dir=output_dir,
        pin={},
        plugin_options=(),
        store_dir=project.root / "store",
    )
    context = StageContext(plugins=plugins_with(), progress=lambda *_, **__: None, env={})
    stage_named("assemble").run(job, context)
    return output_dir


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({"temperature": 0.9}, {"temperature": 0.9, "do_sample": True, "eos_token_id": 2}),
        ({"do_sample": False}, {"temperature": 0.6, "do_sample": False, "eos_token_id": 2}),
        ({}, {"temperature": 0.6, "eos_token_id": 2}),
        (
            {"stop_strings": ["b"], "stop_token_ids": [7, 5], "eos_token_id": 3},
            {
                "temperature": 0.6,
                "eos_token_id": 3,
                "stop_strings": ["b"],
                "stop_token_ids": [5, 7],
            },
        ),
    ],
)
def test_generation_config_has_what_run_would_use(
    project: Project, inputs: dict[str, Path], generation: Any, expected: Any
) -> None:
    """A temperature alone means sampling; others read only `do_sample`."""
    output_dir = assembled(project, inputs, generation=generation)
    assert read_json(output_dir / "generation_config.json") == expected


def test_stops_of_the_prompt_are_stop_strings(project: Project, inputs: dict[str, Path]) -> None:
    """Both places of a recipe stop everywhere, each text once."""
    prompt = {"template": "{instruction}", "stop": ["### End", "b"]}
    output_dir = assembled(project, inputs, prompt=prompt, generation={"stop_strings": ["b", "c"]})
    found = read_json(output_dir / "generation_config.json")
    assert found["stop_strings"] == ["### End", "b", "c"]


def test_one_chat_template_stands_in_the_directory(
    project: Project, inputs: dict[str, Path]
) -> None:
    """Programs look in three places; the tokenizer's own file comes first for GenAI."""
    output_dir = assembled(project, inputs, prompt={"template": "<s>Q: {instruction}"})
    template = (output_dir / "chat_template.jinja").read_text()
    assert '"Q: " + message[' in template
    info = ET.parse(output_dir / "openvino_tokenizer.xml").find("rt_info")
    assert info is not None
    found = {element.tag: element.get("value") for element in info}
    assert found == {"eos_token_id": "2", "chat_template": template}
    assert read_json(output_dir / "tokenizer_config.json") == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "ovrecipe": {
            "add_special_tokens": False,
            "system": "",
            "control_tokens": ["</s>", "<s>"],
        },
    }


def test_the_simplified_form_stands_where_only_genai_looks(
    project: Project, inputs: dict[str, Path]
) -> None:
    """Jinja2, in transformers and `ovrecipe run`, has no use for it."""
    (inputs["conformance"] / "chat_template.jinja").write_text("simple")
    output_dir = assembled(project, inputs, prompt={"template": None})
    assert (output_dir / "chat_template.jinja").read_text() == OWN
    info = ET.parse(output_dir / "openvino_tokenizer.xml").find("rt_info/chat_template")
    assert info is not None
    assert info.get("value") == "simple"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ({}, OWN),
        ({"chat_template": "model"}, OWN),
        ({"chat_template": "mine {{ messages }}"}, "mine {{ messages }}"),
    ],
)
def test_a_chat_template_is_written_as_it_is(
    project: Project, inputs: dict[str, Path], prompt: dict[str, str], expected: str
) -> None:
    """It is Jinja2 already, the recipe's or the checkpoint's."""
    output_dir = assembled(project, inputs, prompt=prompt)
    assert (output_dir / "chat_template.jinja").read_text() == expected


def test_what_run_needs_beside_the_template_is_there(
    project: Project, inputs: dict[str, Path]
) -> None:
    """So that nothing of the recipe has to be read again."""
    added = [
        {"id": 0, "content": "<|user|>", "special": False},
        {"id": 1, "content": "<|end|>", "special": True},
        {"id": 2, "content": "    ", "special": False},
        {"id": 3, "content": "<table>", "special": False},
        {"id": 4, "content": "user", "special": False},
    ]
    write_json(inputs["tokenizer"] / "tokenizer.json", {"added_tokens": added})
    prompt = {
        "chat_template": "<|user|>    {{ messages[0].content }}{{ messages[1].content }}",
        "system": "Be brief.",
        "add_special_tokens": True,
    }
    output_dir = assembled(project, inputs, prompt=prompt)
    assert read_settings(output_dir) == PromptSettings(
        add_special_tokens=True,
        system="Be brief.",
        control_tokens=("</s>", "<s>", "<|end|>", "<|user|>"),
    )


def test_a_recipe_may_let_special_tokens_in_messages_count(
    project: Project, inputs: dict[str, Path]
) -> None:
    """For those who write them on purpose."""
    prompt = {"template": "{instruction}", "special_tokens_in_text": True}
    found = read_settings(assembled(project, inputs, prompt=prompt))
    assert found is not None
    assert found.control_tokens == ()


def test_a_recipes_system_text_stands_in_the_models_template(
    project: Project, inputs: dict[str, Path]
) -> None:
    """Other programs do not know the recipe; what a message says goes before it."""
    prompt = {"chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"}
    output_dir = assembled(project, inputs, prompt={**prompt, "system": 'Say "yes".'})
    template = read_template(output_dir)
    asked = said("user: hi")
    assert template.render(asked) == 'system: Say "yes".\nuser: hi\n'
    assert template.render([*said("system: no"), *asked]) == "system: no\nuser: hi\n"
    assert template.render([{"role": "system", "content": ""}, *asked]) == "user: hi\n"


def test_a_system_text_that_the_models_template_drops_is_refused(
    project: Project, inputs: dict[str, Path]
) -> None:
    """At the build, not with every question."""
    prompt = {"chat_template": "{{ messages[-1].content }}", "system": "Be brief."}
    with pytest.raises(PromptRefused, match="no place for a system text"):
        assembled(project, inputs, prompt=prompt)


def test_a_model_without_a_template_is_refused(project: Project, inputs: dict[str, Path]) -> None:
    """Nobody knows how to ask it."""
    write_json(inputs["tokenizer"] / "tokenizer_config.json", {})
    with pytest.raises(PromptRefused, match="neither the recipe nor the model"):
        assembled(project, inputs, prompt={"template": None})


def test_large_files_are_links(project: Project, inputs: dict[str, Path]) -> None:
    """Another prompt costs no second copy of the weights."""
    output_dir = assembled(project, inputs)
    weights = output_dir / "openvino_model.bin"
    assert weights.samefile(inputs["weights"] / "openvino_model.bin")


TEMPLATE = '<|im_start|>{system}\n\\ "{{x}}"\t{% é %}\n### {instruction}\n(again: {instruction})\n'
#: Its engine knows no `%` between texts.
REFUSED_BY_GENAI = (
    "{% for m in messages %}"
    "{{ '<|im_start|>%s\n%s<|im_end|>\n' % (m.role, m.content) }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
RECIPES_SYSTEM = 'Say "it\'s so" as {instruction}.'


def said(*turns: str) -> list[Message]:
    """Return messages of `role: content`."""
    parts = [turn.partition(": ") for turn in turns]
    return [{"role": role, "content": content} for role, _, content in parts]


@pytest.fixture
def smollm2_dir(smollm2_project: Project, tmp_path: Path) -> Path:
    """SmolLM2 under a template of our own, assembled over the store in which it is built."""
    return smollm2_as(smollm2_project, tmp_path, {"template": TEMPLATE, "system": RECIPES_SYSTEM})


def smollm2_as(smollm2_project: Project, tmp_path: Path, prompt: dict[str, str]) -> Path:
    """Return the directory of SmolLM2 with another prompt section."""
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / f"{SMOLLM2}.yaml"
    shutil.copy(smollm2_project.recipes_dir / path.name, path)
    document = yaml.safe_load(path.read_text())
    document["prompt"] = prompt
    document["generation"] = {"temperature": 0.9, "stop_strings": ["b", "a"]}
    path.write_text(yaml.safe_dump(document))
    project = find_project(tmp_path, smollm2_project.env)
    context = BuildContext(project)
    plan = context.plan(SMOLLM2)
    Work(plan, stage_named("conformance"), None).do(Lines(io.StringIO()))
    work = Work(plan, stage_named("assemble"), "int4")
    work.do(Lines(io.StringIO()))
    key = work.key()
    assert key is not None
    return context.store.artifact_dir(key)


TURNS = (
    said("user: {system}"),
    said("user: one", "assistant: 1 {instruction}", "user: two\n"),
    said("user: one", "assistant: 1", "user: two", "assistant: 2", "user: three"),
)


@pytest.mark.model
@pytest.mark.parametrize(
    "prompt",
    [
        {"template": TEMPLATE, "system": RECIPES_SYSTEM},
        {"chat_template": "model", "system": RECIPES_SYSTEM},
        {"chat_template": "model"},
        {"chat_template": REFUSED_BY_GENAI, "system": RECIPES_SYSTEM},
    ],
)
def test_genai_writes_the_prompt_that_run_writes(
    smollm2_project: Project, tmp_path: Path, prompt: dict[str, str]
) -> None:
    """Its own engine for templates, on the directory as `LLMPipeline` opens it."""
    import openvino_genai

    model_dir = smollm2_as(smollm2_project, tmp_path, prompt)
    tokenizer = openvino_genai.Tokenizer(model_dir)
    template = read_template(model_dir, clock=pytest.fail)
    for turns in TURNS:
        for messages in (turns, said("system: {instruction} \\n") + turns):
            asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
            assert asked == template.render(messages)


@pytest.mark.model
def test_transformers_reads_the_directory_and_writes_the_same_prompt(smollm2_dir: Path) -> None:
    """Our section in its settings does not disturb it."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(smollm2_dir)
    messages = said("user: one", "assistant: 1", "user: two")
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert asked == read_template(smollm2_dir).render(messages)


@pytest.mark.model
def test_genai_reads_the_parameters_that_run_uses(smollm2_dir: Path) -> None:
    """The names and forms in the file are GenAI's."""
    import openvino_genai

    config = openvino_genai.GenerationConfig(smollm2_dir / "generation_config.json")
    assert config.do_sample
    assert config.temperature == pytest.approx(0.9)
    assert config.stop_strings == {"a", "b"}
