"""Who provides a name, and how many plugins are imported to find out."""

from __future__ import annotations

from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe import __version__
from ovrecipe.errors import PluginError, ProviderClaimedTwice, ProviderUnknown
from ovrecipe.hooks.first_party import DISTRIBUTIONS
from ovrecipe.hooks.manager import load_plugins
from ovrecipe.hooks.probing import sample_recipe
from ovrecipe.hooks.provided import PackageVersions
from ovrecipe.hooks.roles import ROLES
from tests.hooks.installed import Site, compressor_code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.hooks.roles import Role
    from ovrecipe.recipe.schema import Recipe

RAISES = "\n@hookimpl\ndef get_frontend(name):\n    raise KeyError(name)\n"


def plugins_of(site: Site, env: Mapping[str, str] | None = None, *options: str) -> Plugins:
    return load_plugins(env=env or {}, options=options, find=site.find)


def test_a_built_in_name_looks_for_no_other_plugin(recipe: Recipe) -> None:
    """A scan of all distributions costs more than the rest of a no-op build."""

    def never(group: str) -> None:
        raise AssertionError(f"the group {group} was scanned")

    plugins = load_plugins(env={}, find=never)  # type: ignore[arg-type]
    assert plugins.provider("compressor", "nncf", recipe).distribution == "ovrecipe"


def test_a_plugin_is_asked_for_its_own_name_before_others_are_imported(
    site: Site, recipe: Recipe
) -> None:
    """One slow plugin must not slow a build that names another."""
    site.install("awq", compressor_code("awq"), version="0.2")
    site.install("slow", compressor_code("slow"))
    found = plugins_of(site).provider("compressor", "awq", recipe)
    assert (found.plugin, found.distribution, found.version) == ("awq", "ovrecipe-awq", "0.2")
    assert site.imported == ["awq"]


def test_a_distribution_that_the_recipe_requires_is_asked_first(site: Site) -> None:
    site.install("alpha", compressor_code("alpha"))
    site.install("tools", compressor_code("special"))
    recipe = sample_recipe()
    required = type(recipe.requires)(plugins={"ovrecipe_tools": ">=1"})
    recipe = recipe.model_copy(update={"requires": required})
    assert plugins_of(site).provider("compressor", "special", recipe).plugin == "tools"
    assert site.imported == ["tools"]


def test_two_that_claim_one_name_are_an_error_with_both_distributions(
    site: Site, recipe: Recipe
) -> None:
    """Which one answers must never depend on the order of installation."""
    site.install("one", compressor_code("same"), version="1.5")
    site.install("two", compressor_code("same"), version="2.5")
    with pytest.raises(ProviderClaimedTwice, match=r"ovrecipe-one 1\.5.*ovrecipe-two 2\.5"):
        plugins_of(site).provider("compressor", "same", recipe)


def test_two_distributions_with_one_entry_point_name_claim_twice(
    site: Site, recipe: Recipe
) -> None:
    site.install("same", compressor_code("same"))
    site.install("other", compressor_code("same"), entry_points="[ovrecipe]\nsame = MODULE")
    with pytest.raises(ProviderClaimedTwice, match=r"ovrecipe-other.*ovrecipe-same"):
        plugins_of(site).provider("compressor", "same", recipe)


def test_nobody_shadows_a_built_in_name(site: Site, recipe: Recipe) -> None:
    """A plugin that lists one is refused as a whole; the build goes on with ours."""
    site.install("nncf", compressor_code("nncf"))
    plugins = plugins_of(site)
    assert plugins.provider("compressor", "nncf", recipe).distribution == "ovrecipe"
    with pytest.raises(ProviderUnknown, match="claims the compressor 'nncf', which is built in"):
        plugins.provider("compressor", "no-such", recipe)


def test_an_unknown_name_suggests_the_closest_of_all_plugins(site: Site, recipe: Recipe) -> None:
    site.install("budget", compressor_code("budget"))
    with pytest.raises(ProviderUnknown, match="'buget'; perhaps you meant 'budget'"):
        plugins_of(site).provider("compressor", "buget", recipe)


def test_an_unknown_name_tells_what_failed_and_what_was_skipped(site: Site, recipe: Recipe) -> None:
    """The name may be that of a plugin which is installed and does not load."""
    site.install("awq", "import nncf_is_not_here")
    site.install("gptq", compressor_code("gptq"))
    with pytest.raises(ProviderUnknown) as caught:
        plugins_of(site, {"OVRECIPE_DISABLED_PLUGINS": "gptq"}).provider(
            "compressor", "awq", recipe
        )
    remedy = str(caught.value.remedy)
    assert "'awq' (ovrecipe-awq 1.0) failed to load: ModuleNotFoundError" in remedy
    assert "'gptq' (ovrecipe-gptq 1.0) is skipped" in remedy


def test_a_required_distribution_that_is_missing_is_named_with_its_pip_line(site: Site) -> None:
    recipe = sample_recipe()
    required = type(recipe.requires)(plugins={"ovrecipe-nowhere": ">=0.3"})
    recipe = recipe.model_copy(update={"requires": required})
    with pytest.raises(ProviderUnknown) as caught:
        plugins_of(site).provider("compressor", "nowhere", recipe)
    assert "pip install 'ovrecipe-nowhere>=0.3'" in str(caught.value.remedy)


