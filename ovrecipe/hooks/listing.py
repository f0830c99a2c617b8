"""What `ovrecipe plugins` says: every plugin, loaded or not, and what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovrecipe.hooks.checks import hook_names
from ovrecipe.hooks.markers import OBSERVERS_GROUP
from ovrecipe.hooks.observing import OBSERVER_HOOKS
from ovrecipe.hooks.probing import plugin_problems, sample_recipe
from ovrecipe.hooks.roles import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.loading import LoadedPlugin, PluginSource
    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.hooks.roles import Role
    from ovrecipe.types import Json


@dataclass
class PluginFacts:
    """One line of the list; `status` is loaded, failed or skipped."""

    source: PluginSource
    status: str
    reason: str | None = None
    remedy: str | None = None
    details: str | None = None
    import_ms: float | None = None
    hooks: tuple[str, ...] = ()
    providers: dict[Role, tuple[str, ...]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with it; a plugin that was skipped was not looked at."""
        return self.status != "failed" and not self.problems

    def as_json(self) -> dict[str, Json]:
        """Return the facts under their stable names."""
        return {
            "name": self.source.name,
            "distribution": self.source.distribution,
            "version": self.source.version,
            "origin": self.source.origin,
            "location": self.source.location,
            "status": self.status,
            "reason": self.reason,
            "remedy": self.remedy,
            "details": self.details,
            "import_ms": self.import_ms,
            "hooks": list(self.hooks),
            "providers": {role: list(names) for role, names in self.providers.items()},
            "commands": list(self.commands),
            "problems": list(self.problems),
        }


def plugin_facts(plugins: Plugins, *, builtin_commands: Sequence[str]) -> list[PluginFacts]:
    """Return facts of every plugin; imports all that are not skipped.

    Names that two plugins list are a problem of both, a command that is built in of the plugin.
    """
    sources = (plugins.builtin, *plugins.named, *plugins.installed, *plugins.watching)
    facts = [_facts(plugins, source) for source in dict.fromkeys(sources)]
    _add_unheard(facts, plugins)
    _add_commands(facts, plugins, builtin_commands)
    _add_conflicts(facts)
    return facts


def probe(plugins: Plugins, facts: Sequence[PluginFacts]) -> None:
    """Ask each loaded plugin for everything it lists and add what is wrong to its facts."""
    recipe = sample_recipe()
    for each in facts:
        if each.status == "loaded" and each.hooks:
            each.problems.extend(plugin_problems(plugins.loaded(each.source).hooks, recipe))


def _facts(plugins: Plugins, source: PluginSource) -> PluginFacts:
    against = plugins.selection.reason_against(source) if source in plugins.installed else None
    if against is not None:
        return PluginFacts(source, "skipped", reason=against)
    plugin = plugins.loaded(source)
    status = "loaded" if plugin.failure is None else "failed"
    facts = PluginFacts(source, status, plugin.failure, plugin.remedy, plugin.details)
    facts.import_ms = round(plugin.seconds * 1000, 1)
    facts.hooks = tuple(name for name in hook_names() if name in plugin.hooks)
    facts.providers = _providers(plugins, plugin)
    return facts


def _providers(plugins: Plugins, plugin: LoadedPlugin) -> dict[Role, tuple[str, ...]]:
    listed = {role: plugins.names_of(plugin.source, role) for role in ROLES}
    return {role: names for role, names in listed.items() if names}


def _add_unheard(facts: Sequence[PluginFacts], plugins: Plugins) -> None:
    """Say it of an observer that is not announced as one, and so would never be told."""
    watching = {(each.distribution, each.location) for each in plugins.watching}
    for each in facts:
        observes = [name for name in each.hooks if name in OBSERVER_HOOKS]
        if observes and (each.source.distribution, each.source.location) not in watching:
            each.problems.append(
                f"{observes[0]} is never called: announce the module in {OBSERVERS_GROUP!r} too"
            )


def _add_commands(facts: list[PluginFacts], plugins: Plugins, builtin: Sequence[str]) -> None:
    """Put each command to the plugin of its distribution; one without hooks gets its own line."""
    by_name: dict[str, list[PluginFacts]] = defaultdict(list)
    for command in plugins.commands:
        own = [each for each in facts if each.source.distribution == command.distribution]
        if not own or command.distribution is None:
            own = [PluginFacts(command, "loaded")]
            facts.extend(own)
        own[0].commands = (*own[0].commands, command.name)
        by_name[command.name].append(own[0])
        if command.name in builtin:
            own[0].problems.append(f"the command {command.name!r} is built in; rename it")
    for name, claimants in by_name.items():
        _add_conflict(f"command {name!r}", claimants)


def _add_conflicts(facts: Sequence[PluginFacts]) -> None:
    claims: dict[tuple[Role, str], list[PluginFacts]] = defaultdict(list)
    for each in facts:
        for role, names in each.providers.items():
            for name in names:
                claims[role, name].append(each)
    for (role, name), claimants in claims.items():
        _add_conflict(f"{role.replace('_', ' ')} {name!r}", claimants)


def _add_conflict(what: str, claimants: Sequence[PluginFacts]) -> None:
    for each in claimants if len(claimants) > 1 else ():
        others = " and ".join(str(other.source) for other in claimants if other is not each)
        each.problems.append(f"the {what} is also of {others}")
