"""The plugins of one process: found without an import, imported one at a time, asked for names.

A built-in name is found in one table, and nobody else is looked for. Then come the plugins of `-p`
and the entry points of the role's group, of which only the one with the name is imported. A name
that is still unknown is asked of the plugins with hooks. Two that answer together are an error.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

from ovrecipe.errors import PluginError, ProviderClaimedTwice, ProviderUnknown, RecipeInvalid
from ovrecipe.hooks import specs
from ovrecipe.hooks.loading import (
    Loaded,
    PluginSource,
    Providers,
    at_import,
    installed_entry_points,
    load_one,
    named_source,
    object_source,
)
from ovrecipe.hooks.roles import ROLES, Role
from ovrecipe.hooks.specs import PROJECT
from ovrecipe.types import Json
from ovrecipe.version import package_version
from ovrecipe.wording import one_line, perhaps

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.hooks.provided import Provided
    from ovrecipe.recipe.schema import ProviderSpec, Recipe
    from ovrecipe.recipe.yaml_reader import Loc

#: Returns the entry points of all our groups, misspelt ones included.
Finder: TypeAlias = Callable[[], Iterable[EntryPoint]]

DISABLED = "OVRECIPE_DISABLED_PLUGINS"
ONLY = "OVRECIPE_LOAD_PLUGINS"
#: Whose PROVIDERS are built in; named, not imported, to keep the layers.
BUILTIN = "ovrecipe.builtin"
#: Our own distributions by what they provide, for whoever names it and lacks it.
FIRST_PARTY: Mapping[tuple[str, str], str] = {
    ("cluster", "ray"): "ovrecipe-ray",
    ("compressor", "budget"): "ovrecipe-budget",
    ("output_filter", "redact"): "ovrecipe-redact",
    ("tokenizer_converter", "sentencepiece"): "ovrecipe-sentencepiece",
    ("frontend", "gradio"): "ovrecipe-gradio",
    ("frontend", "tui"): "ovrecipe-tui",
    ("command", "serve"): "ovrecipe-serve",
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


def named_providers(recipe: Recipe) -> Iterator[tuple[Role, ProviderSpec, Loc]]:
    """Yield the providers that a recipe names, and where; source and compressors say it else."""
    yield "exporter", recipe.model.exporter, ("model", "exporter")
    yield "tokenizer_converter", recipe.tokenizer.converter, ("tokenizer", "converter")
    for number, spec in enumerate(recipe.check.evaluators):
        yield "evaluator", spec, ("check", "evaluators", number)
    for number, spec in enumerate(recipe.output.filters):
        yield "output_filter", spec, ("output", "filters", number)


class Plugins:
    """What is built in, the plugins named with `-p` (or by a test), and the installed ones."""

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        options: Sequence[str] = (),
        find: Finder = installed_entry_points,
        named: Sequence[PluginSource] = (),
    ) -> None:
        """Note what an environment and the values of `-p` select; imports none of it.

        Raises:
            PluginError: what is built in cannot be skipped.
        """
        paths = dict.fromkeys(option for option in options if not option.startswith("no:"))
        skipped = (option.removeprefix("no:") for option in options if option not in paths)
        self.disabled = canonical([*env.get(DISABLED, "").split(","), *skipped])
        self.only = canonical(env.get(ONLY, "").split(","))
        if "builtin" in self.disabled:
            remedy = f"{DISABLED}=all skips all else"
            raise PluginError("what is built in cannot be skipped", remedy=remedy)
        self.builtin: Mapping[str, Mapping[str, str]] = import_module(BUILTIN).PROVIDERS
        self.named = (*map(named_source, paths), *named)
        not_wanted = (f"no:{name}" for name in sorted(self.disabled))
        #: The `-p` values with which a process in another folder loads the same plugins.
        self.options = (*(source.location for source in self.named), *not_wanted)
        #: With the hooks of the plugins that were imported so far.
        self.manager = hook_manager()
        self.package_version = cache(package_version)
        self._find = find
        self._loaded: dict[PluginSource, Loaded] = {}
        self._made_up_claims: dict[tuple[PluginSource, str, str], PluginSource] = {}
        self._turn = threading.RLock()  # an observer may do what is observed
        self._reported: set[PluginSource] = set()

    @cached_property
    def installed(self) -> tuple[PluginSource, ...]:
        """All that distributions announce, sorted by name; what is skipped or misspelt too."""
        points = sorted(self._find(), key=attrgetter("name", "group", "value"))
        return tuple(
            PluginSource(
                ep.name, "entry point", ep.value, ep.load, ep.group.partition(".")[2], ep.dist
            )
            for ep in points
        )

    def reason_against(self, source: PluginSource) -> str | None:
        """Return why a distribution, named itself or by an entry point, is skipped, or None."""
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
                self._loaded[source] = load_one(source, self._registered)
            return self._loaded[source]

    def _registered(self, source: PluginSource, thing: object) -> tuple[object, Providers]:
        """Return a plugin with hooks and its providers; pluggy judges it alone first."""
        plugin = thing() if inspect.isclass(thing) else thing
        try:
            hash(plugin)  # as pluggy does
        except TypeError as error:
            what = f"{type(plugin).__name__} has hooks, and no hash ({error})"
            raise PluginError(f"{what}; write @dataclass(eq=False) or a __hash__") from error
        providers: Providers = {}
        if not self.manager.is_registered(plugin):  # else it is announced and named with -p
            alone = hook_manager()
            alone.register(plugin, name=str(source))
            _check_hooks(alone, plugin)
            for answer in alone.hook.providers():  # of the one plugin, if it has this hook
                providers = answer
            self._check_names(providers)
            self.manager.register(plugin, name=str(source))
        return plugin, providers

    def _check_names(self, answer: object) -> None:
        if not isinstance(answer, Mapping):
            raise PluginError(f"providers: returned {type(answer).__name__}; it returns a mapping")
        for role, named in answer.items():
            if role not in ROLES:
                raise PluginError(f"providers: no role {role!r}{perhaps(str(role), ROLES)}")
            if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named):
                raise PluginError(f"providers: {role}: {named!r} has no objects by name")
            for name in {*named} & {*self.builtin.get(role, ())}:
                what = f"the {spoken(role)} {name!r}"
                raise PluginError(f"claims {what}, which is built in; rename it")

    def with_hooks(self) -> list[Loaded]:
        """Import and return all plugins with hooks, those of `-p` first."""
        return [self.loaded(source) for source in (*self.named, *self.enabled(""))]

    def tell(
        self, hook: str, arguments: Mapping[str, Any], *, report: Callable[[str], None]
    ) -> None:
        """Call a hook of every observer; `report` is told by name who fails, or does not load.

        The plugins with hooks are imported now: not before something has happened.
        """
        with self._turn:
            for found in self.with_hooks():
                if found.failure is not None and found.source not in self._reported:
                    self._reported.add(found.source)
                    report(found.trouble)
            for observer in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
                others = self.manager.get_plugins() - {observer.plugin}
                try:
                    self.manager.subset_hook_caller(hook, others)(**arguments)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - what it watched is done
                    report(f"{observer.plugin_name}: {hook} raised {one_line(error)}")

    def claims(self, role: str, name: str, required: Iterable[str] = ()) -> list[PluginSource]:
        """Return who provides a name: what to load for it, or nothing when nobody does.

        If nobody announces it, plugins with hooks are imported, those `required` or so named first.
        """
        if name in self.builtin.get(role, {}):
            load = EntryPoint(name, self.builtin[role][name], role).load
            return [PluginSource("builtin", "built-in", BUILTIN, load, role)]
        found = [source for source in self.enabled(role) if source.name == name]
        found += self._made_up(self.named, role, name)
        if found:
            return found
        every, wanted = self.enabled(""), canonical([name, *required])
        first = [other for other in every if canonical([other.name, other.distribution]) & wanted]
        return self._made_up(first, role, name) or self._made_up(every, role, name)

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
                point = EntryPoint(name, thing, role) if isinstance(thing, str) else None
                load = point.load if point else object_source(thing).load
                self._made_up_claims[place] = replace(source, role=role, load=load)
            found.append(self._made_up_claims[place])
        return found

    def made(
        self, role: Role, name: str, claim: PluginSource, recipe: Recipe | None = None
    ) -> Provided[Any]:
        """Return the provider of a claim, called if it makes one.

        Raises:
            PluginError: it does not load, raised, or does not fit the role.
        """
        from ovrecipe.hooks.provided import Provided, provider_problems

        thing = claim.load() if claim.is_builtin else self.loaded(claim).usable()
        provided = Provided(thing, name, claim, {}, self.package_version)
        is_itself = role in ("output_filter", "command", "recipe_section")
        if not is_itself and (inspect.isclass(thing) or inspect.isroutine(thing)):
            wanted = {"recipe": recipe} if "recipe" in inspect.signature(thing).parameters else {}
            with provided.blamed(), nullcontext() if claim.is_builtin else at_import(claim):
                provided = replace(provided, provider=thing(**wanted))
        if problems := provider_problems(role, provided.provider):
            raise provided.blame(f"is no {spoken(role)}: {'; '.join(problems)}")
        return provided

    def provider(self, role: Role, name: str, recipe: Recipe | None = None) -> Provided[Any]:
        """Return who provides `name`, with its origin; a filter, command or section is itself.

        The recipe's sections of plugins are validated first, whoever is asked for.

        Raises:
            RecipeInvalid: a section under `plugins:` is wrong or nobody's.
            PluginError: nobody does, or more than one (`ProviderUnknown`, `ProviderClaimedTwice`);
                the plugin does not load, raised, or made what does not fit the role.
        """
        sections = self.sections(recipe) if recipe else {}
        claim = self._claim(role, name, recipe)
        if claim is None:
            raise self._unknown(role, name, recipe)
        own = {key: said for key, (owner, said) in sections.items() if owner.belongs_with(claim)}
        return replace(self.made(role, name, claim, recipe), sections=own)

    def with_options(
        self, role: Role, spec: ProviderSpec, loc: Loc, recipe: Recipe
    ) -> tuple[Provided[Any], BaseModel | None]:
        """Return the provider that is named at `loc`, and its validated options."""
        provided = self.provider(role, spec.name, recipe)
        return provided, provided.options(spec.options, loc=(*loc, "options"), recipe=recipe)

    def configured(
        self, role: Role, recipe: Recipe
    ) -> Iterator[tuple[Provided[Any], BaseModel | None]]:
        """Yield the providers that a recipe names for a role, each with its options."""
        named = (found for found in named_providers(recipe) if found[0] == role)
        return (self.with_options(*found, recipe) for found in named)

    def sections(self, recipe: Recipe) -> dict[str, tuple[PluginSource, dict[str, Json]]]:
        """Return who owns each section under `plugins:` that says more than defaults, and what.

        Raises:
            RecipeInvalid: a section is wrong, or no plugin owns it.
            PluginError: its owner does not load.
        """
        found = {}
        for name in recipe.plugins:
            from ovrecipe.hooks.provided import key_options, section_of
            from ovrecipe.recipe.problems import place_in_recipe

            claim = self._claim("recipe_section", name, recipe)
            if claim is None:
                where = f"{place_in_recipe(recipe, ('plugins', name))}: plugins.{name}"
                remedy = "install its plugin, or remove it; 'ovrecipe plugins' lists those here"
                raise RecipeInvalid(f"{where}: no plugin owns this section", remedy=remedy)
            owner = self.made("recipe_section", name, claim)
            with owner.blamed():
                said = key_options(section_of(recipe, name, owner.provider))
            if said:
                found[name] = (claim, said)
        return found

    def _claim(self, role: str, name: str, recipe: Recipe | None) -> PluginSource | None:
        claims = self.claims(role, name, recipe.requires.plugins if recipe else ())
        if len(claims) > 1:
            message = f"the {spoken(role)} {name!r} is claimed by {' and '.join(map(str, claims))}"
            remedy = f"{claims[-1].how_to_skip}, or uninstall it"
            raise ProviderClaimedTwice(message, remedy=remedy)
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

    def _unknown(self, role: Role, name: str, recipe: Recipe | None) -> ProviderUnknown:
        """Return the error: the closest name, what is known, missing, skipped, did not load."""
        from ovrecipe.recipe.load import check_requirements

        known = self.names(role)
        lines = [self.install_hint(role, name)]
        try:
            if recipe is not None:
                check_requirements(recipe)
        except RecipeInvalid as unmet:
            lines += str(unmet).splitlines()
        lines += [found.trouble for found in self._loaded.values() if found.failure is not None]
        for source in self.installed:
            reason = self.reason_against(source)
            what = f"is skipped: {reason}" if reason else source.misplaced
            if what and (not source.role or source.name == name):
                lines.append(f"{source} {what}")
        lines.append(f"known: {', '.join(known)}" if known else None)
        remedy = "\n".join([*filter(None, lines), "'ovrecipe plugins' lists what is installed"])
        message = f"no plugin provides the {spoken(role)} {name!r}{perhaps(name, known)}"
        return ProviderUnknown(message, remedy=remedy)


def hook_manager() -> pluggy.PluginManager:
    """Return a manager that knows our hooks, and no plugin."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(specs)
    return manager


