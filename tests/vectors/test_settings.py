"""How a model is asked: the recipe's word, else that of the checkpoint's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ovrecipe.builtin.vector_settings import VectorSettings, positions, resolved
from ovrecipe.errors import ArtifactCorrupt, CheckpointIncomplete, RecipeInvalid
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.schema import Recipe
from tests.vectors.making import write, write_sentence_files


def recipe(folder: Path, task: str = "text-embedding", **sections: Any) -> Recipe:
    """Return a recipe of a file, for messages name its places."""
    path = folder / "m.yaml"
    document = {"task": task, "model": {"id": "a/b"}, "variants": {"int8": {}}, **sections}
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return load_recipe_file(path, shown_from=folder)


@pytest.mark.parametrize(
    ("said", "pooling"),
    [
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_mean_tokens", "mean"),
        ("pooling_mode_lasttoken", "last_token"),
    ],
)
def test_pooling_is_the_checkpoints(checkpoint_dir: Path, said: str, pooling: str) -> None:
    """sentence-transformers has a switch for each way."""
    write_sentence_files(checkpoint_dir, said)
    found = resolved(recipe(checkpoint_dir), checkpoint_dir)
    assert (found.pooling, found.normalize, found.max_length) == (pooling, True, 512)


def test_a_recipe_goes_before_the_checkpoint(checkpoint_dir: Path) -> None:
    """Each key by itself, and an empty instruction takes the checkpoint's back."""
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}}
    cut = {"max_seq_length": 256}
    write_sentence_files(
        checkpoint_dir,
        steps=("Transformer", "Pooling"),
        config_sentence_transformers=prompts,
        sentence_bert_config=cut,
    )
    found = resolved(recipe(checkpoint_dir), checkpoint_dir)
    assert found == VectorSettings(
        task="text-embedding",
        max_length=256,
        query_instruction="query: ",
        document_instruction="passage: ",
        pooling="mean",
        normalize=False,
    )
    given = {"pooling": "cls", "normalize": True, "query_instruction": "", "max_length": 400}
    found = resolved(recipe(checkpoint_dir, embedding=given), checkpoint_dir)
    assert found.model_dump(include=set(given)) == given
    assert found.document_instruction == "passage: "


def test_a_default_instruction_is_that_of_every_text(checkpoint_dir: Path) -> None:
    """sentence-transformers puts it in front where nobody names another one."""
    prompts = {"prompts": {"all": "text: "}, "default_prompt_name": "all"}
    write(checkpoint_dir, "config_sentence_transformers.json", prompts)
    found = resolved(recipe(checkpoint_dir, "text-rerank"), checkpoint_dir)
    assert (found.query_instruction, found.document_instruction) == ("text: ", "text: ")
    assert found.pooling is None


@pytest.mark.parametrize(
    ("pooling", "steps", "said"),
    [
        (None, (), r"m.yaml:1:1: embedding.pooling: is not given, and the checkpoint does not say"),
        ("pooling_mode_max_tokens", ("Transformer", "Pooling"), "pools in a way that nobody here"),
        (
            "pooling_mode_cls_token",
            ("Transformer", "Pooling", "Dense"),
            "m.yaml:1:1: task: .* pass a step 'Dense'",
        ),
    ],
)
def test_what_nobody_can_do_is_refused(
    checkpoint_dir: Path, pooling: str | None, steps: tuple[str, ...], said: str
) -> None:
    """A vector that was made otherwise is a wrong one, and looks like any other."""
    if pooling is not None:
        write_sentence_files(checkpoint_dir, pooling, steps=steps)
    with pytest.raises(RecipeInvalid, match=said):
        resolved(recipe(checkpoint_dir), checkpoint_dir)


def test_a_reranker_that_is_asked_in_a_chat_is_refused(checkpoint_dir: Path) -> None:
    """As a plain pair it gives another score, and nothing shows that it is wrong."""
    write(checkpoint_dir, "tokenizer_config.json", {"chat_template": "..."})
    with pytest.raises(RecipeInvalid, match=r"m.yaml:1:1: task: the checkpoint has a chat templ"):
        resolved(recipe(checkpoint_dir, "text-rerank"), checkpoint_dir)
    plain = recipe(checkpoint_dir, "text-rerank", rerank={"query_instruction": ""})
    assert resolved(plain, checkpoint_dir).query_instruction == ""
    write(checkpoint_dir, "tokenizer_config.json", {})
    (checkpoint_dir / "chat_template.jinja").write_text("...", "utf-8")
    with pytest.raises(RecipeInvalid, match=r"GenAI would read plain pairs"):
        resolved(recipe(checkpoint_dir, "text-rerank"), checkpoint_dir)
    assert resolved(recipe(checkpoint_dir, embedding={"pooling": "cls"}), checkpoint_dir)


def test_a_language_model_is_no_reranker(checkpoint_dir: Path) -> None:
    """Qwen3-Reranker as published; said before the export, whatever the recipe says of texts."""
    write(checkpoint_dir, "config.json", {"architectures": ["Qwen3ForCausalLM"]})
    asked = recipe(checkpoint_dir, "text-rerank", rerank={"query_instruction": ""})
    with pytest.raises(RecipeInvalid, match=r"task: .* Qwen3ForCausalLM, which answers yes or no"):
        resolved(asked, checkpoint_dir)


def test_more_than_there_are_positions_is_refused(checkpoint_dir: Path) -> None:
    """At its place in the recipe."""
    asked = recipe(checkpoint_dir, embedding={"pooling": "cls", "max_length": 513})
    with pytest.raises(RecipeInvalid, match=r"m.yaml:\d+:3: embedding.max_length: 513 is more"):
        resolved(asked, checkpoint_dir)


def test_positions_of_roberta_begin_behind_its_padding(checkpoint_dir: Path) -> None:
    """Its 514 positions are 512 tokens, and one more ends in an error of OpenVINO's."""
    config = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    write(checkpoint_dir, "config.json", config)
    assert positions(checkpoint_dir) == 512


def test_files_that_are_no_such_are_named(checkpoint_dir: Path) -> None:
    """A damaged checkpoint, or a damaged model."""
    (checkpoint_dir / "modules.json").write_text("{}", "utf-8")
    write(checkpoint_dir, "modules.json", [{"type": "a.Transformer"}])
    with pytest.raises(CheckpointIncomplete, match=r"modules\.json is no list of modules"):
        resolved(recipe(checkpoint_dir), checkpoint_dir)
    write(checkpoint_dir, "config.json", {})
    with pytest.raises(CheckpointIncomplete, match="how many tokens are read"):
        positions(checkpoint_dir)
    with pytest.raises(ArtifactCorrupt, match=r"vector_config\.json: task: is missing"):
        VectorSettings.load(checkpoint_dir)
