"""Who provides a name, and how many plugins are imported to find out."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, field_validator

from ovrecipe import __version__
from ovrecipe.errors import (
    DiskFull,
    PluginError,
    ProviderClaimedTwice,
    ProviderUnknown,
    foreign_errors,
)
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.plugins import FIRST_PARTY, load_plugins
from ovrecipe.hooks.roles import ROLES, Estimate
from ovrecipe.testing import plugins_with
from ovrecipe.version import package_version
from tests.hooks.installed import COMPRESSOR, Site, compressor_code

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.roles import Role
    from ovrecipe.recipe.schema import Recipe


def plugins_of(site: Site, env: Mapping[str, str] | None = None, *options: str) -> Plugins:
    return load_plugins(env=env or {}, options=options, find=site.find)


def test_a_built_in_name_looks_for_no_other_plugin(recipe: Recipe) -> None:
    """A scan of all distributions costs more than the rest of a no-op build."""

    def never() -> None:
        raise AssertionError("metadata was scanned")

    plugins = load_plugins(env={}, find=never)  # type: ignore[arg-type]
    found = plugins.provider("compressor", "nncf", recipe)
    assert (found.source.distribution, found.source.release) == ("ovrecipe", None)


def test_only_the_plugin_with_the_name_is_imported(site: Site, recipe: Recipe) -> None:
    """One slow plugin must not slow a build that names another."""
    site.install("awq", version="0.2")
    site.install("slow")
    site.install_hooks("hooks", compressor_code("more"))
    found = plugins_of(site).provider("compressor", "awq", recipe)
    assert str(found.source) == "plugin 'awq' (ovrecipe-awq 0.2)"
    assert site.imported == ["awq"]


def test_a_name_that_nobody_announces_is_asked_of_plugins_with_hooks(
    site: Site, recipe: Recipe
) -> None:
    """A package may make names up at run time."""
    site.install("awq")
    site.install_hooks("hooks", compressor_code("made-up"))
    found = plugins_of(site).provider("compressor", "made-up", recipe)
    assert (found.source.name, found.name) == ("hooks", "made-up")
    assert site.imported == ["hooks"]


def test_names_may_be_made_of_parts(site: Site, recipe: Recipe) -> None:
    """A mapping answers for names that it does not list."""
    code = (
        COMPRESSOR
        + "class Every(dict):\n    def __missing__(self, name):\n"
        + "        if name.startswith('awq-g'): return Compressor\n        raise KeyError(name)\n"
        + "from ovrecipe import hookimpl\n@hookimpl\ndef providers():\n"
        + "    return {'compressor': Every()}\n"
    )
    site.install_hooks("parts", code)
    assert plugins_of(site).provider("compressor", "awq-g64", recipe).source.name == "parts"
    with pytest.raises(ProviderUnknown, match="'gptq'"):
        plugins_of(site).provider("compressor", "gptq", recipe)


def test_a_distribution_that_the_recipe_requires_is_asked_first(site: Site) -> None:
    """Its author knows who has the name."""
    site.install_hooks("alpha", compressor_code("alpha"))
    site.install_hooks("tools", compressor_code("special"))
    recipe = sample_recipe()
    required = type(recipe.requires)(plugins={"ovrecipe_tools": ">=1"})
    recipe = recipe.model_copy(update={"requires": required})
    assert plugins_of(site).provider("compressor", "special", recipe).source.name == "tools"
    assert site.imported == ["tools"]


def test_two_that_announce_one_name_are_an_error_that_disables_one(
    site: Site, recipe: Recipe
) -> None:
    """Which one answers must never depend on the order of installation; neither is imported."""
    points = "[ovrecipe.compressor]\nsame = MODULE:Compressor"
    site.install("one", points=points, version="1.5")
    site.install("two", points=points, version="2.5")
    plugins = plugins_of(site)
    with pytest.raises(
        ProviderClaimedTwice, match=r"ovrecipe-one 1\.5.*ovrecipe-two 2\.5"
    ) as caught:
        plugins.provider("compressor", "same", recipe)
    assert caught.value.remedy == "skip it with -p no:ovrecipe-two, or uninstall it"
    assert site.imported == []
    left = plugins_of(site, {}, "no:ovrecipe-two").provider("compressor", "same", recipe)
    assert left.source.distribution == "ovrecipe-one"


def test_two_that_make_up_one_name_are_an_error(site: Site, recipe: Recipe) -> None:
    """All with hooks are asked before one of them is taken."""
    for name in ("one", "two"):
        site.install_hooks(name, compressor_code("same"))
    with pytest.raises(ProviderClaimedTwice, match=r"ovrecipe-one 1\.0.*ovrecipe-two 1\.0"):
        plugins_of(site).provider("compressor", "same", recipe)


def test_a_file_does_not_shadow_what_is_installed(site: Site, tmp_path: Path) -> None:
    """A user who names a file means it; what else there is must be skipped in words."""
    site.install("mine")
    (tmp_path / "mine.py").write_text(compressor_code("mine"))
    path = str(tmp_path / "mine.py")
    with pytest.raises(ProviderClaimedTwice, match=r"ovrecipe-mine 1\.0.*mine\.py"):
        plugins_of(site, {}, path).provider("compressor", "mine", sample_recipe())
    found = plugins_of(site, {}, path, "no:mine").provider("compressor", "mine", sample_recipe())
    assert found.source.origin == "file"


def test_nobody_shadows_a_built_in_name(site: Site, recipe: Recipe) -> None:
    """The build goes on with ours; `ovrecipe plugins` says whose problem it is."""
    site.install("nncf")
    found = plugins_of(site).provider("compressor", "nncf", recipe)
    assert found.source.distribution == "ovrecipe"
    assert site.imported == []


def test_an_unknown_name_suggests_the_closest_without_an_import(site: Site, recipe: Recipe) -> None:
    site.install("budget")
    with pytest.raises(ProviderUnknown, match="'buget'; perhaps you meant 'budget'"):
        plugins_of(site).provider("compressor", "buget", recipe)
    assert site.imported == []


def test_a_misspelt_group_is_told_where_its_name_is_missed(site: Site, recipe: Recipe) -> None:
    """The distribution is installed, and nothing else would say why it has no effect."""
    site.install("awq", points="[ovrecipe.compresors]\nawq = MODULE:Compressor")
    with pytest.raises(ProviderUnknown) as caught:
        plugins_of(site).provider("compressor", "awq", recipe)
    expected = (
        "plugin 'awq' (ovrecipe-awq 1.0) is announced in 'ovrecipe.compresors', a group that there "
        "is not; perhaps you meant 'ovrecipe.compressor'"
    )
    assert expected in str(caught.value.remedy)
    assert site.imported == []


def test_a_plugin_that_does_not_load_is_told_where_it_is_named(site: Site, recipe: Recipe) -> None:
    """The name is its own, so nobody else is asked."""
    site.install("awq", "import nncf_is_not_here")
    with pytest.raises(PluginError, match=r"'awq' \(ovrecipe-awq 1.0\) failed to load: ModuleNot"):
        plugins_of(site).provider("compressor", "awq", recipe)


def test_an_unknown_name_tells_what_failed_and_what_was_skipped(site: Site, recipe: Recipe) -> None:
    """The name may be that of a plugin which is installed and does not load."""
    site.install_hooks("awq", "import nncf_is_not_here")
    site.install("gptq")
    site.install("other")
    skip = {"OVRECIPE_DISABLED_PLUGINS": "gptq,other"}
    with pytest.raises(ProviderUnknown) as caught:
        plugins_of(site, skip).provider("compressor", "gptq", recipe)
    remedy = str(caught.value.remedy)
    assert "'awq' (ovrecipe-awq 1.0) failed to load: ModuleNotFoundError" in remedy
    assert "'gptq' (ovrecipe-gptq 1.0) is skipped" in remedy
    assert "other" not in remedy


def test_a_required_distribution_that_is_missing_is_named_with_its_pip_line(site: Site) -> None:
    """Only the recipe says where the name comes from."""
    recipe = sample_recipe()
    required = type(recipe.requires)(plugins={"ovrecipe-nowhere": ">=0.3"})
    recipe = recipe.model_copy(update={"requires": required})
    with pytest.raises(ProviderUnknown) as caught:
        plugins_of(site).provider("compressor", "nowhere", recipe)
    assert "pip install 'ovrecipe-nowhere>=0.3'" in str(caught.value.remedy)


def test_a_plugin_with_hooks_that_fails_does_not_break_the_lookup_of_others(
    site: Site, recipe: Recipe
) -> None:
    site.install_hooks("bad", "raise KeyError('x')")
    site.install_hooks("good", compressor_code("y"))
    assert plugins_of(site).provider("compressor", "y", recipe).source.name == "good"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("packages = 'nncf'", "packages: must be a list, got the text 'nncf'"),
        ("version = '1'", "version: must be a whole number, got the text '1'"),
        ("options_model = dict", "options_model: Input should be a subclass of BaseModel"),
        ("knobs = 'mode'", "knobs: must be a list, got the text 'mode'"),
        ("knobs = ['goup_size']", "no knob 'goup_size'; perhaps you meant 'group_size'"),
        ("needs_torch = 0", "needs_torch: must be true or false, got 0"),
        ("compress = None", "has no method 'compress'"),
        ("compress = 7", "compress is 7, which cannot be called"),
        ("def compress(self): return {}", r"compress\(\) is called with \(job\)"),
        ("def problems(self, shapes): return {}", r"problems\(\) is called with \(compression, "),
    ],
)
def test_a_provider_that_does_not_fit_its_role_is_refused(
    site: Site, recipe: Recipe, body: str, reason: str
) -> None:
    """Found before the build starts, not an hour later."""
    site.install("odd", f"{COMPRESSOR}    {body}\n")
    with pytest.raises(PluginError, match=f"ovrecipe-odd.*is no compressor: .*{reason}"):
        plugins_of(site).provider("compressor", "odd", recipe)


def test_everything_but_the_work_itself_may_be_left_out(recipe: Recipe) -> None:
    """A compressor is one method."""

    class Smallest:
        def compress(self, job: object) -> None: ...

    found = plugins_with(compressor={"small": Smallest}).provider("compressor", "small", recipe)
    fields = found.key_fields()
    assert (fields["provider_version"], fields["packages"]) == (1, {})
    assert found.traits.options_model is found.traits.knobs is None
    assert found.optional("problems", None, "int8", []) == []
    assert found.traits.needs_torch


def test_a_class_a_function_an_instance_and_a_reference_provide(site: Site, recipe: Recipe) -> None:
    """Classes and functions are called, with the recipe if they ask for it."""
    code = (
        COMPRESSOR
        + "class Knows(Compressor):\n    def __init__(self, recipe): self.knows = recipe.name\n"
        + "def make(): return Compressor()\nready = Compressor()\n"
    )
    site.install("all", code)
    [source] = plugins_of(site).installed
    module = source.location.partition(":")[0]
    named = {"reference": f"{module}:Knows"}
    plugins = plugins_with(compressor=named)
    assert plugins.provider("compressor", "reference", recipe).provider.knows == "sample"
    points = "\n".join(f"{name} = MODULE:{name}" for name in ("Compressor", "make", "ready"))
    site.install("three", code, points=f"[ovrecipe.compressor]\n{points}")
    for name in ("Compressor", "make", "ready"):
        assert plugins_of(site).provider("compressor", name, recipe).traits.version == 3


def test_a_provider_that_cannot_be_made_is_blamed_on_its_plugin(site: Site, recipe: Recipe) -> None:
    site.install("odd", COMPRESSOR + "    def __init__(self): raise KeyError('x')\n")
    with pytest.raises(PluginError, match=r"'odd' of plugin 'odd' .* raised KeyError") as caught:
        plugins_of(site).provider("compressor", "odd", recipe)
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_key_of_a_plugin_has_its_distribution_and_version(site: Site, recipe: Recipe) -> None:
    """Another version may write other bytes."""
    site.install("awq", version="0.2")
    assert plugins_of(site).provider("compressor", "awq", recipe).key_fields() == {
        "provider": "awq",
        "distribution": "ovrecipe-awq",
        "version": "0.2",
        "provider_version": 3,
        "packages": {
            "not-installed-anywhere": None,
            "pluggy": version("pluggy"),
        },
        "sections": {},
    }


def test_the_key_of_a_built_in_provider_does_not_have_the_version_of_ovrecipe(
    recipe: Recipe,
) -> None:
    """A release of ovrecipe must not rebuild every model."""
    found = load_plugins(env={}).provider("compressor", "fp16", recipe)
    fields = found.key_fields()
    assert found.source.version == __version__
    assert (fields["version"], fields["distribution"]) == (None, "ovrecipe")
    assert fields["provider_version"] == found.traits.version


def test_the_key_of_a_file_changes_with_its_content(tmp_path: Path, recipe: Recipe) -> None:
    """A file has no version that could tell what it would write."""
    path = tmp_path / "mine.py"
    versions = set()
    for comment in ("# one", "# two"):
        path.write_text(compressor_code("mine") + comment)
        plugins = load_plugins(env={}, options=[str(path)])
        versions.add(plugins.provider("compressor", "mine", recipe).key_fields()["version"])
    assert len(versions) == 2
    assert all(str(recorded).startswith("sha256:") for recorded in versions)


def test_versions_of_packages_are_those_of_importlib_metadata() -> None:
    """They are read in a faster way."""
    names = [dist.name for dist in distributions()]
    assert {name: package_version(name) for name in names} == {
        name: version(name) for name in names
    }


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit("boom")])
def test_what_a_provider_raises_at_work_names_its_plugin(
    site: Site, recipe: Recipe, error: BaseException
) -> None:
    """A defect of a plugin must not look like one of ovrecipe, and ends nobody's process."""
    site.install("awq", version="0.2")
    found = plugins_of(site).provider("compressor", "awq", recipe)
    expected = rf"'awq' of plugin 'awq' \(ovrecipe-awq 0\.2\) raised {type(error).__name__}: boom"
    with pytest.raises(PluginError, match=expected), found.blamed():
        raise error


