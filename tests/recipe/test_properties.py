"""Any bytes, and any recipe that keeps the rules."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovrecipe.errors import RecipeError
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import bundled_recipes_dir, name_objection
from ovrecipe.recipe.schema import GenerationParameters, Recipe, model_id_objection

#: Pieces that make almost-recipes, which find more than random bytes do.
PIECES = st.sampled_from(
    [
        *("model", "variants", "prompt", "extends", "int4", "null", "1e-3", ".inf", "~"),
        *(": ", "\n", "  ", "- ", "{", "}", "[", "]", ", ", "? ", "#", "'", '"', "|\n", ">\n"),
        *("&a ", "*a", "<<", "!!int ", "---\n", "...\n", "%YAML 1.1\n"),
        *("\t", "\r", "\ufeff", "\x00", "\x85", "\u2028", "😀"),
    ]
)
ALMOST = st.lists(PIECES | st.text(max_size=3), max_size=40).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
)


def load(data: bytes) -> Recipe:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_bytes(data)
        return load_recipe_file(path)


def refusal(data: bytes) -> str | None:
    try:
        load(data)
    except RecipeError as error:
        return error.message
    return None


@settings(max_examples=600, deadline=None)
@given(data=ALMOST | st.binary(max_size=60))
@example(data=b"model: {id: a}\nvariants: {int8: {}}\nplugins: {a: " + b"9" * 5000 + b"}")
@example(data=b"? {a: b}\n: c")
@example(data=b"&a a: *a")
def test_any_bytes_are_a_recipe_or_a_recipe_error(data: bytes) -> None:
    """Whatever lies in recipes/, no traceback reaches a user."""
    assert refusal(data) is None or "r.yaml" in str(refusal(data))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    paths = sorted(bundled_recipes_dir().glob("*.yaml"))
    data = draw(st.sampled_from(paths)).read_bytes()
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 8)))
    return data[:start] + draw(st.binary(max_size=4)) + data[end:]


@settings(max_examples=300, deadline=None)
@given(data=mutated())
def test_damaged_recipes_load_or_say_where_they_are_wrong(data: bytes) -> None:
    """Real files with a slip of the keyboard in them."""
    assert refusal(data) is None or "r.yaml" in str(refusal(data))


#: Line and paragraph separators (Zl, Zp) end lines in YAML 1.1 only, so the reader refuses them.
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"], include_characters="\n\t"),
    min_size=1,
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda name: name_objection(name) is None
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(TEXT, below, max_size=2),
    max_leaves=5,
)
KNOBS = st.fixed_dictionaries(
    {},
    optional={
        "sym": st.booleans(),
        "group_size": st.sampled_from([-1, 32, 64, 128]),
        "ratio": st.floats(0.01, 1),
        "awq": st.booleans(),
        "all_layers": st.booleans(),
        "optional": st.booleans(),
        "generation": st.fixed_dictionaries({}, optional={"top_k": st.integers(0, 100)}),
    },
)
VARIANTS = st.dictionaries(NAMES.map(lambda name: f"int4-{name}"), KNOBS, min_size=1, max_size=3)
MODEL_IDS = TEXT.map(lambda text: f"./{text}") | NAMES.filter(
    lambda name: model_id_objection(f"org/{name}") is None
).map(lambda name: f"org/{name}")
RECIPES = st.fixed_dictionaries(
    {"model": st.fixed_dictionaries({"id": MODEL_IDS}), "variants": VARIANTS},
    optional={
        "description": TEXT,
        "prompt": st.fixed_dictionaries(
            {"template": TEXT.map(lambda text: text.replace("{system}", "") + "{instruction}")},
            optional={"stop": st.lists(TEXT, max_size=3), "add_special_tokens": st.booleans()},
        ),
        "generation": st.fixed_dictionaries(
            {},
            optional={
                "temperature": st.floats(0.01, 10),
                "max_new_tokens": st.integers(1, 2**31),
                "stop_strings": st.lists(TEXT, max_size=2),
                "echo": st.booleans(),
            },
        ),
        "plugins": st.dictionaries(NAMES, JSON, max_size=2),
    },
)


@settings(max_examples=150, deadline=None)
@given(document=RECIPES)
def test_every_recipe_that_keeps_the_rules_loads_as_it_was_written(
    document: dict[str, Any],
) -> None:
    """JSON is YAML: what is written is what is read, no character lost."""
    recipe = load(json.dumps(document, ensure_ascii=False).encode())
    assert recipe.model.id == document["model"]["id"]
    assert list(recipe.variants) == list(document["variants"])
    assert json.loads(json.dumps(dict(recipe.plugins))) == document.get("plugins", {})
    given_generation = json.loads(json.dumps(recipe.generation.given()))
    assert given_generation == document.get("generation", {})
    assert GenerationParameters.model_validate(given_generation) == recipe.generation
    assert json.loads(recipe.model_dump_json())["prompt"]["stop"] == document.get("prompt", {}).get(
        "stop", []
    )
