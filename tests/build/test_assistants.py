"""Draft models, prompt lookup and adapters, from the recipe to an answer, on tiny twins."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, built_manifests, try_to_build
from ovrecipe.builtin.lora import read_adapter
from ovrecipe.deliver.contents import contents_of
from ovrecipe.deliver.folder import write_folder
from ovrecipe.deliver.uses import ASKED
from ovrecipe.errors import (
    CheckpointIncomplete,
    GateError,
    GenerationParameterRefused,
    RecipeInvalid,
    RunError,
)
from ovrecipe.recipe.project import Project
from ovrecipe.run.assistants import vocabulary_objection
from ovrecipe.run.load import load, load_engine
from ovrecipe.store.views import view_target
from tests.build.making import write_recipe

pytestmark = [pytest.mark.model, pytest.mark.slow]
#: Of the tiny Llama in tests/twins.py: inputs and outputs.
QUERY, DOWN = (64, 64), (128, 64)
TWIN: dict[str, Any] = {"model": {"id": "./checkpoint"}}
ASK = {"greedy": True, "max_new_tokens": 12, "ignore_eos": True}


def adapter(
    path: Path, *, layers: int = 2, size: tuple[int, int] = QUERY, scale: float = 0.5
) -> Path:
    """Write a random adapter of the twin's queries, as PEFT names its tensors."""
    rng, rank = np.random.default_rng(1), 4
    tensors = {}
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        shapes = {"lora_A": (rank, size[0]), "lora_B": (size[1], rank)}
        for side, shape in shapes.items():
            values = rng.standard_normal(shape, np.float32) * scale
            tensors[f"{name}.{side}.weight"] = values
    save_file(tensors, path)
    return path


def built(project: Project, variant: str, **recipe: Any) -> dict[str, Any]:
    """Build a variant of the twin; return what the gate `check` found."""
    write_recipe(project, "twin", {**TWIN, **recipe})
    context = BuildContext(project)
    target = Target("twin", variant)
    try_to_build(context, [target], watch=Lines(io.StringIO())).check_success()
    return dict(built_manifests(context, target)["check"].facts)


def said(project: Project, variant: str, adapter: str | None = None, **options: Any) -> str:
    """Return what a variant of the twin answers."""
    with load(f"twin:{variant}", project=project, **options) as model:
        return model.generate("What is Paris?", adapter=adapter, **ASK).text


def test_a_draft_model_is_built_compared_and_used(twin_project: Project) -> None:
    """It is read by the gate only, so it comes first and needs no name of its own."""
    variants = {"fp16": {"draft": {"recipe": "twin:int4"}}, "int4": {"group_size": 32}}
    facts = built(twin_project, "fp16", variants=variants)
    assert facts["same_answers"] in {"usual", "exact"}
    assert view_target(twin_project.models_dir, "twin", "int4") is None
    alone = said(twin_project, "fp16", draft="")
    built(twin_project, "int4", variants=variants)
    assert said(twin_project, "fp16") == alone
    with (
        load("twin:fp16", project=twin_project) as model,
        pytest.raises(GenerationParameterRefused, match="do_sample: GenAI fails to sample beside"),
    ):
        model.generate("?", temperature=0.5)
    with pytest.raises(RunError, match="draft twin:fp16: a model cannot write ahead of itself"):
        load("twin:fp16", project=twin_project, draft="twin:fp16")


def test_prompt_lookup_is_compared_and_used(twin_project: Project) -> None:
    """From the recipe, and on or off for a run."""
    facts = built(twin_project, "fp16", variants={"fp16": {}}, prompt_lookup=True)
    assert facts["same_answers"] in {"usual", "exact"}
    alone = said(twin_project, "fp16", prompt_lookup=False)
    assert said(twin_project, "fp16") == alone
    with load("twin:fp16", project=twin_project) as model:
        with pytest.raises(GenerationParameterRefused, match="num_beams: GenAI does not write"):
            model.generate("?", num_beams=2)
        assert model.generate("?", regex="[ab]{3}", max_new_tokens=9).unfinished is None


