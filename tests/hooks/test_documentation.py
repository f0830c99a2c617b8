"""`docs/plugins.md` is executed; a role or hook without documentation and example fails here."""

from __future__ import annotations

import inspect
import io
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ovrecipe.cli.plugin_scaffold import KINDS, scaffold
from ovrecipe.cli.session import Session
from ovrecipe.errors import RecipeInvalid
from ovrecipe.hooks import specs
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.plugins import hook_names
from ovrecipe.hooks.provided import Traits
from ovrecipe.hooks.roles import ROLES, WeightShape
from ovrecipe.testing import assert_chunk_invariant, assert_plugin_conforms, filtered, plugins_with
from ovrecipe.testing.checks import PUBLIC_IN_TESTS, private_imports
from tests.hooks.test_contract_kit import module

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
#: The names under which `new-plugin` wrote the examples of the page.
EXAMPLES = {
    "source": "shared",
    "exporter": "ready-ir",
    "tokenizer_converter": "ready-tokenizer",
    "compressor": "keep-some",
    "evaluator": "expect",
    "output_filter": "replace",
    "frontend": "numbered",
    "command": "most-variants",
    "observer": "journal",
}


def blocks(language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def section(heading: str) -> str:
    """Return what stands under a heading of the page."""
    return PAGE.split(f"\n### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]


def example(kind: str) -> Any:
    """Return the example of a kind, which must be on the page as `new-plugin` writes it."""
    name = EXAMPLES[kind]
    path = f"ovrecipe_{name.replace('-', '_')}/__init__.py"
    [code] = [text for written, text in scaffold(name, kind).items() if str(written) == path]
    assert code in blocks(), f"the example of {kind} is not what new-plugin writes"
    return module(code)


def test_each_role_has_a_section_in_the_order_of_the_route() -> None:
    """A role that is not on the page does not exist for authors."""
    assert re.findall(r"^### `(\w+)`$", PAGE, flags=re.MULTILINE) == list(ROLES)


def test_each_hook_has_a_section_with_its_arguments() -> None:
    """In the order of the specification."""
    wanted = [
        f"{name}({', '.join(inspect.signature(getattr(specs, name)).parameters)})"
        for name in hook_names()
    ]
    assert re.findall(r"^### `(\w+\(.*\))`$", PAGE, flags=re.MULTILINE) == wanted


def test_every_role_but_sections_has_an_example_that_new_plugin_writes() -> None:
    """A section alone is of no use, its example is below; a cluster's is ovrecipe-ray."""
    assert {*EXAMPLES} == {*KINDS} == {*ROLES, "observer"} - {"recipe_section", "cluster"}


@pytest.mark.parametrize("role", [role for role in ROLES if role in EXAMPLES])
def test_each_example_keeps_the_contract_and_is_found_by_its_name(role: str) -> None:
    """What is copied from the page works."""
    thing = getattr(example(role), KINDS[role][0].removeprefix(":"))
    given = {role: {EXAMPLES[role]: thing}}
    assert_plugin_conforms(**given)
    assert plugins_with(**given).names(role)[-1] == EXAMPLES[role]
    assert f"`{role}`" in PAGE


def test_the_first_example_is_at_most_ten_lines_and_shouts() -> None:
    """All that a filter needs; the README shows the same."""
    code = blocks()[0]
    assert len(code.strip().splitlines()) <= 10
    assert code in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    plugin = module(code)
    assert_plugin_conforms(plugin)
    found = plugins_with(plugin).provider("output_filter", "shout", sample_recipe())
    assert filtered(found.provider, None, ["so ", "loud"]) == "SO LOUD"
    assert_chunk_invariant(plugin.shout)


def test_the_toml_examples_announce_in_groups_that_there_are() -> None:
    """A typo on the page would be copied."""
    groups = {f"ovrecipe.{role}" for role in ROLES} | {"ovrecipe"}
    tables = [tomllib.loads(text)["project"]["entry-points"] for text in blocks("toml")]
    assert tables
    assert {group for table in tables for group in table} <= groups


@pytest.mark.parametrize("hook", ["after_stage", "after_generation"])
def test_the_observer_of_the_example_is_told(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that a build or an answer tells."""
    given = {
        "recipe": sample_recipe(),
        "variant": "int4",
        "stage": "weights",
        "artifact_dir": tmp_path,
        "manifest": {"seconds": 1.5},
        "question": "why?",
        "messages": (),
        "result": SimpleNamespace(generated_tokens=3, finish_reason="stop"),
    }
    arguments = {name: given[name] for name in inspect.signature(getattr(specs, hook)).parameters}
    monkeypatch.setenv("OVRECIPE_JOURNAL", str(tmp_path / "journal"))
    said: list[str] = []
    plugins_with(example("observer")).tell(hook, arguments, report=said.append)
    assert said == []
    noted = json.loads((tmp_path / "journal").read_text())
    assert (noted["recipe"], noted["variant"]) == ("sample", "int4")


def test_the_section_of_the_example_reaches_its_compressor() -> None:
    [code] = [text for text in blocks() if "class Limits" in text]
    plugin = module(code)
    plugins = plugins_with(
        compressor={"limited": plugin.LimitedCompressor}, recipe_section={"limited": plugin.Limits}
    )
    recipe = sample_recipe({"limited": {"max_size_mb": 1}})
    found = plugins.provider("compressor", "limited", recipe)
    shapes = [WeightShape("layer", (2000, 1000), "f16")]
    assert found.optional("problems", None, "int8", shapes) == ["2 MB of weights, 1 allowed"]
    assert found.key_fields()["sections"] == {"limited": {"max_size_mb": 1.0}}
    with pytest.raises(RecipeInvalid, match="perhaps you meant 'max_size_mb'"):
        plugins.sections(sample_recipe({"limited": {"max_size": 1}}))


def test_the_frontend_of_the_example_numbers_lines() -> None:
    console = SimpleNamespace(out=io.StringIO(), err=io.StringIO())

    class Answer(list[str]):
        recipe, question = sample_recipe(), "why?"

    example("frontend").NumberedFrontend().show(Answer(["a\n", "b"]), console)
    assert console.out.getvalue() == "  1 a\n  2 b\n"


def test_the_tests_of_the_page_are_tests() -> None:
    """The last example is run with what it tests."""
    code = blocks()[-1]
    plugin = example("output_filter")
    code = code.replace("from ovrecipe_replace import replace_text\n", "")
    tests = ModuleType("tests")
    vars(tests)["replace_text"] = plugin.replace_text
    exec(code, vars(tests))
    tests.test_the_cuts_do_not_matter(assert_chunk_invariant)
    checked: list[str] = []
    tests.test_the_plugin_keeps_the_contract(checked.append)
    assert checked == ["ovrecipe-replace"]


def test_every_attribute_of_a_provider_is_documented() -> None:
    """And nothing else is promised."""
    table = PAGE.split("| attribute | means |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(Traits.model_fields)


def test_what_a_command_finds_in_its_session_is_documented() -> None:
    """Authors guessed it otherwise, and forgot --project."""
    for name in ("project", "plugins", "recipe_names", "recipe", "defaults", "env"):
        assert hasattr(Session, name) or name in Session.__dataclass_fields__
        assert f"`{name}" in section("`command`")


def test_every_name_that_selects_plugins_is_documented() -> None:
    for name in (
        *("OVRECIPE_DISABLED_PLUGINS", "OVRECIPE_LOAD_PLUGINS", "-p no:", "--check"),
        *("--traceback", "OVRECIPE_TRACEBACK"),
    ):
        assert name in PAGE


def test_examples_import_public_modules_only() -> None:
    """What they import is what authors will."""
    assert [found for text in blocks() for found in private_imports(text, PUBLIC_IN_TESTS)] == []


def test_what_a_plugin_may_import_is_what_the_check_lets_pass() -> None:
    """Authors read the page, and their tests use the check."""
    paragraph = PAGE.split("## What a plugin may import\n\n")[1].split("\n\n")[0]
    assert {*re.findall(r"`(ovrecipe[\w.]*)`", paragraph)} == {*PUBLIC_IN_TESTS}


def test_every_fixture_is_documented() -> None:
    source = Path(inspect.getfile(plugins_with)).with_name("pytest_plugin.py").read_text()
    fixtures = re.findall(r"@pytest\.fixture(?:\(.*\))?\ndef (\w+)", source)
    assert len(fixtures) == source.count("@pytest.fixture")
    assert [name for name in fixtures if f"| `{name}` |" not in PAGE] == []
