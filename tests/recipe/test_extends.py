"""One recipe laid over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovrecipe.recipe.load import merged
from ovrecipe.recipe.yaml_reader import Node, Place, plain

if TYPE_CHECKING:
    from .conftest import Recipes

BASE = """\
model: {id: org/name, revision: v1}
prompt: {template: "Q: {instruction}", stop: [a, b]}
variants:
  fp16: {}
  int4: {sym: true, group_size: 64, ratio: 0.6}
generation: {temperature: 0.8, top_k: 5}
"""


@pytest.fixture
def base(recipes: Recipes) -> Recipes:
    recipes.write(BASE, "base")
    return recipes


def test_mappings_merge_and_everything_else_is_replaced(base: Recipes) -> None:
    """A child says only what it changes; a list it gives is the whole list."""
    recipe = base.load(
        "extends: base\nprompt: {stop: [c]}\nvariants: {int4: {ratio: 1.0}, int8: {}}\n"
    )
    assert recipe.model.id == "org/name"
    assert recipe.prompt.stop == ("c",)
    assert recipe.prompt.template == "Q: {instruction}"
    assert list(recipe.variants) == ["fp16", "int4", "int8"]
    int4 = recipe.variants["int4"]
    assert (int4.sym, int4.group_size, int4.ratio) == (True, 64, 1.0)


def test_null_takes_an_inherited_key_back(base: Recipes) -> None:
    """Otherwise a child could add variants and parameters, and never drop one."""
    recipe = base.load("extends: base\nvariants: {fp16: null}\ngeneration: {top_k: null}\n")
    assert list(recipe.variants) == ["int4"]
    assert recipe.generation.given() == {"temperature": 0.8}


def test_limits_are_inherited_and_a_variants_own_come_first(base: Recipes) -> None:
    """Of a child, of a variant: the nearest one that says something of a figure is meant."""
    base.write(
        "extends: base\naccept: {mean_kl: 0.2, same_top: 0.8}\n"
        "variants: {int4: {accept: {mean_kl: 0.4}}}\n",
        "strict",
    )
    recipe = base.load("extends: strict\naccept: {same_top: 0.9}\n")
    assert recipe.accept_of("fp16").given() == {"mean_kl": 0.2, "same_top": 0.9}
    assert recipe.accept_of("int4").given() == {"mean_kl": 0.4, "same_top": 0.9}


def test_a_variant_without_knobs_may_be_empty(recipes: Recipes) -> None:
    """Nothing is inherited here, so `int8:` is the same as `int8: {}`."""
    recipe = recipes.load("model: {id: a}\nvariants:\n  int8:\n")
    assert recipe.variants["int8"].precision == "int8"


def test_a_childs_template_replaces_an_inherited_chat_template(base: Recipes) -> None:
    """Only one can be meant, and it is the one that the child says."""
    assert base.load("extends: base\nprompt: {chat_template: model}\n").prompt.template is None
    base.write("extends: base\nprompt: {chat_template: model}\n", "chat")
    grandchild = base.load("extends: chat\nprompt: {template: '{instruction}'}\n")
    assert grandchild.prompt.chat_template is None


def test_passes_replace_inherited_knobs(base: Recipes) -> None:
    """Inherited knobs beside a list of passes would only be an error to work around."""
    recipe = base.load("extends: base\nvariants: {int4: {passes: [{awq: true}]}}\n")
    passes = recipe.variants["int4"].compression_passes()
    assert [compression.awq for compression in passes] == [True]


def test_options_of_plugins_have_no_such_rules(base: Recipes) -> None:
    """`template` means something else in a plugin's settings."""
    base.write("extends: base\nplugins: {x: {template: a, chat_template: b}}\n", "mid")
    assert base.load("extends: mid\nplugins: {x: {template: c}}\n").plugins["x"] == {
        "template": "c",
        "chat_template": "b",
    }


def test_errors_point_into_the_file_where_the_value_stands(base: Recipes) -> None:
    """A user must not search the child for a mistake of its parent."""
    base.write(BASE.replace("sym: true", "sim: true"), "base")
    assert base.refusal("extends: base\nvariants: {int4: {ratio: 3}}\n") == (
        "recipes/base.yaml:5:10: variants.int4.sim: unknown key; perhaps you meant 'sym'\n"
        "recipes/r.yaml:2:26: variants.int4.ratio: must be at most 1, got 3"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: r\n", "recipes/r.yaml:1:10: extends: goes in a circle: r -> r"),
        ("extends: nobody\n", "recipes/r.yaml:1:10: extends: no recipe 'nobody' in recipes/"),
        ("extends: ../base\n", "extends: takes the name of one recipe in the same folder"),
        ("extends: [base]\n", "extends: takes the name of one recipe"),
    ],
)
def test_what_cannot_be_extended_is_refused(base: Recipes, text: str, message: str) -> None:
    """Circles and paths out of the folder end where they stand."""
    assert message in base.refusal(text)


def test_a_circle_of_several_is_drawn(recipes: Recipes) -> None:
    """The message shows the way round."""
    recipes.write("extends: b\n", "a")
    recipes.write("extends: c\n", "b")
    message = recipes.refusal("extends: a\n", "c")
    assert message == "recipes/b.yaml:1:10: extends: goes in a circle: c -> a -> b -> c"


def test_long_chains_are_refused(recipes: Recipes) -> None:
    """Nobody can follow more than ten files."""
    for number in range(12):
        recipes.write(f"extends: r{number + 1}\n", f"r{number}")
    recipes.write(BASE, "r12")
    assert "extends: more than 10 recipes in a row" in recipes.refusal("extends: r0\n", "r")


#: A busy machine takes its time.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PLACE = Place("f", 1, 1)
LEAVES = st.integers() | st.text(max_size=3)


def node(value: object) -> Node:
    if isinstance(value, dict):
        return Node({key: node(item) for key, item in value.items()}, PLACE)
    if isinstance(value, list):
        return Node(tuple(node(item) for item in value), PLACE)
    assert value is None or isinstance(value, str | int)
    return Node(value, PLACE)


DOCUMENTS = st.recursive(
    LEAVES | st.lists(LEAVES, max_size=2),
    lambda below: st.dictionaries(st.sampled_from("abcd"), below, max_size=4),
).filter(lambda value: isinstance(value, dict))


@UNHURRIED
@given(one=DOCUMENTS)
def test_merging_with_nothing_or_itself_changes_nothing(one: object) -> None:
    """An empty child is its parent."""
    assert plain(merged(node(one), node({}))) == one
    assert plain(merged(node({}), node(one))) == one
    assert plain(merged(node(one), node(one))) == one


@UNHURRIED
@given(one=DOCUMENTS, two=DOCUMENTS, three=DOCUMENTS)
def test_what_the_child_says_holds_and_chains_may_be_grouped(
    one: object, two: object, three: object
) -> None:
    """Merging is the same from either end, unless a mapping is replaced by a value and back."""
    both = plain(merged(node(one), node(two)))
    assert holds(two, both)
    left = merged(merged(node(one), node(two)), node(three))
    assert holds(three, plain(left))


def holds(said: object, result: object) -> bool:
    if isinstance(said, dict) and isinstance(result, dict):
        return all(key in result and holds(inner, result[key]) for key, inner in said.items())
    return said == result
