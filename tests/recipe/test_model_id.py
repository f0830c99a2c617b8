"""Which source a model id belongs to."""

from __future__ import annotations

import pytest

from ovrecipe.recipe.schema import model_id_objection, split_model_id

from .conftest import Recipes


@pytest.mark.parametrize(
    ("model_id", "parts"),
    [
        ("org/name", ("hub", "org/name")),
        ("gpt2", ("hub", "gpt2")),
        ("./dir", ("local", "./dir")),
        ("../dir", ("local", "../dir")),
        ("/abs/dir", ("local", "/abs/dir")),
        ("~/dir", ("local", "~/dir")),
        (".", ("local", ".")),
        ("C:\\models\\x", ("local", "C:\\models\\x")),
        ("C:/models/x.gguf", ("gguf", "C:/models/x.gguf")),
        ("./x.GGUF", ("gguf", "./x.GGUF")),
        ("org/name.gguf", ("hub", "org/name.gguf")),
        ("dist:some-dist/pkg/file.gguf", ("dist", "some-dist/pkg/file.gguf")),
        ("s3:bucket/key", ("s3", "bucket/key")),
    ],
)
def test_an_id_names_its_source(model_id: str, parts: tuple[str, str]) -> None:
    """Paths are told from hub ids by how they start, as in a shell."""
    assert split_model_id(model_id) == parts


@pytest.mark.parametrize(
    "model_id",
    ["org/name", "gpt2", "a", "Foo-BAR_foo.bar123", "hub:org/name", "./x y/z", "s3:x y", "_a/b_c"],
)
def test_ids_that_some_source_could_know_are_fine(model_id: str) -> None:
    """Paths may be anything, and a plugin judges its own scheme."""
    assert model_id_objection(model_id) is None


@pytest.mark.parametrize(
    "model_id",
    ["x y/z", "a/b/c", "org/", "a--b", "a..b", ".a", "a.", "-a", "ä/b", "a" * 97, "a.git"],
)
def test_what_can_be_no_hub_id_is_refused_before_anyone_is_asked(
    recipes: Recipes, model_id: str
) -> None:
    """The hub would say so at the first build; the rules are those of its own client."""
    message = recipes.refusal(f"model: {{id: {model_id!r}}}\nvariants: {{int8: {{}}}}\n")
    assert message.startswith(f"recipes/r.yaml:1:9: model.id: '{model_id}' is no hub id")


@pytest.mark.model
@pytest.mark.parametrize(
    "model_id",
    ["a/b", "a--b", "a..b", ".a", "a.", "-a/b", "a-/b", "a" * 96, "a" * 97, "a.git", "_a"],
)
def test_the_rules_are_those_of_the_hubs_client(model_id: str) -> None:
    """A refusal of ours that the hub would not make blocks a user for nothing."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(model_id)
    except HFValidationError:
        assert model_id_objection(model_id)
    else:
        assert model_id_objection(model_id) is None


@pytest.mark.parametrize(
    ("model_id", "kind"),
    [
        ("./dir", "a local folder"),
        ("./x.gguf", "a GGUF file"),
        ("dist:some-dist/x.gguf", "a file of an installed distribution"),
    ],
)
def test_a_revision_of_what_has_none_is_refused(recipes: Recipes, model_id: str, kind: str) -> None:
    """It would be ignored, and the user believe that a commit was built."""
    text = f"model: {{id: '{model_id}', revision: v1}}\nvariants: {{int8: {{}}}}\n"
    assert f"model.revision: {kind} has no revisions; remove it" in recipes.refusal(text)


@pytest.mark.parametrize("model_id", ["org/name", "s3:bucket/key"])
def test_the_hub_and_plugins_may_have_revisions(recipes: Recipes, model_id: str) -> None:
    """Only for the built-in sources is it known that they have none."""
    text = f"model: {{id: '{model_id}', revision: v1}}\nvariants: {{int8: {{}}}}\n"
    assert recipes.load(text).model.revision == "v1"