@pytest.mark.parametrize("error", [ProviderUnknown("ours"), BrokenPipeError("left")])
def test_our_errors_and_a_reader_who_left_pass(
    site: Site, recipe: Recipe, error: Exception
) -> None:
    site.install("awq")
    found = plugins_of(site).provider("compressor", "awq", recipe)
    with pytest.raises(type(error), match=r"ours|left") as caught, found.blamed():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_no_defect(site: Site, recipe: Recipe, code: int) -> None:
    """No room, no quota, a limit of sizes: the user's to mend, whoever wrote."""
    site.install("awq")
    found = plugins_of(site).provider("compressor", "awq", recipe)
    full = OSError(code, os.strerror(code))
    with pytest.raises(OSError, match=os.strerror(code)), found.blamed():
        raise full
    with pytest.raises(DiskFull, match="writing: the disk is full"), foreign_errors("writing"):
        raise full


@pytest.mark.parametrize(
    ("method", "answer", "reason"),
    [
        ("objections", ["text"], r"returned 'text' from objections\(\), no Objection"),
        ("objections", 7, "raised TypeError: "),
        ("problems", [7], r"returned 7 from problems\(\), no str"),
        ("estimate", 5, r"returned 5 from estimate\(\), no Estimate"),
        ("estimate", 0, r"returned 0 from estimate\(\), no Estimate"),
    ],
)
def test_an_answer_of_another_kind_is_blamed(
    recipe: Recipe, method: str, answer: object, reason: str
) -> None:
    """Wherever it is read, far from the plugin, nobody would be named."""

    class Odd:
        def compress(self, job: object) -> None: ...

    setattr(Odd, method, lambda *_: answer)
    found = plugins_with(compressor={"odd": Odd}).provider("compressor", "odd", recipe)
    with pytest.raises(PluginError, match=rf"'odd' of plugin '_Given' \(.*\) {reason}"):
        found.optional(method)


