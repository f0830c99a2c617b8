"""The files for OpenVINO Model Server are what its schema asks for; no server runs here."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from ovrecipe.deliver.contents import Contents
from ovrecipe.deliver.ovms import image_tag, ovms_files
from ovrecipe.deliver.readme import readme
from ovrecipe.deliver.uses import ovms_objection


@pytest.mark.parametrize(
    ("attention", "pipeline"), [("SDPA", "LM"), ("PA", "LM_CB"), (None, "AUTO")]
)
def test_the_graph_takes_the_attention_that_was_checked(contents, attention, pipeline) -> None:
    """OVMS would take paged attention for a model that answers otherwise with it."""
    export = contents().export.model_copy(update={"attention_backend": attention})
    graph = ovms_files(export)["graph.pbtxt"]
    assert re.findall(r"pipeline_type: (\w+)", graph) == [pipeline]
    assert 'models_path: "./"' in graph
    assert graph.count("{") == graph.count("}")
    assert "{{" not in graph


def test_a_model_that_genai_runs_wrongly_has_no_graph(contents) -> None:
    """A server has nothing else, and its page names the one thing that answers rightly."""
    export = contents().export.model_copy(update={"attention_backend": "steps"})
    assert "with GenAI, whose answers are not its source's" in str(ovms_objection(export))
    page = readme(export, None, ovms=False)
    assert "ovrecipe run ./out" in page
    assert "one token after the other" in page
    for wrong in ("LLMPipeline", "OVModelForCausalLM", "ovrecipe serve ./out", "docker"):
        assert wrong not in page


def test_compose_configuration_and_page_agree(contents) -> None:
    """One name, one port, one image of the OpenVINO that built it."""
    made: Contents = contents(ovms=True)
    compose = yaml.safe_load(made.texts["compose.yaml"])["services"]["ovms"]
    assert compose["image"] == f"openvino/model_server:{image_tag(made.export)}"
    assert compose["ports"] == ["127.0.0.1:8000:8000"]
    assert compose["volumes"] == [".:/model:ro"]
    assert "--config_path /model/ovms_config.json" in compose["command"]
    [model] = json.loads(made.texts["ovms_config.json"])["model_config_list"]
    assert model["config"] == {"name": "m-int4", "base_path": "/model", "graph_path": "graph.pbtxt"}
    assert "--model_name m-int4 --rest_port 8000" in made.texts["README.md"]


def test_the_image_is_of_the_release_that_built_the_model(contents) -> None:
    """A tokenizer's graph may have operations that an older server does not know."""
    export = contents().export
    assert image_tag(export.model_copy(update={"versions": {"openvino": "2026.5.1"}})) == "2026.5"
    assert image_tag(export.model_copy(update={"versions": {}})) == "2026.4"


def test_without_the_option_nothing_of_it_is_written(contents) -> None:
    """The page has the command that needs none of the files."""
    made: Contents = contents()
    assert made.texts.keys() == {"README.md"}
    assert "docker run --rm -v ./out:/model:ro" in made.texts["README.md"]