def test_a_hook_that_raises_is_reported_with_its_distribution(site: Site, recipe: Recipe) -> None:
    site.install("bad", compressor_code("bad") + RAISES)
    with pytest.raises(
        PluginError, match=r"'bad' \(ovrecipe-bad 1.0\): get_frontend raised Key"
    ) as caught:
        plugins_of(site).provider("frontend", "bad", recipe)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_hook_that_raises_does_not_break_the_lookup_of_others(site: Site, recipe: Recipe) -> None:
    site.install("bad", compressor_code("x") + RAISES)
    good = compressor_code("y").replace("def get_compressor", "def get_frontend")
    site.install(
        "good", good.replace("def compress(self, job)", "def show(self, generation, console)")
    )
    assert plugins_of(site).provider("frontend", "y", recipe).plugin == "good"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    packages = 'nncf'", "packages is 'nncf'; it must be a sequence"),
        ("    version = '1'", "version is '1'; it must be a whole number"),
        ("    options_model = dict", "options_model is .* a pydantic class or None"),
        ("    compress = None", "has no method 'compress'"),
        ("    compress = 7", "compress is 7; it must be a method"),
        ("    def compress(self): return {}", r"compress\(\) is called with \(job\)"),
    ],
)
def test_a_provider_that_does_not_fit_its_role_is_refused(
    site: Site, recipe: Recipe, body: str, reason: str
) -> None:
    """Found before the build starts, not an hour later."""
    site.install("odd", compressor_code("odd", class_body=body))
    with pytest.raises(PluginError, match=f"ovrecipe-odd.*returned no compressor: .*{reason}"):
        plugins_of(site).provider("compressor", "odd", recipe)


def test_a_class_in_the_place_of_an_instance_is_refused(site: Site, recipe: Recipe) -> None:
    code = compressor_code("odd").replace("return Compressor()", "return Compressor")
    site.install("odd", code)
    with pytest.raises(PluginError, match="class Compressor was returned; return an instance"):
        plugins_of(site).provider("compressor", "odd", recipe)


def test_the_key_of_a_plugin_has_its_distribution_and_version(site: Site, recipe: Recipe) -> None:
    """Another version may write other bytes."""
    site.install("awq", compressor_code("awq"), version="0.2")
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
    assert found.version == __version__
    assert (fields["version"], fields["distribution"]) == (None, "ovrecipe")
    assert fields["provider_version"] == found.provider.version


def test_the_key_of_a_file_changes_with_its_content(tmp_path: Path, recipe: Recipe) -> None:
    """A file has no version that could tell what it would write."""
    path = tmp_path / "mine.py"
    versions = set()
    for comment in ("# one", "# two"):
        path.write_text(compressor_code("mine") + comment)
        plugins = load_plugins(env={}, options=[str(path)])
        versions.add(plugins.provider("compressor", "mine", recipe).key_fields()["version"])
    assert len(versions) == 2
    assert all(str(each).startswith("sha256:") for each in versions)


def test_versions_of_packages_are_those_of_importlib_metadata() -> None:
    """They are read in a faster way."""
    versions = PackageVersions()
    names = [each.name for each in distributions()]
    assert {name: versions(name) for name in names} == {name: version(name) for name in names}


def test_what_a_provider_raises_at_work_names_its_plugin(site: Site, recipe: Recipe) -> None:
    """A defect of a plugin must not look like one of ovrecipe."""
    site.install("awq", compressor_code("awq"), version="0.2")
    found = plugins_of(site).provider("compressor", "awq", recipe)
    expected = r"'awq' of plugin 'awq' \(ovrecipe-awq 0\.2\) raised ValueError: boom"
    with pytest.raises(PluginError, match=expected), found.blamed():
        raise ValueError("boom")


@pytest.mark.parametrize("error", [ProviderUnknown("ours"), BrokenPipeError("left")])
def test_our_errors_and_a_reader_who_left_pass(
    site: Site, recipe: Recipe, error: Exception
) -> None:
    site.install("awq", compressor_code("awq"))
    found = plugins_of(site).provider("compressor", "awq", recipe)
    with pytest.raises(type(error), match=r"ours|left") as caught, found.blamed():
        raise error
    assert caught.value is error


def test_a_defect_of_a_built_in_provider_keeps_its_traceback(recipe: Recipe) -> None:
    found = load_plugins(env={}).provider("compressor", "fp16", recipe)
    with pytest.raises(ZeroDivisionError, match="division"), found.blamed():
        _ = 1 / 0


@pytest.mark.parametrize(("role", "name"), [each for each in DISTRIBUTIONS if each[0] in ROLES])
def test_a_first_party_plugin_that_is_missing_is_named_with_how_to_install_it(
    site: Site, recipe: Recipe, role: Role, name: str
) -> None:
    """Whoever reads a recipe of others need not know where its parts come from."""
    with pytest.raises(ProviderUnknown, match=rf"pip install {DISTRIBUTIONS[role, name]}\n"):
        plugins_of(site).provider(role, name, recipe)  # type: ignore[call-overload]


def test_one_that_is_installed_and_skipped_is_not_to_be_installed_again(
    site: Site, recipe: Recipe
) -> None:
    site.install("budget", compressor_code("budget"))
    with pytest.raises(ProviderUnknown, match="is skipped: ") as caught:
        plugins_of(site, {}, "no:budget").provider("compressor", "budget", recipe)
    assert "pip install" not in str(caught.value)


def test_every_plugin_of_this_repository_is_known_by_what_it_provides() -> None:
    """The table is all that somebody without the plugin has."""
    folders = Path(__file__).parents[2] / "plugins"
    assert {each.parent.name for each in folders.glob("*/pyproject.toml")} == {
        *DISTRIBUTIONS.values()
    }