def test_one_answer_of_an_optional_method_need_not_be_a_list(recipe: Recipe) -> None:
    """A problem is a sentence, not its letters."""

    class Fine:
        def compress(self, job: object) -> None: ...
        def problems(self, compression: object, precision: str, shapes: object) -> str:
            return f"no {precision}"

        def estimate(self, compression: object, precision: str, tensors: object) -> Estimate:
            return Estimate(1, 2)

    found = plugins_with(compressor={"fine": Fine}).provider("compressor", "fine", recipe)
    assert found.optional("problems", None, "int8", []) == ["no int8"]
    assert found.optional("estimate", None, "int8", []) == [Estimate(1, 2)]


def test_options_whose_class_raises_are_blamed_on_the_plugin(recipe: Recipe) -> None:
    """Pydantic lets all but a ValueError pass."""

    class Options(BaseModel):
        size: int = 1

        @field_validator("size")
        @classmethod
        def _halved(cls, size: int) -> int:
            return size // 0

    class Odd:
        options_model = Options

        def compress(self, job: object) -> None: ...

    found = plugins_with(compressor={"odd": Odd}).provider("compressor", "odd", recipe)
    with pytest.raises(PluginError, match=r"'odd' of plugin .* raised ZeroDivisionError"):
        found.options({"size": 3}, loc=("options",), recipe=recipe)


