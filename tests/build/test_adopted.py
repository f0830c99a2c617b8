"""Recipes of folders that are there already, and what their files do not tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.build.adopted import Adopted, adopt
from ovrecipe.errors import RecipeInvalid
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.writing import adopted_text
from tests.build.fake_plugin import net

if TYPE_CHECKING:
    from tests.conftest import CommandLine

NOTED = {
    "advanced_parameters": "{'group_size_fallback_mode': 'error'}",
    "all_layers": "False",
    "awq": "False",
    "backup_mode": "int8_asym",
    "gptq": "False",
    "group_size": "64",
    "ignored_scope": "[]",
    "lora_correction": "False",
    "mode": "int4_sym",
    "ratio": "0.8",
    "scale_estimation": "False",
    "sensitivity_metric": "weight_quantization_error",
}
REVISION = "the model's revision: 'main' is taken"


def folder_with(
    folder: Path, *, xml: str = net("int4", 64), files: dict[str, Any] | None = None, **noted: Any
) -> Path:
    """Write a folder as optimum-cli leaves it; `noted` are arguments of NNCF."""
    folder.mkdir(exist_ok=True)
    values = "".join(f'<{name} value="{value}"/>' for name, value in noted.items())
    nncf = f"<nncf><weight_compression>{values}</weight_compression></nncf>" if noted else ""
    optimum = '<optimum><optimum_intel_version value="2.2.0"/></optimum>'
    rt_info = f"<rt_info>{nncf}{optimum}</rt_info></net>"
    (folder / "openvino_model.xml").write_text(xml.replace("</net>", rt_info))
    files = {"config.json": {"_name_or_path": "org/model"}, "chat_template.jinja": "{{ x }}"} | (
        files or {}
    )
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def adopted(tmp_path: Path, **changes: Any) -> Adopted:
    return adopt(folder_with(tmp_path / "ov", **{**NOTED, **changes}))


def test_nncfs_arguments_become_knobs(tmp_path: Path) -> None:
    """What is NNCF's default is not repeated."""
    found = adopted(tmp_path)
    assert (found.model_id, found.precision) == ("org/model", "int4")
    assert found.knobs == {"sym": True, "group_size": 64, "ratio": 0.8}
    assert found.made_with == {"optimum_intel_version": "2.2.0"}
    assert found.unknown == [REVISION]


@pytest.mark.parametrize(
    ("noted", "precision", "knobs"),
    [
        ({"mode": "int8_asym", "group_size": "-1", "ratio": "1"}, "int8", {}),
        ({"mode": "int8_sym", "group_size": "-1", "ratio": "1"}, "int8", {"sym": True}),
        ({"mode": "nf4"}, "nf4", {"group_size": 64, "ratio": 0.8}),
        ({"mode": "mxfp4", "group_size": "32"}, "mxfp4", {"ratio": 0.8}),
        (
            {"mode": "int4_asym", "backup_mode": "none", "all_layers": "True"},
            "int4",
            {"sym": False, "backup_mode": "none", "all_layers": True},
        ),
        (
            {"advanced_parameters": "{'group_size_fallback_mode': 'adjust'}"},
            "int4",
            {"group_size_fallback": "adjust"},
        ),
    ],
)
def test_each_mode_keeps_the_knobs_that_it_has(
    tmp_path: Path, noted: dict[str, str], precision: str, knobs: dict[str, Any]
) -> None:
    """A recipe with a knob that its mode does not take is refused."""
    found = adopted(tmp_path, **noted)
    assert found.precision == precision
    assert {**found.knobs, **knobs} == found.knobs
    assert ("group_size" in found.knobs) is (precision in ("int4", "nf4"))


def test_a_data_set_is_not_noted_and_is_said_so(tmp_path: Path) -> None:
    """Without one the recipe would be refused; another gives other weights."""
    found = adopted(tmp_path, scale_estimation="True", awq="True")
    assert found.knobs["dataset"] == "generated"
    assert "the data set that NNCF was given: 'generated' stands in for it" in found.unknown
    assert (
        "whether awq was given data; it is written without" in adopted(tmp_path, awq="True").unknown
    )


def test_an_ignored_scope_is_taken_over(tmp_path: Path) -> None:
    scope = "<ignored_scope><patterns value=\"['.*mlp.*']\"/></ignored_scope>"
    folder = folder_with(tmp_path / "ov", **NOTED)
    path = folder / "openvino_model.xml"
    path.write_text(path.read_text().replace('<ignored_scope value="[]"/>', scope))
    assert adopt(folder).knobs["ignored_scope"] == {"patterns": [".*mlp.*"]}


def test_weights_that_nncfs_last_call_does_not_explain_are_said(tmp_path: Path) -> None:
    """Of several passes the IR has the note of the last one."""
    found = adopted(tmp_path, mode="int8_asym", group_size="-1", ratio="1")
    assert found.precision == "int8"
    sentence = "an earlier pass, which made weights u4 (1): NNCF notes only the last"
    assert sentence in found.unknown


def test_without_a_note_the_weights_are_looked_at(tmp_path: Path) -> None:
    """Other programs compress too."""
    found = adopt(folder_with(tmp_path / "ov"))
    assert (found.precision, found.knobs["group_size"], found.knobs["sym"]) == ("int4", 64, True)
    assert (
        "NNCF's arguments, which are not noted: read from the weights themselves" in found.unknown
    )