def test_an_adapter_is_copied_and_chosen_by_request(twin_project: Project) -> None:
    """One may count for all requests; the empty name is the model alone."""
    path = adapter(twin_project.recipes_dir / "loud.safetensors")
    built(twin_project, "fp16", variants={"fp16": {}})
    alone = said(twin_project, "fp16")
    adapters = {
        "loud": {"path": path.name, "always": True},
        "louder": {"path": path.name, "alpha": 2.0},
    }
    facts = built(twin_project, "fp16", variants={"fp16": {}}, adapters=adapters)
    assert facts["same_answers"] in {"usual", "exact"}
    path.unlink()
    always = said(twin_project, "fp16")
    assert said(twin_project, "fp16", "") == alone
    assert always == said(twin_project, "fp16", "loud") != alone
    assert said(twin_project, "fp16", "louder") not in {alone, always}
    with pytest.raises(GenerationParameterRefused, match="no 'lout'; perhaps you meant 'loud'"):
        load("twin:fp16", project=twin_project, generation={"adapter": "lout"})
    assert said(twin_project, "fp16", "loud", prompt_lookup=True) == always


def test_the_readme_of_an_export_answers_with_the_adapter(
    twin_project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever copies it has the model that was checked."""
    path = adapter(twin_project.recipes_dir / "loud.safetensors")
    adapters = {"loud": {"path": path.name, "always": True}}
    built(twin_project, "fp16", variants={"fp16": {}}, adapters=adapters)
    made = contents_of(BuildContext(twin_project), Target("twin", "fp16"))
    write_folder(made, tmp_path / "out", env={"OVRECIPE_CACHE": str(tmp_path / "cache")})
    monkeypatch.chdir(tmp_path)
    example = re.findall(r"```python\n(.*?)```", made.texts["README.md"], re.DOTALL)[0]
    exec(example, {})
    always = capsys.readouterr().out
    exec(example.replace(", adapters=adapters", ""), {})
    assert always.strip() != capsys.readouterr().out.strip()
    with load("twin:fp16", project=twin_project) as model:
        answer = model.generate(ASKED, greedy=True, max_new_tokens=40)
    assert always.strip() == answer.text.strip()


def test_an_engine_has_one_adapter_for_all_its_answers(
    twin_project: Project, ovrecipe: Any, tmp_path: Path
) -> None:
    """GenAI passes over the adapters of single requests there, so others are refused by name."""
    path = adapter(twin_project.recipes_dir / "loud.safetensors")
    adapters = {
        "loud": {"path": path.name, "always": True},
        "louder": {"path": path.name, "alpha": 2.0},
    }
    recipe = {"variants": {"fp16": {}}, "adapters": adapters, "prompt_lookup": True}
    built(twin_project, "fp16", **recipe)
    announced: list[str] = []

    def answer(name: str | None) -> str:
        with load_engine(
            "twin:fp16", project=twin_project, adapter=name, announce=announced.append
        ) as engine:
            assert engine.pipeline.adapter == ("loud" if name is None else name)
            with pytest.raises(GenerationParameterRefused, match="cannot have 'other'"):
                engine.stream("What is Paris?", adapter="other")
            return engine.stream("What is Paris?", **ASK).result.text

    texts = [answer(name) for name in (None, "louder", "")]
    assert len(set(texts)) == 3
    for name, text in zip(("loud", "louder", ""), texts, strict=True):
        assert text == said(twin_project, "fp16", name, prompt_lookup=False)
    assert all("its draft model or prompt lookup is left out" in line for line in announced)
    with pytest.raises(GenerationParameterRefused, match="no 'lout'; perhaps you meant 'loud'"):
        load_engine("twin:fp16", project=twin_project, adapter="lout", announce=announced.append)
    asked = tmp_path / "in.jsonl"
    line = {"prompt": "What is Paris?", "generation": {"do_sample": False, "max_new_tokens": 12}}
    asked.write_text(json.dumps({**line, "generation": {**line["generation"], "ignore_eos": True}}))
    place = {"OVRECIPE_PROJECT": str(twin_project.root)}
    place |= {"OVRECIPE_STORE": str(twin_project.store_dir)}
    done = ovrecipe("batch", "twin:fp16", str(asked), "--adapter", "louder", env=place)
    assert json.loads(done.out)["answer"] == texts[1]


def test_another_content_of_an_adapter_is_another_directory(twin_project: Project) -> None:
    """The path is the same; what it holds is not."""
    path = adapter(twin_project.recipes_dir / "a.safetensors")
    recipe = {"variants": {"fp16": {}}, "adapters": {"a": {"path": "a.safetensors"}}}
    write_recipe(twin_project, "twin", {**TWIN, **recipe})
    before = BuildContext(twin_project).plan("twin").directory_key("fp16")
    adapter(path, scale=0.25)
    after = BuildContext(twin_project).plan("twin").directory_key("fp16")
    assert after != before
    # What it is multiplied by stands beside a file, too.
    path.with_name("adapter_config.json").write_text('{"lora_alpha": 64, "r": 4}')
    assert BuildContext(twin_project).plan("twin").directory_key("fp16") != after


def test_the_alpha_of_a_recipe_counts_where_pefts_cannot_be_one(tmp_path: Path) -> None:
    """The error says to give it there."""
    path = adapter(tmp_path / "a.safetensors")
    more = {"lora_alpha": 8, "r": 4, "rank_pattern": {"q_proj": 2}}
    path.with_name("adapter_config.json").write_text(json.dumps(more))
    with pytest.raises(RecipeInvalid, match="another alpha or rank for some modules"):
        read_adapter(path)
    assert read_adapter(path, alpha=0.5).alpha == 0.5


def test_adapters_that_do_not_fit_are_refused_by_their_tensors(twin_project: Project) -> None:
    """GenAI would pass over them without a word, and answer as the model alone."""
    path = twin_project.recipes_dir / "a.safetensors"

    def refused(error: type[Exception], message: str) -> None:
        recipe = {"variants": {"fp16": {}}, "adapters": {"a": {"path": path.name}}}
        with pytest.raises(error, match=message):
            built(twin_project, "fp16", **recipe)

    adapter(path, layers=4)
    other = r"the model has no model\.layers\.2\.self_attn\.q_proj, model\.layers\.3\.self_attn\.q"
    refused(RecipeInvalid, other)
    adapter(path, size=(96, 64))
    refused(RecipeInvalid, "q_proj is 64x64 in the model and 96x64 in the adapter")
    adapter(path, scale=0.0)
    refused(GateError, "adapter 'a' changes nothing of what the model says")
    path.write_bytes(adapter(path).read_bytes()[:-4])
    refused(CheckpointIncomplete, "adapter: a.safetensors has .* promises another size")
    path.write_bytes(b"no tensors")
    refused(CheckpointIncomplete, "adapter: a.safetensors is not a safetensors file")
    save_file({"model.norm.weight": np.zeros(64, np.float32)}, path)
    refused(RecipeInvalid, r"model\.norm\.weight \(F32, \[64\]\) is no matrix of a LoRA adapter")


def test_a_draft_model_of_another_vocabulary_is_refused(
    twin_project: Project, tmp_path: Path
) -> None:
    """Its tokens would mean something else to the model, and crash it or make nonsense."""
    built(twin_project, "fp16", variants={"fp16": {}})
    model_dir = view_target(twin_project.models_dir, "twin", "fp16")
    assert model_dir is not None
    assert vocabulary_objection(model_dir, model_dir) is None
    other = another_tokenizer(tmp_path / "other")
    assert vocabulary_objection(model_dir, other) is not None
    shutil.rmtree(other)


def another_tokenizer(folder: Path) -> Path:
    """Return a folder with the converted tokenizer of another family."""
    from openvino import save_model
    from openvino_tokenizers import convert_tokenizer
    from transformers import AutoTokenizer

    from tests.twins import make_tokenizer

    make_tokenizer(folder, "qwen")
    pair = convert_tokenizer(AutoTokenizer.from_pretrained(folder), with_detokenizer=True)
    for name, model in zip(("tokenizer", "detokenizer"), pair, strict=True):
        save_model(model, folder / f"openvino_{name}.xml")
    return folder
