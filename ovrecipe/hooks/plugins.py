"""The plugins of one process: found without an import, imported one at a time, asked for names.

Names are owned. Those that are built in stand in one table, so that a lookup of one looks for
nothing else. Then come the plugins of `-p` and the entry points of the role's group, of which only
the one with the name is imported. A name that is still unknown is asked of the plugins with hooks
(`providers`). Two that answer together are an error, and nobody shadows anybody.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

from ovrecipe.errors import PluginError, ProviderClaimedTwice, ProviderUnknown, RecipeInvalid
from ovrecipe.hooks import specs
from ovrecipe.hooks.loading import (
    Loaded,
    PluginSource,
    at_import,
    installed_entry_points,
    load_one,
    named_source,
)
from ovrecipe.hooks.roles import ROLES, Role
from ovrecipe.hooks.specs import PROJECT
from ovrecipe.version import package_version
from ovrecipe.wording import one_line, perhaps

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.hooks.provided import Provided
    from ovrecipe.recipe.schema import Recipe

#: Returns the entry points of all our groups, misspelt ones included.
EntryPointFinder: TypeAlias = Callable[[], Iterable[EntryPoint]]

DISABLED = "OVRECIPE_DISABLED_PLUGINS"
ONLY = "OVRECIPE_LOAD_PLUGINS"
#: Whose PROVIDERS are built in; named, not imported, to keep the layers.
BUILTIN = "ovrecipe.builtin"
#: Our own distributions by what they provide, for whoever names it and lacks it.
FIRST_PARTY: Mapping[tuple[str, str], str] = {
    ("compressor", "budget"): "ovrecipe-budget",
    ("output_filter", "redact"): "ovrecipe-redact",
    ("tokenizer_converter", "sentencepiece"): "ovrecipe-sentencepiece",
    ("frontend", "gradio"): "ovrecipe-gradio",
    ("frontend", "tui"): "ovrecipe-tui",
    ("command", "web"): "ovrecipe-gradio",
}


def hook_names() -> list[str]:
    """Return the hooks in the order of `ovrecipe.hooks.specs`."""
    return [name for name, value in vars(specs).items() if hasattr(value, f"{PROJECT}_spec")]


def spoken(role: str) -> str:
    """Return a role as a sentence has it."""
    return role.replace("_", " ")


def canonical(names: Iterable[str | None]) -> set[str]:
    """Return names as PEP 503 compares them: `Ovrecipe_AWQ` is `ovrecipe-awq`."""
    return {re.sub(r"[-_.]+", "-", name.strip()).lower() for name in names if name}


class Plugins:
    """What is built in, the plugins named with `-p` (or by a test), and the installed ones."""

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        options: Sequence[str] = (),
        find: EntryPointFinder = installed_entry_points,
        named: Sequence[PluginSource] = (),
    ) -> None:
        """Note what an environment and the values of `-p` select; imports nothing.

        Raises:
            PluginError: `-p no:builtin`, for nothing works without what is built in.
        """
        skipped = [option.removeprefix("no:") for option in options if option.startswith("no:")]
        self.disabled = canonical([*env.get(DISABLED, "").split(","), *skipped])
        self.only = canonical(env.get(ONLY, "").split(","))
        if "builtin" in self.disabled:
            remedy = f"{DISABLED}=all skips all else"
            raise PluginError("what is built in cannot be skipped", remedy=remedy)
        paths = dict.fromkeys(option for option in options if not option.startswith("no:"))
        self.named = (*map(named_source, paths), *named)
        self.package_version = cache(package_version)
        self._find = find
        self._loaded: dict[PluginSource, Loaded] = {}
        self._made_up_claims: dict[tuple[PluginSource, str, str], PluginSource] = {}
        self._turn = threading.RLock()  # an observer may do what is observed
        self._reported: set[PluginSource] = set()

    @cached_property
    def builtin(self) -> Mapping[str, Mapping[str, str]]:
        """The built-in providers: role, name, `module:object`."""
        found: Mapping[str, Mapping[str, str]] = import_module(BUILTIN).PROVIDERS
        return found

    @cached_property
    def installed(self) -> tuple[PluginSource, ...]:
        """All that distributions announce, sorted by name; what is skipped or misspelt too."""
        points = sorted(self._find(), key=lambda point: (point.name, point.group, point.value))
        return tuple(
            PluginSource(
                point.name, "entry point", point.value, point.load, point.group, point.dist
            )
            for point in points
        )

    @cached_property
    def manager(self) -> pluggy.PluginManager:
        """The manager of pluggy, with the hooks of the plugins that were imported so far."""
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(specs)
        return manager

    @property
    def options(self) -> tuple[str, ...]:
        """The `-p` values with which another process loads the same plugins.

        Files are absolute, for that process may start in another folder.
        """
        skipped = (f"no:{name}" for name in sorted(self.disabled))
        return (*(source.location for source in self.named), *skipped)

    def reason_against(self, source: PluginSource) -> str | None:
        """Return why an installed plugin is skipped, with all else of its distribution, or None.

        What is disabled, or to be loaded only, is named by distribution or by any entry point.
        """
        if not (self.disabled or self.only):
            return None
        if self.disabled & {"*", "all"}:
            return f"{DISABLED} disables every plugin"
        own = (other.name for other in self.installed if other.dist is source.dist)
        names = canonical([source.distribution, *own])
        if names & self.disabled:
            return f"skipped by {DISABLED} or -p no:{min(names & self.disabled)}"
        return f"not among those of {ONLY}" if self.only and not names & self.only else None

    def enabled(self, role: str) -> list[PluginSource]:
        """Return what distributions announce for a role, or with hooks for "", but the skipped."""
        found = (source for source in self.installed if source.role == role)
        return [source for source in found if self.reason_against(source) is None]

    def loaded(self, source: PluginSource) -> Loaded:
        """Return a plugin's object or failure; imports it at the first call."""
        with self._turn:
            if source not in self._loaded:
                found = load_one(source)
                has_hooks = source.group == PROJECT and found.failure is None
                self._loaded[source] = self._registered(found) if has_hooks else found
            return self._loaded[source]

    def _registered(self, found: Loaded) -> Loaded:
        """Register a plugin's hooks with pluggy, and ask it for its providers."""
        plugin = found.value
        try:
            plugin = plugin() if inspect.isclass(plugin) else plugin
            if self.manager.is_registered(plugin):
                return found  # announced and named with -p: it is told once
            self.manager.register(plugin, name=str(found.source))
            self.manager.check_pending()
            refuse_what_is_never_called(self.manager, plugin)
            with at_import(found.source):
                answers = self._ask(plugin, "providers")
            providers = answers[0] if answers else {}
            self._refuse_odd_names(providers)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - listed as this plugin's failure
            told = isinstance(error, PluginError | pluggy.PluginValidationError)
            reason = " ".join(str(error).split()) if told else one_line(error)
            raised = None if told else error
            return replace(found, failure=reason + self._forget(plugin), raised=raised)
        return replace(found, value=plugin, providers=providers)

    def _forget(self, plugin: object) -> str:
        """Take a plugin out again; return what it may have meant by a hook that there is not."""
        if not self.manager.is_registered(plugin):
            return ""
        callers = self.manager.get_hookcallers(plugin) or ()
        unknown = [caller.name for caller in callers if not caller.has_spec()]
        self.manager.unregister(plugin)
        return perhaps(unknown[0], hook_names()) if unknown else ""

    def _ask(self, plugin: object, hook: str, **arguments: Any) -> list[Any]:
        """Let pluggy call one hook of one plugin."""
        others = [other for other in self.manager.get_plugins() if other is not plugin]
        answers: list[Any] = self.manager.subset_hook_caller(hook, others)(**arguments)
        return answers

    def _refuse_odd_names(self, answer: object) -> None:
        if not isinstance(answer, Mapping):
            raise PluginError(f"providers: returned {type(answer).__name__}; it returns a mapping")
        for role, named in answer.items():
            if role not in ROLES:
                raise PluginError(f"providers: no role {role!r}{perhaps(str(role), ROLES)}")
            if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named):
                raise PluginError(f"providers: {role}: {named!r} has no objects by name")
            for name in {*named} & {*self.builtin.get(role, ())}:
                raise PluginError(
                    f"claims the {spoken(role)} {name!r}, which is built in; rename it"
                )

    def with_hooks(self) -> list[Loaded]:
        """Import and return all plugins with hooks, those of `-p` first."""
        sources = [source for source in self.installed if source.group == PROJECT]
        for source in sources:
            if self.reason_against(source) is not None:
                self.manager.set_blocked(str(source))
        blocked = self.manager.is_blocked
        return [self.loaded(each) for each in (*self.named, *sources) if not blocked(str(each))]

    def tell(
        self, hook: str, arguments: Mapping[str, Any], *, report: Callable[[str], None]
    ) -> None:
        """Call a hook of every observer; `report` is told of each that fails, by name.

        Imports the plugins with hooks, so nothing is imported before something has happened. One
        that does not load is reported once, not each time.
        """
        with self._turn:
            for found in self.with_hooks():
                if found.failure is not None and found.source not in self._reported:
                    self._reported.add(found.source)
                    report(f"{found.source} failed to load: {found.failure}; {found.remedy}")
            for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
                try:
                    self._ask(implementation.plugin, hook, **arguments)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - what it watched is done
                    report(f"{implementation.plugin_name}: {hook} raised {one_line(error)}")

    def claims(self, role: str, name: str, required: Iterable[str] = ()) -> list[PluginSource]:
        """Return who provides a name: what to load for it, or nothing when nobody does.

        Plugins with hooks are imported when nobody announces the name; those of the distributions
        `required`, and those called like it, before the others.
        """
        if name in self.builtin.get(role, {}):
            point = EntryPoint(name, self.builtin[role][name], f"{PROJECT}.{role}")
            return [PluginSource("builtin", "built-in", BUILTIN, point.load, point.group)]
        found = [source for source in self.enabled(role) if source.name == name]
        found += self._made_up(self.named, role, name)
        if found:
            return found
        wanted = canonical([name, *required])
        rest = self.enabled("")
        first = [other for other in rest if canonical([other.name, other.distribution]) & wanted]
        others = [other for other in rest if other not in first]
        return self._made_up(first, role, name) or self._made_up(others, role, name)

    def _made_up(self, sources: Iterable[PluginSource], role: str, name: str) -> list[PluginSource]:
        """Return what the `providers` of plugins have under a name."""
        found = []
        for source in sources:
            place = (source, role, name)
            if place not in self._made_up_claims:
                try:
                    thing = self.loaded(source).providers[role][name]
                except KeyError:
                    continue
                except Exception as error:
                    what = f"{source}: providers: {role}: raised {one_line(error)}"
                    raise PluginError(what, remedy=source.how_to_skip) from error
                point = EntryPoint(name, str(thing), role)
                load = point.load if isinstance(thing, str) else partial(_itself, thing)
                claim = replace(source, group=f"{PROJECT}.{role}", load=load)
                self._made_up_claims[place] = claim
            found.append(self._made_up_claims[place])
        return found

    def made(
        self, role: Role, name: str, claim: PluginSource, recipe: Recipe | None = None
    ) -> Provided[Any]:
        """Return the provider that a claim stands for: load it, and call it if it makes one.

        Raises:
            PluginError: it does not load, raised, or does not fit the role.
        """
        from ovrecipe.hooks.provided import Provided, provider_problems

        thing = claim.load() if claim.is_builtin else self.loaded(claim).require()
        provided = Provided(thing, name, claim, {}, self.package_version)
        is_itself = role in ("output_filter", "command", "recipe_section")
        if not is_itself and (inspect.isclass(thing) or inspect.isroutine(thing)):
            wanted = {"recipe": recipe} if "recipe" in inspect.signature(thing).parameters else {}
            with provided.blamed(), at_import(claim):
                provided = replace(provided, provider=thing(**wanted))
        if problems := provider_problems(role, provided.provider):
            raise provided.blame(f"is no {spoken(role)}: {'; '.join(problems)}")
        return provided

    def provider(self, role: Role, name: str, recipe: Recipe) -> Provided[Any]:
        """Return who provides `name`, with its origin; a filter, command or section is itself.

        The recipe's sections of plugins are validated first, whoever is asked for.

        Raises:
            RecipeInvalid: a section under `plugins:` is wrong or nobody's.
            ProviderUnknown: nobody does.
            ProviderClaimedTwice: more than one does.
            PluginError: the plugin does not load, raised, or made what does not fit the role.
        """
        from ovrecipe.hooks.provided import key_options

        sections = self.sections(recipe)
        claim = self._one(role, name, self.claims(role, name, recipe.requires.plugins))
        if claim is None:
            raise self._unknown(role, name, recipe)
        own = {
            section: values
            for section, (owner, model) in sections.items()
            if are_one(owner, claim) and (values := key_options(model))
        }
        return replace(self.made(role, name, claim, recipe), sections=own)

    def sections(self, recipe: Recipe) -> dict[str, tuple[PluginSource, BaseModel]]:
        """Return the sections under `plugins:` with their owners, validated.

        Imports no plugin when the recipe has no such section.

        Raises:
            RecipeInvalid: a section is wrong, or no plugin owns it.
            PluginError: its owner does not load.
        """
        found: dict[str, tuple[PluginSource, BaseModel]] = {}
        for name in recipe.plugins:
            from ovrecipe.hooks.provided import section_of
            from ovrecipe.recipe.problems import place_in_recipe

            claims = self.claims("recipe_section", name, recipe.requires.plugins)
            claim = self._one("recipe_section", name, claims)
            if claim is None:
                place = place_in_recipe(recipe, ("plugins", name))
                raise RecipeInvalid(
                    f"{place}: plugins.{name}: no plugin owns this section",
                    remedy="install its plugin, or remove it; 'ovrecipe plugins' lists those here",
                )
            model = self.made("recipe_section", name, claim).provider
            found[name] = (claim, section_of(recipe, name, model))
        return found

    def command(self, name: str) -> Provided[Any]:
        """Return who provides a command that somebody announces.

        Raises:
            ProviderClaimedTwice: more than one does.
            PluginError: it does not load, or cannot be called.
        """
        claim = self._one("command", name, self.claims("command", name))
        assert claim is not None, "it is among `names`"
        return self.made("command", name, claim)

    def _one(self, role: str, name: str, claims: Sequence[PluginSource]) -> PluginSource | None:
        if len(claims) > 1:
            raise ProviderClaimedTwice(
                f"the {spoken(role)} {name!r} is claimed by {' and '.join(map(str, claims))}",
                remedy=f"{claims[-1].how_to_skip}, or uninstall it",
            )
        return claims[0] if claims else None

    def names(self, role: str) -> list[str]:
        """Return the names that are known for a role, of plugins that were not imported too."""
        found = [*self.builtin.get(role, ()), *(source.name for source in self.enabled(role))]
        for loaded in [*map(self.loaded, self.named), *self._loaded.values()]:
            found += loaded.providers.get(role, ())
        return list(dict.fromkeys(found))

    def install_hint(self, role: str, name: str) -> str | None:
        """Return how to install who provides a name, if it is one of ours and not here yet."""
        wanted = FIRST_PARTY.get((role, name))
        known = wanted is None or any(source.distribution == wanted for source in self.installed)
        return None if known else f"pip install {wanted}"

    def _unknown(self, role: Role, name: str, recipe: Recipe) -> ProviderUnknown:
        """Return the error: the closest name, what is known, missing, skipped, did not load."""
        from ovrecipe.recipe.load import check_requirements

        known = self.names(role)
        lines = [self.install_hint(role, name)]
        try:
            check_requirements(recipe)
        except RecipeInvalid as unmet:
            lines += str(unmet).splitlines()
        lines += [
            f"{found.source} failed to load: {found.failure}; {found.remedy}"
            for found in self._loaded.values()
            if found.failure is not None
        ]
        for source in self.installed:
            may_have_it = source.group == PROJECT or source.name == name
            if may_have_it and (reason := self.reason_against(source)):
                lines.append(f"{source} is skipped: {reason}")
            elif may_have_it and (problem := group_problem(source)):
                lines.append(f"{source} {problem}")
        lines.append(f"known: {', '.join(known)}" if known else None)
        lines.append("'ovrecipe plugins' lists what is installed")
        return ProviderUnknown(
            f"no plugin provides the {spoken(role)} {name!r}{perhaps(name, known)}",
            remedy="\n".join(line for line in lines if line),
        )