def _check_hooks(alone: pluggy.PluginManager, plugin: object) -> None:
    """Raise if a plugin, the only one of its manager, has what pluggy takes in silence."""
    callers = {caller.name: caller for caller in alone.get_hookcallers(plugin) or ()}
    for name in hook_names():
        if name not in callers and inspect.isroutine(getattr(plugin, name, None)):
            raise PluginError(f"{name}: lacks the marker @ovrecipe.hookimpl, so it is never called")
    if not callers:
        raise PluginError("implements no hook; mark functions with @ovrecipe.hookimpl")
    for name, caller in callers.items():
        for function in caller.get_hookimpls():
            if not caller.has_spec() and not function.optionalhook:
                close = perhaps(name, hook_names())
                raise PluginError(f"unknown hook {name!r} in plugin {plugin!r}{close}")
            if function.kwargnames:
                what = f"{name}: argument {function.kwargnames[0]!r} has a default; remove it"
                raise PluginError(f"{what}, for pluggy passes nothing to such an argument")


def load_plugins(
    *, env: Mapping[str, str], options: Sequence[str] = (), find: Finder = installed_entry_points
) -> Plugins:
    """Return the plugins of this environment; what `-p` names is imported.

    Raises:
        PluginError: that does not load.
    """
    plugins = Plugins(env=env, options=options, find=find)
    for source in plugins.named:
        plugins.loaded(source).usable()
    return plugins