def test_floats_that_no_variant_has_are_said(tmp_path: Path) -> None:
    xml = net("fp16", 64).replace('from-layer="2" from-port="2"', 'from-layer="0" from-port="0"')
    found = adopt(folder_with(tmp_path / "ov", xml=xml.replace("f16", "bf16")))
    assert (found.precision, found.knobs) == ("fp16", {})
    assert "a variant for weights in bf16: fp16 is nearest" in found.unknown


@pytest.mark.parametrize(
    ("files", "model_id"),
    [
        ({"README.md": "---\nbase_model: org/other\n---\n"}, "org/other"),
        ({"README.md": "---\nbase_model:\n- org/listed\n---\n"}, "org/listed"),
        ({"manifest.json": {"key": {"model": {"id": "dist:a/b.gguf"}}}}, "dist:a/b.gguf"),
    ],
)
def test_the_model_is_looked_for_in_other_files(
    tmp_path: Path, files: dict[str, Any], model_id: str
) -> None:
    """Transformers 5 does not write it into config.json any more."""
    folder = folder_with(tmp_path / "ov", files={"config.json": {}, **files}, **NOTED)
    assert adopt(folder).model_id == model_id
    assert adopt(folder, "org/given").model_id == "org/given"


def test_a_model_that_no_file_names_must_be_given(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "ov", files={"config.json": {}}, **NOTED)
    with pytest.raises(RecipeInvalid, match="no file says which model it was made from"):
        adopt(folder)


def test_a_mode_that_no_recipe_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="NNCF's mode was 'codebook', which no recipe has"):
        adopted(tmp_path, mode="codebook")


def test_generation_parameters_come_along_without_what_is_not_used(tmp_path: Path) -> None:
    """A greedy configuration often has a temperature, which a recipe refuses."""
    greedy = {"generation_config.json": {"temperature": 0.6, "eos_token_id": [1, 2]}}
    assert adopt(folder_with(tmp_path / "ov", files=greedy, **NOTED)).generation == {}
    sampled = {"do_sample": True, "temperature": 0.6, "top_k": -3}
    files = {"generation_config.json": sampled}
    found = adopt(folder_with(tmp_path / "ov", files=files, **NOTED))
    assert found.generation == {"do_sample": True, "temperature": 0.6}
    assert "generation parameter top_k: -3 is none that a recipe takes" in found.unknown


@given(st.text("ab \n:#'\"{%|-é") | st.text(st.characters(exclude_categories=("Cs",))))
def test_any_template_is_read_as_it_was_written(template: str) -> None:
    """Blank lines, spaces at the ends and quotes decide what the model sees."""
    text = adopted_text(
        "org/m", {"fp16": {}}, chat_template=template, generation={}, comments=["one\nline"]
    )
    prompt = yaml.safe_load(text)["prompt"]
    assert prompt == {"chat_template": template} if template else {"template": "{instruction}"}


def test_the_command_writes_a_recipe_that_is_valid(ovrecipe: CommandLine, tmp_path: Path) -> None:
    """The path on standard output, what is not told on the other; never over a recipe."""
    (tmp_path / "recipes").mkdir()
    folder_with(tmp_path / "My Model-ov", **NOTED)
    done = ovrecipe("adopt", "My Model-ov", cwd=tmp_path)
    assert done.code == 0
    path = Path(done.out.strip())
    assert path == tmp_path / "recipes" / "my-model-ov.yaml"
    assert f"not told: {REVISION}\nnext: ovrecipe build my-model-ov:int4\n" in done.err
    assert f"# Not told: {REVISION}\n" in path.read_text()
    int4 = load_recipe_file(path).variants["int4"]
    assert (int4.sym, int4.group_size, int4.ratio) == (True, 64, 0.8)
    again = ovrecipe("adopt", "My Model-ov", cwd=tmp_path)
    assert (again.code, again.said) == (
        12,
        f"ovrecipe: {path} exists give another name behind the folder, or remove that recipe",
    )


def test_a_view_is_named_as_it_is_written(ovrecipe: CommandLine, tmp_path: Path) -> None:
    """It leads to a folder that is named after a digest."""
    (tmp_path / "recipes").mkdir()
    folder_with(tmp_path / ("1b" * 32), **NOTED)
    (tmp_path / "mine-int4").symlink_to("1b" * 32)
    done = ovrecipe("adopt", "mine-int4", cwd=tmp_path)
    path = tmp_path / "recipes" / "mine-int4.yaml"
    assert (done.code, done.out.strip()) == (0, str(path))
    assert "# Adopted from mine-int4, made with" in path.read_text()


def test_the_command_takes_a_name_and_prints_json(ovrecipe: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    folder_with(tmp_path / "ov", **NOTED)
    done = ovrecipe("adopt", "ov", "mine", "--model-id", "./ckpt", "--json", cwd=tmp_path)
    document = json.loads(done.out)
    assert (done.code, document["recipe"], document["precision"]) == (0, "mine", "int4")
    assert document["model_id"] == "../ckpt"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nowhere",), 5, "nowhere has no openvino_model.xml, so it is no OpenVINO model"),
        (("ov", "../x"), 3, "'../x' is no recipe name"),
        (("ov", "x", "--model-id", "a b"), 3, "'a b' is no hub id"),
    ],
)
def test_the_command_refuses_and_writes_nothing(
    ovrecipe: CommandLine, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "recipes").mkdir()
    folder_with(tmp_path / "ov", **NOTED)
    done = ovrecipe("adopt", *words, cwd=tmp_path)
    assert done.code == code
    assert said in done.said
    assert not list((tmp_path / "recipes").iterdir())
