"""`ovrecipe plugins`: who provides what, and what is wrong with whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ovrecipe.cli.output import AsJson, print_json
from ovrecipe.cli.session import session_of
from ovrecipe.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.listing import PluginFacts


def command(
    ctx: typer.Context,
    hook: Annotated[
        str | None,
        typer.Option("--hook", help="Only plugins with this role (compressor) or hook."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Ask for every provider; exit 4 if anything is wrong."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List plugins, their providers, hooks and commands, and why one does not load.

    All of them are imported for this, each by itself. To skip one: -p no:NAME, or
    OVRECIPE_DISABLED_PLUGINS=NAME,NAME (all: every one but what is built in).
    OVRECIPE_LOAD_PLUGINS=NAME,NAME loads only those.

    Example: ovrecipe plugins --hook compressor --check
    """
    from ovrecipe.cli.main import COMMANDS
    from ovrecipe.hooks.listing import plugin_facts, probe

    wanted = None if hook is None else _known(hook)
    plugins = session_of(ctx).plugins
    facts = plugin_facts(plugins, builtin_commands=tuple(COMMANDS))
    if check:
        probe(plugins, facts)
    shown = [plugin for plugin in facts if wanted in (None, *plugin.hooks, *plugin.providers)]
    if as_json:
        print_json({"plugins": [plugin.as_json() for plugin in shown]})
    else:
        _print_table(shown)
    if check and not all(plugin.is_sound for plugin in facts):
        raise typer.Exit(PluginError.exit_code)


def _known(hook: str) -> str:
    from ovrecipe.hooks.plugins import hook_names
    from ovrecipe.hooks.roles import ROLES
    from ovrecipe.wording import perhaps

    known, name = [*ROLES, *hook_names()], hook.replace("-", "_")
    if name in known:
        return name
    hint = perhaps(name, known) or f"; there are {', '.join(known)}"
    raise typer.BadParameter(f"there is no role or hook {hook!r}{hint}", param_hint="--hook")


def _print_table(facts: Sequence[PluginFacts]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("plugin", "version", "status", "provides", box=None, pad_edge=False)
    for plugin in facts:
        version = plugin.source.version or plugin.source.location
        table.add_row(plugin.name, version, _status(plugin), _provides(plugin))
    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(table)
    for plugin in facts:
        for line in _troubles(plugin):
            console.print(line, soft_wrap=True)


def _status(facts: PluginFacts) -> str:
    loads = facts.status == "loaded" and facts.source.origin != "built-in"
    return f"loaded in {facts.import_ms:.0f} ms" if loads else facts.status


def _provides(facts: PluginFacts) -> str:
    lines = [
        f"{role.replace('_', ' ')}: {', '.join(names)}" for role, names in facts.providers.items()
    ]
    watching = [name for name in facts.hooks if name != "providers"]
    return "\n".join([*lines, *([f"hooks: {', '.join(watching)}"] if watching else [])])


def _troubles(facts: PluginFacts) -> list[str]:
    lines = [
        f"\n{lost.source} failed to load: {lost.failure}\n  {lost.remedy}" for lost in facts.failed
    ]
    if facts.skipped is not None:
        lines.append(f"\n{facts.name} is skipped: {facts.skipped}")
    return [*lines, *(f"\n{facts.name}: {problem}" for problem in facts.problems)]
