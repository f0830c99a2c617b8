"""`docs/plugins.md` is executed; a hook without documentation and example fails here."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ovrecipe.cli.plugin_scaffold import KINDS, scaffold
from ovrecipe.errors import RecipeInvalid
from ovrecipe.hooks import specs
from ovrecipe.hooks.checks import hook_names
from ovrecipe.hooks.conformance import PROTOCOLS
from ovrecipe.hooks.observing import OBSERVER_HOOKS
from ovrecipe.hooks.probing import sample_recipe
from ovrecipe.hooks.roles import ROLES, WeightShape
from ovrecipe.hooks.sections import validate_sections
from ovrecipe.testing import assert_plugin_conforms, plugins_with

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import Role

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
#: The plugins of the page: name, and the role that it is an example of.
EXAMPLES: dict[str, Role] = {
    "budget": "compressor",
    "shared": "source",
    "ready-ir": "exporter",
    "ready-tokenizer": "tokenizer_converter",
    "keep-some": "compressor",
    "expect": "evaluator",
    "replace": "output_filter",
    "numbered": "frontend",
}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def example(name: str) -> ModuleType:
    [code] = [each for each in blocks() if f'NAME = "{name}"' in each]
    module = ModuleType(f"example_{name}".replace("-", "_"))
    exec(code, vars(module))
    return module


@pytest.mark.parametrize("hook", hook_names())
def test_each_hook_has_a_section_with_its_arguments_and_an_example(hook: str) -> None:
    arguments = ", ".join(inspect.signature(getattr(specs, hook)).parameters)
    assert f"### `{hook}({arguments})`" in PAGE
    assert any(f"def {hook}(" in each for each in blocks())


def test_the_sections_are_in_the_order_of_the_specification() -> None:
    assert re.findall(r"^### `(\w+)\(", PAGE, flags=re.MULTILINE) == hook_names()


def test_each_hook_is_of_a_kind_whose_examples_are_run_here() -> None:
    """A hook of a new kind fails until it is tested too."""
    of_roles = [f"get_{role}" for role in ROLES]
    assert {*hook_names()} == {"provider_names", "get_recipe_section", *of_roles, *OBSERVER_HOOKS}


@pytest.mark.parametrize("hook", OBSERVER_HOOKS)
def test_the_observer_of_the_example_is_told(hook: str, tmp_path: Path) -> None:
    arguments = {
        "recipe": sample_recipe(),
        "variant": "int4",
        "stage": "weights",
        "artifact_dir": tmp_path,
        "manifest": {"seconds": 1.5},
        "result": SimpleNamespace(generated_tokens=3, finish_reason="stop"),
    }
    os.environ["OVRECIPE_JOURNAL"] = str(tmp_path / "journal")
    said: list[str] = []
    plugins_with(example("journal")).observers.tell(hook, arguments, report=said.append)
    del os.environ["OVRECIPE_JOURNAL"]
    assert said == []
    noted = json.loads((tmp_path / "journal").read_text())
    assert (noted["recipe"], noted["variant"]) == ("sample", "int4")


def test_each_role_has_a_hook() -> None:
    assert {f"get_{role}" for role in ROLES} <= set(hook_names())
    assert set(PROTOCOLS) == set(ROLES) == set(EXAMPLES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_keeps_the_contract_and_is_found_by_its_name(name: str) -> None:
    plugin, role = example(name), EXAMPLES[name]
    assert_plugin_conforms(plugin)
    found = plugins_with(plugin).provider(role, name, sample_recipe())  # type: ignore[call-overload]
    assert found.plugin == plugin.__name__


def test_the_examples_are_what_new_plugin_writes() -> None:
    """Those are installed and run with their own tests in test_new_plugin."""
    written = [(role, name) for name, role in EXAMPLES.items() if name != "budget"]
    kinds = [*written, ("observer", "journal"), ("command", "most-variants")]
    assert {kind for kind, _ in kinds} == set(KINDS)
    for kind, name in kinds:
        module = f"ovrecipe_{name.replace('-', '_')}/__init__.py"
        [code] = [text for path, text in scaffold(name, kind).items() if str(path) == module]
        assert code in blocks(), f"the example of {kind} is not what new-plugin writes"


def test_the_section_of_the_example_reaches_its_compressor() -> None:
    plugins = plugins_with(example("budget"))
    recipe = sample_recipe({"budget": {"max_size_mb": 1}})
    validate_sections(recipe, plugins)
    found = plugins.provider("compressor", "budget", recipe)
    shapes = [WeightShape("layer", (2000, 1000), "f16")]
    variant = recipe.variants["fp16"]
    assert found.provider.problems(variant, "int8", shapes) == ["2 MB of weights, 1 allowed"]
    assert found.key_fields()["sections"] == {"budget": {"max_size_mb": 1.0}}
    with pytest.raises(RecipeInvalid, match="perhaps you meant 'max_size_mb'"):
        validate_sections(sample_recipe({"budget": {"max_size": 1}}), plugins)


def test_the_frontend_of_the_example_numbers_lines() -> None:
    out = io.StringIO()
    frontend = plugins_with(example("numbered")).provider("frontend", "numbered", sample_recipe())
    generation = ["a\n", "b"]
    frontend.provider.show(generation, SimpleNamespace(out=out))  # type: ignore[arg-type]
    assert out.getvalue() == "  1 a\n  2 b\n"


def test_every_name_that_selects_plugins_is_documented() -> None:
    for name in ("OVRECIPE_DISABLED_PLUGINS", "OVRECIPE_LOAD_PLUGINS", "-p no:", "--check"):
        assert name in PAGE


def test_every_fixture_is_documented() -> None:
    source = Path(inspect.getfile(plugins_with)).with_name("pytest_plugin.py").read_text()
    fixtures = re.findall(r"@pytest\.fixture\ndef (\w+)", source)
    assert fixtures
    assert [name for name in fixtures if f"| `{name}` |" not in PAGE] == []