def test_a_defect_of_a_built_in_provider_keeps_its_traceback(recipe: Recipe) -> None:
    found = load_plugins(env={}).provider("compressor", "fp16", recipe)
    with pytest.raises(ZeroDivisionError, match="division"), found.blamed():
        _ = 1 / 0


def test_what_only_building_needs_is_named_with_what_installs_it(recipe: Recipe) -> None:
    """`pip install ovrecipe` runs models; whoever builds one is told what is missing."""
    found = load_plugins(env={}).provider("source", "hub", recipe)
    missing = ModuleNotFoundError("No module named 'httpx'", name="httpx")
    with pytest.raises(PluginError, match="No module named 'httpx'") as caught, found.blamed():
        raise missing
    assert "pip install 'ovrecipe[build]'" in str(caught.value.remedy)
    with pytest.raises(ModuleNotFoundError), found.blamed():
        raise ModuleNotFoundError("No module named 'ours'", name="ours")


def test_a_mapping_of_providers_that_raises_is_blamed(recipe: Recipe) -> None:
    """It is asked for names at any time."""

    class Moody(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            raise ValueError("not today")

    plugins = plugins_with(compressor=Moody(awq=object()))
    with pytest.raises(PluginError, match="providers: compressor: raised ValueError: not today"):
        plugins.provider("compressor", "awq", recipe)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"bits"}, "returned set; it returns facts by name, or None"),
        ({"loss": float("nan")}, "facts that are no JSON: Out of range float"),
        ({"loss": object()}, "facts that are no JSON: Object of type object is not JSON"),
    ],
)
def test_facts_that_no_manifest_can_hold_are_blamed_on_the_plugin(
    site: Site, recipe: Recipe, answer: object, reason: str
) -> None:
    """Far from the plugin the message would be about JSON, and about nobody."""
    site.install("awq")
    found = plugins_of(site).provider("compressor", "awq", recipe)
    with pytest.raises(PluginError, match=rf"'awq' of plugin 'awq' .* {reason}"):
        found.facts(answer)


