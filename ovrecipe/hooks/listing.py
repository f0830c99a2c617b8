"""What `ovrecipe plugins` says: every plugin, loaded or not, what it has and what is wrong."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError
from ovrecipe.hooks.loading import Loaded, PluginSource
from ovrecipe.hooks.plugins import BUILTIN, Plugins, hook_names, spoken
from ovrecipe.hooks.roles import ROLES
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe

#: A name that no plugin can mean.
NOBODYS_NAME = "a-name-that-nobody-provides"


@dataclass
class PluginFacts:
    """One line of the list: a distribution, a plugin of `-p`, or what is built in.

    `skipped` is the reason to skip it, of which nothing else is known then; `failed` did not load.
    """

    source: PluginSource
    skipped: str | None = None
    failed: list[Loaded] = field(default_factory=list)
    import_ms: float = 0.0
    hooks: tuple[str, ...] = ()
    providers: Mapping[Any, tuple[str, ...]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Return `loaded`, `failed` or `skipped`."""
        return "skipped" if self.skipped is not None else "failed" if self.failed else "loaded"

    @property
    def name(self) -> str:
        """What `-p no:NAME` skips, or what `-p` named."""
        return self.source.name if self.source.dist is None else str(self.source.distribution)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with it; a plugin that was skipped was not looked at."""
        return not self.failed and not self.problems

    def as_json(self) -> dict[str, Json]:
        """Return the facts under their stable names."""
        first = self.failed[0] if self.failed else None
        raised = first.raised if first else None
        return {
            "name": self.name,
            "distribution": self.source.distribution,
            "version": self.source.version,
            "origin": self.source.origin,
            "location": self.source.location,
            "status": self.status,
            "reason": first.failure if first else self.skipped,
            "remedy": first.remedy if first else None,
            "details": "".join(traceback.format_exception(raised)) if raised else None,
            "import_ms": round(self.import_ms, 1),
            "hooks": list(self.hooks),
            "providers": {role: list(names) for role, names in self.providers.items()},
            "problems": list(self.problems),
        }


def plugin_facts(plugins: Plugins, *, builtin_commands: Collection[str] = ()) -> list[PluginFacts]:
    """Return facts of every plugin, with names that two have; imports all that are not skipped."""
    providers = {role: tuple(names) for role, names in plugins.builtin.items()}
    builtin = PluginSource("builtin", "built-in", BUILTIN, object)
    together: dict[object, list[PluginSource]] = defaultdict(list)
    for source in (*plugins.named, *plugins.installed):
        together[source.dist or source].append(source)
    facts = [PluginFacts(builtin, providers=providers)]
    facts += [_facts(plugins, sources) for sources in together.values()]
    _add_conflicts(facts, builtin_commands)
    return facts


def _facts(plugins: Plugins, sources: Sequence[PluginSource]) -> PluginFacts:
    reason = plugins.reason_against(sources[0]) if sources[0].dist else None
    if reason is not None:
        return PluginFacts(sources[0], skipped=reason)
    loaded = [plugins.loaded(source) for source in sources if source.misplaced is None]
    names: dict[str, list[str]] = defaultdict(list)
    hooks: set[str] = set()
    for found in loaded:
        if found.source.role:
            names[found.source.role].append(found.source.name)
        else:
            callers = plugins.manager.get_hookcallers(found.value) or ()
            hooks.update(caller.name for caller in callers)
        for role, made_up in found.providers.items():
            names[role] += made_up
    return PluginFacts(
        sources[0],
        failed=[found for found in loaded if found.failure is not None],
        import_ms=sum(found.seconds for found in loaded) * 1000,
        hooks=tuple(name for name in hook_names() if name in hooks),
        providers={role: tuple(names[role]) for role in ROLES if role in names},
        problems=[f"{source.name!r} {source.misplaced}" for source in sources if source.misplaced],
    )


def _add_conflicts(facts: Sequence[PluginFacts], builtin_commands: Collection[str]) -> None:
    claims = defaultdict(list, {("command", name): [facts[0]] for name in builtin_commands})
    for plugin in facts:
        for role, names in plugin.providers.items():
            for name in names:
                claims[role, name].append(plugin)
    for (role, name), claimants in claims.items():
        is_ours = claimants[0].source.is_builtin
        for plugin in claimants[1:] if is_ours else claimants:
            others = [other.source.where for other in claimants if other is not plugin]
            how = "built in; rename it" if is_ours else f"also of {' and '.join(others)}"
            if others:
                plugin.problems.append(f"the {spoken(role)} {name!r} is {how}")


def ask_all(plugins: Plugins, facts: Sequence[PluginFacts], recipe: Recipe | None = None) -> None:
    """Ask for everything that is listed, and add what is wrong with it to the facts."""
    for plugin in facts:
        plugin.problems += _problems(plugins, plugin, recipe or sample_recipe())


def _problems(plugins: Plugins, facts: PluginFacts, recipe: Recipe) -> Iterator[str]:
    told = [lost.source for lost in facts.failed]
    for role, names in facts.providers.items():
        if any(claim.belongs_with(facts.source) for claim in plugins.claims(role, NOBODYS_NAME)):
            yield f"providers: {role} has every name; it must raise KeyError for names of others"
        asked = [(name, claim) for name in names for claim in plugins.claims(role, name)]
        for name, claim in asked:
            if claim.belongs_with(facts.source) and claim not in told:
                try:
                    plugins.made(role, name, claim, recipe)
                except OvrecipeError as error:
                    yield error.message


def sample_recipe(
    sections: Mapping[str, Any] | None = None, variants: Sequence[str] = ("fp16",)
) -> Recipe:
    """Return the smallest recipe, for providers that are asked without a real one."""
    from ovrecipe.recipe.schema import Recipe

    fixed = {"name": "sample", "path": Path("sample.yaml"), "model": {"id": "example/model"}}
    given = {"variants": {name: {} for name in variants}, "plugins": dict(sections or {})}
    return Recipe.model_validate({**fixed, **given})
