"""The plugins of one process: who provides a name, asked with as few imports as possible.

Names are owned. The built-in plugin owns its names, so a lookup of one imports no other plugin
and does not even look for any. An entry point owns the name that it carries itself: `awq =
"ovrecipe_awq"` is asked for `awq` before anyone else is imported. Every other name is asked of
all plugins, and two that answer are an error. Nobody shadows anybody.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from ovrecipe.errors import OvrecipeError, PluginError
from ovrecipe.hooks.checks import names_problem
from ovrecipe.hooks.conformance import provider_problems
from ovrecipe.hooks.loading import (
    EntryPointFinder,
    LoadedPlugin,
    PluginSource,
    builtin_source,
    call,
    failed,
    installed_entry_points,
    installed_sources,
    load_one,
    named_source,
    one_line,
)
from ovrecipe.hooks.markers import COMMANDS_GROUP, OBSERVERS_GROUP
from ovrecipe.hooks.observing import Observers
from ovrecipe.hooks.provided import PackageVersions, Provided
from ovrecipe.hooks.refusals import claimed_twice, hook_raised, provider_unknown, spoken
from ovrecipe.hooks.roles import ROLES, Role
from ovrecipe.hooks.sections import own_sections, validate_sections
from ovrecipe.hooks.selection import Selection, canonical, select
from ovrecipe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ovrecipe.hooks import roles
    from ovrecipe.recipe.schema import Recipe


def load_plugins(
    *,
    env: Mapping[str, str],
    options: Sequence[str] = (),
    find: EntryPointFinder = installed_entry_points,
) -> Plugins:
    """Return the plugins of this environment and of the values of `-p`; cheap.

    Files and modules named with `-p` are imported now, installed plugins when a name is asked
    for that might be theirs.

    Raises:
        PluginError: an option makes no sense, or what `-p` names does not load.
    """
    plugins = Plugins(select(env, options), find=find)
    for source in plugins.named:
        plugin = plugins.loaded(source)
        if plugin.failure is not None:
            raise PluginError(f"{source} failed to load: {plugin.failure}", remedy=plugin.remedy)
    return plugins


class Plugins:
    """The built-in plugin, those named with `-p` (or by a test), and the installed ones."""

    def __init__(
        self,
        selection: Selection,
        *,
        find: EntryPointFinder = installed_entry_points,
        named: Sequence[PluginSource] = (),
    ) -> None:
        self.selection = selection
        self.named = (*map(named_source, selection.named), *named)
        self._find = find
        self._loaded: dict[PluginSource, LoadedPlugin] = {}
        self.package_version = PackageVersions()

    @cached_property
    def builtin(self) -> PluginSource:
        """The plugin that ovrecipe itself is."""
        return builtin_source(__version__)

    @cached_property
    def installed(self) -> tuple[PluginSource, ...]:
        """Every plugin that distributions announce, those that are not loaded included."""
        return tuple(installed_sources(self._find))

    @cached_property
    def commands(self) -> tuple[PluginSource, ...]:
        """The commands that distributions announce, except those of skipped plugins."""
        found = installed_sources(self._find, COMMANDS_GROUP)
        if self.selection.is_everything or not found:
            return tuple(found)
        skipped = {each.distribution for each in self.installed if each not in self.enabled}
        return tuple(each for each in found if each.distribution not in skipped)

    @cached_property
    def watching(self) -> tuple[PluginSource, ...]:
        """The plugins that may have observer hooks: named ones, and those that announce it."""
        found = installed_sources(self._find, OBSERVERS_GROUP)
        may = (each for each in found if self.selection.reason_against(each) is None)
        return (*self.named, *may)

    @cached_property
    def observers(self) -> Observers:
        """Who is told what happened; looked for when something did."""
        return Observers(lambda: map(self.loaded, self.watching))

    @property
    def enabled(self) -> tuple[PluginSource, ...]:
        """The plugins that may be loaded: built-in, named, installed."""
        may = (each for each in self.installed if self.selection.reason_against(each) is None)
        return (self.builtin, *self.named, *may)

    @property
    def options(self) -> tuple[str, ...]:
        """The `-p` values with which another process loads the same plugins.

        Files are absolute, for that process may start in another folder.
        """
        skipped = (f"no:{name}" for name in sorted(self.selection.disabled))
        return (*(each.location for each in self.named), *skipped)

    def loaded(self, source: PluginSource) -> LoadedPlugin:
        """Return a plugin's hooks or failure; imports it at the first call."""
        if source not in self._loaded:
            plugin = load_one(source, ovrecipe_version=__version__)
            self._loaded[source] = self._checked(plugin)
        return self._loaded[source]

    def _checked(self, plugin: LoadedPlugin) -> LoadedPlugin:
        """Refuse a plugin that names as its own what is the built-in plugin's."""
        if plugin.source == self.builtin:
            return plugin
        try:
            problem = self._names_problem(plugin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - listed as this plugin's failure
            return failed(
                plugin.source, plugin.seconds, f"provider_names: {one_line(error)}", raised=error
            )
        return plugin if problem is None else failed(plugin.source, plugin.seconds, problem)

    def _names_problem(self, plugin: LoadedPlugin) -> str | None:
        impl = plugin.hooks.get("provider_names")
        if impl is None:
            return None
        for role in ROLES:
            answer = call(impl, {"role": role})
            if (problem := names_problem(answer)) is not None:
                return problem
            taken = sorted({*(answer or ())} & {*self.names_of(self.builtin, role)})
            if taken:
                return f"claims the {spoken(role)} {taken[0]!r}, which is built in; rename it"
        return None

    def names_of(self, source: PluginSource, role: Role) -> tuple[str, ...]:
        """Return the names that a plugin lists for a role."""
        impl = self.loaded(source).hooks.get("provider_names")
        return () if impl is None else tuple(call(impl, {"role": role}) or ())

    def failures(self) -> Iterator[LoadedPlugin]:
        """Yield the plugins that were imported so far and failed."""
        return (each for each in self._loaded.values() if each.failure is not None)

    @overload
    def provider(
        self, role: Literal["source"], name: str, recipe: Recipe
    ) -> Provided[roles.Source]: ...
    @overload
    def provider(
        self, role: Literal["exporter"], name: str, recipe: Recipe
    ) -> Provided[roles.Exporter]: ...
    @overload
    def provider(
        self, role: Literal["tokenizer_converter"], name: str, recipe: Recipe
    ) -> Provided[roles.TokenizerConverter]: ...
    @overload
    def provider(
        self, role: Literal["compressor"], name: str, recipe: Recipe
    ) -> Provided[roles.Compressor]: ...
    @overload
    def provider(
        self, role: Literal["evaluator"], name: str, recipe: Recipe
    ) -> Provided[roles.Evaluator]: ...
    @overload
    def provider(
        self, role: Literal["output_filter"], name: str, recipe: Recipe
    ) -> Provided[roles.FilterProvider]: ...
    @overload
    def provider(
        self, role: Literal["frontend"], name: str, recipe: Recipe
    ) -> Provided[roles.Frontend]: ...
    def provider(self, role: Role, name: str, recipe: Recipe) -> Provided[Any]:
        """Return who provides `name`, with its origin.

        The recipe's sections of plugins are validated first, whoever is asked for.

        Raises:
            RecipeInvalid: a section under `plugins:` is wrong or nobody's.
            ProviderUnknown: nobody does.
            ProviderClaimedTwice: more than one does.
            PluginError: a hook raised, or returned what does not fit the role.
        """
        validate_sections(recipe, self)
        troubles: list[PluginError] = []
        for sources in self._in_turn(name, recipe):
            claims = [*self._claims(sources, role, name, recipe, troubles)]
            if len(claims) > 1:
                raise claimed_twice(role, name, [source for source, _ in claims])
            if claims:
                return self._provided(role, name, *claims[0], recipe)
        if troubles:
            raise troubles[0]
        raise provider_unknown(self, role, name, recipe)

    def _in_turn(self, name: str, recipe: Recipe) -> Iterator[Sequence[PluginSource]]:
        """Yield who is asked together: the built-in plugin, those who own `name`, everyone."""
        yield (self.builtin,)
        wanted = {canonical(each) for each in recipe.requires.plugins}
        first = [each for each in self.enabled[1:] if self._owns(each, name, wanted)]
        yield first
        yield [each for each in self.enabled[1:] if each not in first]

    def _owns(self, source: PluginSource, name: str, wanted: Collection[str]) -> bool:
        """Whether a plugin is asked first: named with -p, by its entry point, or required."""
        by_recipe = canonical(source.distribution or "") in wanted
        return source in self.named or source.name == name or by_recipe

    def _claims(
        self,
        sources: Iterable[PluginSource],
        role: Role,
        name: str,
        recipe: Recipe,
        troubles: list[PluginError],
    ) -> Iterator[tuple[PluginSource, object]]:
        """Yield who answers; a plugin that raises does not stand in another's way."""
        for source in sources:
            impl = self.loaded(source).hooks.get(f"get_{role}")
            if impl is None:
                continue
            try:
                answer = call(impl, {"name": name, "recipe": recipe})
            except OvrecipeError:
                raise  # a refusal in our own words, addressed to the user
            except (Exception, SystemExit) as error:
                if source == self.builtin:
                    raise
                troubles.append(hook_raised(source, f"get_{role}", error))
                continue
            if answer is not None:
                yield source, answer

    def _provided(
        self, role: Role, name: str, source: PluginSource, provider: object, recipe: Recipe
    ) -> Provided[Any]:
        problems = provider_problems(role, provider)
        if problems:
            raise PluginError(
                f"{source}: get_{role}({name!r}) returned no {spoken(role)}: {'; '.join(problems)}",
                remedy="the plugin breaks its contract (docs/plugins.md); tell its maintainers",
            )
        version = source.version or source.content_digest()
        return Provided(
            provider=provider,
            name=name,
            plugin=source.name,
            distribution=source.distribution,
            version=version,
            release=None if source == self.builtin else version,
            sections=own_sections(self, source, recipe),
            package_version=self.package_version,
        )
