"""Messages about what a recipe says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ovrecipe.errors import RecipeInvalid
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.problems import place_in_recipe, problems_of
from ovrecipe.recipe.schema import Recipe

from .conftest import MINIMAL, Recipes


def test_all_problems_come_at_once_in_the_order_of_the_file(recipes: Recipes) -> None:
    """Fixing one mistake per run is what everyone hates."""
    text = (
        "model: {id: 12}\n"
        "variants:\n"
        "  int4: {grup_size: 64, ratio: 0}\n"
        "prompt: {template: no placeholder}\n"
    )
    assert recipes.refusal(text).splitlines() == [
        "recipes/r.yaml:1:13: model.id: must be text, got 12; put it in quotes",
        "recipes/r.yaml:3:10: variants.int4.grup_size: unknown key; perhaps you meant 'group_size'",
        "recipes/r.yaml:3:32: variants.int4.ratio: must be greater than 0, got 0",
        (
            "recipes/r.yaml:4:10: prompt.template: has no {instruction}, "
            "so no instruction would be asked"
        ),
    ]


def test_values_that_are_none_are_told_with_all_else(recipes: Recipes) -> None:
    """A `.nan` is one mistake of several, and a value of its own kind is not missed beside it."""
    text = "model: {id: 12}\nvariants: {int4: {ratio: .nan, grup_size: 4}}\nprompt: {stop: .inf}\n"
    assert recipes.refusal(text).splitlines() == [
        "recipes/r.yaml:1:13: model.id: must be text, got 12; put it in quotes",
        "recipes/r.yaml:2:26: .nan is no number that a recipe can use",
        "recipes/r.yaml:2:32: variants.int4.grup_size: unknown key; perhaps you meant 'group_size'",
        "recipes/r.yaml:3:16: .inf is no number that a recipe can use",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("modle: {}", "5:1: modle: unknown key; perhaps you meant 'model'"),
        ("temperature: 1", "temperature: unknown key; it belongs under generation"),
        ("evaluators: []", "evaluators: unknown key; it belongs under check"),
        ("group_size: 64", "group_size: unknown key; it belongs under variants.NAME"),
        ("name: other", "name: unknown key; a recipe is called what its file is called"),
        ("path: other", "path: unknown key; a recipe is called what its file is called"),
        ("zzzzzz: 1", "zzzzzz: unknown key; known are extends, description, requires"),
        ("accept: {mean_lk: 0.1}", "accept.mean_lk: unknown key; perhaps you meant 'mean_kl'"),
        ("accept: {mean_kl: -0.1}", "5:19: accept.mean_kl: must be greater than 0, got -0.1"),
        ("accept: {same_top: 90}", "accept.same_top: must be at most 1, got 90"),
        ("prompt:", "5:8: prompt: must be a mapping of keys, got nothing; remove the key"),
        ("prompt: text", "prompt: must be a mapping of keys, got the text 'text'"),
        ("prompt: {stop: x}", "prompt.stop: must be a list, got the text 'x'; write ['x']"),
        ("prompt: {stop: [a, 1]}", "5:20: prompt.stop[1]: must be text, got 1"),
        ("prompt: {stop: ['']}", "prompt.stop[0]: must not be empty"),
        (
            "prompt: {add_special_tokens: no}",
            "must be true or false, got the text 'no'; only YAML 1.1 reads that as a boolean",
        ),
        (
            "prompt: {template: 'x {instruction}', chat_template: model}",
            "5:39: prompt.chat_template: stands beside 'template'; keep one of the two",
        ),
        (
            "prompt: {template: '{instruction}', system: Be kind}",
            "prompt.system: the template has no {system}, so it would be ignored",
        ),
        (
            "prompt: {template: '{system} {instruction}'}",
            "prompt.template: has {system}, but 'system' is not given",
        ),
        ("generation: {top_k: '5'}", "must be a whole number, got the text '5'; remove the quotes"),
        ("generation: {top_k: 1.5}", "generation.top_k: must be a whole number, got 1.5"),
        ("generation: {top_k: -1}", "generation.top_k: must be at least 0, got -1"),
        ("generation: {top_k: 9223372036854775808}", "must be at most 9223372036854775807, got"),
        ("generation: {temperature: 0}", "must be greater than 0, got 0"),
        ("generation: {temperature: true}", "must be a number, got true"),
        ("generation: {top_p: 1.5}", "must be at most 1, got 1.5"),
        (
            "generation: {stop_criteria: NEVR}",
            "must be one of EARLY, HEURISTIC, NEVER, got the text 'NEVR'; perhaps you meant",
        ),
        ("output: {filters: [{name: a, option: {}}]}", "perhaps you meant 'options'"),
        ("requires: {ovrecipe: latest}", "must be versions like '>=1.2,<2', got 'latest'"),
        ("requires: {plugins: {a: x}}", "requires.plugins.a: must be versions like"),
        ("requires: {plugins: [a]}", "requires.plugins: must be a mapping of keys, got a list"),
        ("plugins: {'a b': 1}", "plugins.a b: a name is letters, digits"),
    ],
)
def test_a_message_says_where_what_and_what_instead(
    recipes: Recipes, line: str, message: str
) -> None:
    """Each mistake has one sentence of its own, no pydantic words."""
    found = recipes.refusal(f"{MINIMAL}#\n#\n{line}\n")
    assert message in found
    assert found.startswith("recipes/r.yaml:5:")


def test_missing_sections_are_named(recipes: Recipes) -> None:
    """A recipe without a model cannot be guessed."""
    assert recipes.refusal("description: x\n").splitlines() == [
        "recipes/r.yaml:1:1: model: is missing",
        "recipes/r.yaml:1:1: variants: is missing",
    ]


def test_a_missing_key_points_at_its_section(recipes: Recipes) -> None:
    """The line of the section is where the key has to be written."""
    text = "variants: {int8: {}}\nmodel:\n  revision: main\n"
    assert recipes.refusal(text) == "recipes/r.yaml:2:1: model.id: is missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int4: {group_size: 0}", "2:31: variants.int4.group_size: must be -1"),
        ("int4: {group_size: -2}", "variants.int4.group_size: must be at least -1, got -2"),
        ("int4: {group_size: '128'}", "must be a whole number, got the text '128'; remove"),
        ("int4: {ratio: 2}", "must be at most 1, got 2"),
        ("int4: 4", "variants.int4: must be a mapping of keys, got 4"),
        ("fast: {}", "variants.fast.precision: is missing; it is read from the first part"),
        ("int4: {precision: int5}", "must be one of fp16, int8, int4"),
        ("'a b': {precision: int4}", "2:12: variants.a b: a name is letters, digits"),
        ("..: {precision: int4}", "variants...: a name is letters, digits"),
        ("nul: {precision: int4}", "2:12: variants.nul: Windows keeps 'nul' for a device"),
        ("int4.: {}", "variants.int4.: a name does not end in '.'"),
        ("", "variants: must not be empty; name at least one"),
        ("int4: {dataset: wikitext2}", "must be 'generated' or a .jsonl or .txt file"),
        ("int4: {passes: [{mode: int4}]}", "2:35: variants.int4.passes[0].mode: must be one of"),
        (
            "int4: {ignored_scope: {patterns: [a, '(']}}",
            "patterns[1]: '(' is no regular expression",
        ),
        ("int4: {ignored_scope: {nams: [a]}}", "ignored_scope.nams: unknown key; perhaps you"),
        ("int4: {generation: {topk: 1}}", "variants.int4.generation.topk: unknown key; perhaps"),
    ],
)
def test_variants_are_checked_before_anything_is_built(
    variant: Callable[[str], str], text: str, message: str
) -> None:
    """An hour of export is no time to learn of a typing mistake."""
    assert message in variant(text)


def test_errors_of_recipes_for_a_newer_ovrecipe_say_so(recipes: Recipes) -> None:
    """An unknown key may simply be younger than this installation."""
    recipes.write("requires: {ovrecipe: '>=99'}\nmodel: {id: a, warp: 9}\nvariants: {int8: {}}\n")
    with pytest.raises(RecipeInvalid, match="it was written for ovrecipe>=99; this is"):
        load_recipe(recipes.project, "r")


class Options(BaseModel):
    """What a plugin may have as its class of options: not strict, not ours."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=1, ge=1)
    markers: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("options", "at", "message"),
    [
        ("{limt: 2}", "limt", ".limt: unknown key; perhaps you meant 'limit'"),
        ("{limit: 0}", "0", ".limit: must be at least 1, got 0"),
        ("{limit: much}", "much", ".limit: must be a whole number, got the text 'much'"),
        ("{markers: x}", "x}", ".markers: must be a list, got the text 'x'; write ['x']"),
        ("{markers: [x, 1]}", "1", ".markers[1]: must be text, got 1; put it in quotes"),
        ("{kind: c}", "c}", ".kind: must be one of a, b, got the text 'c'"),
    ],
)
@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ("mine: @", "output.filters[0].mine"),
        ("{name: mine, options: @}", "output.filters[0].options"),
    ],
)
def test_options_of_plugins_are_told_as_keys_of_ours_are(
    recipes: Recipes, options: str, at: str, message: str, entry: str, where: str
) -> None:
    """In both ways to write them, and with the place, which the plugin's class does not know."""
    line = f"output: {{filters: [{entry.replace('@', options)}]}}"
    recipe = recipes.load(f"{MINIMAL}{line}\n")
    loc = ("output", "filters", 0, "options")
    with pytest.raises(ValidationError, match="validation error") as caught:
        Options.model_validate(dict(recipe.output.filters[0].options))
    [problem] = problems_of(caught.value, model=Options, tree=recipe.tree, loc=loc)
    column = line.index(at, line.index("mine")) + 1
    assert str(problem) == f"recipes/r.yaml:3:{column}: {where}{message}"
    [unplaced] = problems_of(caught.value, model=Options, tree=None, loc=loc)
    assert str(unplaced) == f"output.filters[0].options{message}"


def test_a_key_has_its_place_in_the_recipe(recipes: Recipes) -> None:
    """What others say about a recipe has a place too; of what is written nowhere, the nearest."""
    recipe = recipes.load(f"{MINIMAL}output: {{filters: [a: {{b: 1}}]}}\n")
    assert str(place_in_recipe(recipe, ("variants", "int8", "ratio"))) == "recipes/r.yaml:2:12"
    where = ("output", "filters", 0, "options", "b")
    assert str(place_in_recipe(recipe, where)) == "recipes/r.yaml:3:24"
    rebuilt = Recipe.model_validate_json(recipe.model_dump_json(by_alias=True))
    assert place_in_recipe(rebuilt, where).shown == "r.yaml"