def test_facts_are_what_json_has_and_none_is_no_facts(site: Site, recipe: Recipe) -> None:
    site.install("awq")
    found = plugins_of(site).provider("compressor", "awq", recipe)
    assert found.facts(None) == {}
    assert found.facts({"shape": (1, 2)}) == {"shape": [1, 2]}


@pytest.mark.parametrize(
    ("role", "name"), [provider for provider in FIRST_PARTY if provider[0] != "command"]
)
def test_a_first_party_plugin_that_is_missing_is_named_with_how_to_install_it(
    site: Site, recipe: Recipe, role: Role, name: str
) -> None:
    """Whoever reads a recipe of others need not know where its parts come from."""
    with pytest.raises(ProviderUnknown, match=rf"pip install {FIRST_PARTY[role, name]}\n"):
        plugins_of(site).provider(role, name, recipe)


def test_one_that_is_installed_and_skipped_is_not_to_be_installed_again(
    site: Site, recipe: Recipe
) -> None:
    site.install("budget")
    with pytest.raises(ProviderUnknown, match="is skipped: ") as caught:
        plugins_of(site, {}, "no:budget").provider("compressor", "budget", recipe)
    assert "pip install" not in str(caught.value)


def test_every_plugin_of_this_repository_is_known_by_what_it_provides() -> None:
    """The table is all that somebody without the plugin has."""
    import tomllib

    announced = {}
    for path in (Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        for group, points in project["entry-points"].items():
            role = group.removeprefix("ovrecipe.")
            announced.update({(role, name): project["name"] for name in points})
    assert announced == FIRST_PARTY
    assert {role for role, _ in announced} <= set(ROLES)