def _itself(thing: object) -> object:
    return thing


def are_one(source: PluginSource, other: PluginSource) -> bool:
    """Return whether two are of one distribution, of one plugin of `-p`, or both built in."""
    same = source.dist is other.dist
    return same and (source.dist is not None or source.location == other.location)


def group_problem(source: PluginSource) -> str | None:
    """Return what is wrong with the group of an entry point, or None."""
    if source.group == PROJECT or source.role in ROLES:
        return None
    close = perhaps(source.group, (f"{PROJECT}.{role}" for role in ROLES))
    return f"is announced in {source.group!r}, a group that there is not{close}"


def refuse_what_is_never_called(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse what pluggy takes in silence, and would not do.

    Raises:
        PluginError: a hook lacks its marker, takes an argument with a default, or there is none.
    """
    callers = {caller.name: caller for caller in manager.get_hookcallers(plugin) or ()}
    for name in hook_names():
        function = getattr(plugin, name, None)
        is_function = inspect.isfunction(function) or inspect.ismethod(function)
        if name not in callers and is_function:
            raise PluginError(f"{name}: lacks the marker @ovrecipe.hookimpl, so it is never called")
    if not callers:
        raise PluginError("implements no hook; mark functions with @ovrecipe.hookimpl")
    for name, caller in callers.items():
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin and implementation.kwargnames:
                raise PluginError(
                    f"{name}: argument {implementation.kwargnames[0]!r} has a default; remove it, "
                    "for pluggy passes nothing to such an argument"
                )


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
    plugins = Plugins(env=env, options=options, find=find)
    for source in plugins.named:
        plugins.loaded(source).require()
    return plugins
