"""What `ovrecipe plugins` says: every plugin, loaded or not, what it has and what is wrong."""

from __future__ import annotations

import traceback
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError
from ovrecipe.hooks.loading import PluginSource
from ovrecipe.hooks.plugins import BUILTIN, are_one, group_problem, hook_names, spoken
from ovrecipe.hooks.roles import ROLES
from ovrecipe.hooks.specs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ovrecipe.hooks.loading import Loaded
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import Json

#: A name that no plugin can mean.
NOBODYS_NAME = "a-name-that-nobody-provides"


@dataclass
class PluginFacts:
    """One line of the list: a distribution, a plugin of `-p`, or what is built in.

    `status` is loaded, failed or skipped; `failed` what did not load, or the reason to skip it.
    """

    source: PluginSource
    status: str = "loaded"
    skipped: str | None = None
    failed: list[Loaded] = field(default_factory=list)
    import_ms: float = 0.0
    hooks: tuple[str, ...] = ()
    providers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

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
    """Return facts of every plugin; imports all that are not skipped.

    Names that two plugins have are a problem of both, a built-in one of the plugin.
    """
    builtin = PluginFacts(PluginSource("builtin", "built-in", BUILTIN, object))
    builtin.providers = {role: tuple(names) for role, names in plugins.builtin.items()}
    together: dict[object, list[PluginSource]] = defaultdict(list)
    for source in (*plugins.named, *plugins.installed):
        together[source.dist or source].append(source)
    facts = [builtin, *(_facts(plugins, sources) for sources in together.values())]
    _add_conflicts(facts, builtin_commands)
    return facts


def _facts(plugins: Plugins, sources: Sequence[PluginSource]) -> PluginFacts:
    facts = PluginFacts(sources[0])
    facts.skipped = plugins.reason_against(sources[0]) if sources[0].dist else None
    if facts.skipped is not None:
        facts.status = "skipped"
        return facts
    names: dict[str, list[str]] = defaultdict(list)
    hooks: set[str] = set()
    for source in sources:
        if problem := group_problem(source):
            facts.problems.append(f"{source.name!r} {problem}")
            continue
        found = plugins.loaded(source)
        facts.import_ms += found.seconds * 1000
        if found.failure is not None:
            facts.status = "failed"
            facts.failed.append(found)
        elif source.group == PROJECT:
            callers = plugins.manager.get_hookcallers(found.value) or ()
            hooks.update(caller.name for caller in callers)
        if source.group != PROJECT:
            names[source.role].append(source.name)
        for role, made_up in found.providers.items():
            names[role] += made_up
    facts.hooks = tuple(name for name in hook_names() if name in hooks)
    facts.providers = {role: tuple(names[role]) for role in ROLES if role in names}
    return facts


def _add_conflicts(facts: Sequence[PluginFacts], builtin_commands: Collection[str]) -> None:
    claims: dict[tuple[str, str], list[PluginFacts]] = defaultdict(list)
    for plugin in facts:
        for role, names in plugin.providers.items():
            for name in names:
                claims[role, name].append(plugin)
    for (role, name), claimants in claims.items():
        what = f"the {spoken(role)} {name!r}"
        built_in = claimants[0].source.is_builtin or (
            role == "command" and name in builtin_commands
        )
        for plugin in claimants[claimants[0].source.is_builtin :]:
            others = [other.source.where for other in claimants if other is not plugin]
            if built_in:
                plugin.problems.append(f"{what} is built in; rename it")
            elif others:
                plugin.problems.append(f"{what} is also of {' and '.join(others)}")


def probe(plugins: Plugins, facts: Sequence[PluginFacts], recipe: Recipe | None = None) -> None:
    """Ask for everything that is listed, and add what is wrong with it to the facts."""
    recipe = recipe or sample_recipe()
    for plugin in facts:
        for role, names in plugin.providers.items():
            for name in (*names, NOBODYS_NAME):
                claims = plugins.claims(role, name)
                own = [claim for claim in claims if are_one(claim, plugin.source)]
                plugin.problems += [
                    problem
                    for claim in own
                    if (problem := _problem(plugins, role, name, claim, recipe))
                ]


def _problem(
    plugins: Plugins, role: Any, name: str, claim: PluginSource, recipe: Recipe
) -> str | None:
    """Return what is wrong with one provider; what does not load was told already."""
    if name == NOBODYS_NAME:
        return f"providers: {role} has every name; it must raise KeyError for names of others"
    if claim in plugins.installed and plugins.loaded(claim).failure is not None:
        return None
    try:
        plugins.made(role, name, claim, recipe)
    except OvrecipeError as error:
        return error.message
    return None


def sample_recipe(
    sections: Mapping[str, Any] | None = None, variants: Sequence[str] = ("fp16",)
) -> Recipe:
    """Return the smallest recipe, for providers that are asked without a real one."""
    from ovrecipe.recipe.schema import Recipe

    return Recipe.model_validate(
        {
            "name": "sample",
            "path": Path("sample.yaml"),
            "model": {"id": "example/model"},
            "variants": {name: {} for name in variants},
            "plugins": dict(sections or {}),
        }
    )
