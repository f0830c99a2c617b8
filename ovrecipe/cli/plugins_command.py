"""`ovrecipe plugins`: who provides what, and what is wrong with whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ovrecipe.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.listing import PluginFacts

BROKEN = 4


def command(
    ctx: typer.Context,
    hook: Annotated[
        str | None,
        typer.Option("--hook", help="Only plugins with this hook (get_compressor) or role."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Ask for every provider; exit 4 if anything is wrong."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List plugins, their providers and commands, and why one does not load.

    All of them are imported for this, each by itself. To skip one: -p no:NAME, or
    OVRECIPE_DISABLED_PLUGINS=NAME,NAME (all: every one but the built-in).
    OVRECIPE_LOAD_PLUGINS=NAME,NAME loads only those.

    Example: ovrecipe plugins --hook compressor --check
    """
    from ovrecipe.cli.main import COMMANDS
    from ovrecipe.hooks.listing import plugin_facts, probe

    wanted = None if hook is None else _hook_named(hook)
    plugins = session_of(ctx).plugins
    facts = plugin_facts(plugins, builtin_commands=tuple(COMMANDS))
    if check:
        probe(plugins, facts)
    shown = [each for each in facts if wanted is None or wanted in each.hooks]
    _print_json(shown) if as_json else _print_table(shown)
    if check and not all(each.is_sound for each in facts):
        raise typer.Exit(BROKEN)


def _hook_named(hook: str) -> str:
    from difflib import get_close_matches

    from ovrecipe.hooks.checks import hook_names

    names = hook_names()
    for each in (hook, f"get_{hook.replace('-', '_')}"):
        if each in names:
            return each
    close = get_close_matches(hook, names, n=1)
    hint = f"perhaps you meant {close[0]!r}" if close else f"hooks are {', '.join(names)}"
    raise typer.BadParameter(f"there is no hook {hook!r}; {hint}", param_hint="--hook")


def _print_json(facts: Sequence[PluginFacts]) -> None:
    import json

    print(json.dumps({"plugins": [each.as_json() for each in facts]}, indent=2))


def _print_table(facts: Sequence[PluginFacts]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("plugin", "from", "status", "provides", box=None, pad_edge=False)
    for each in facts:
        table.add_row(each.source.name, _origin(each), _status(each), _provides(each))
    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(table)
    for each in facts:
        for line in _troubles(each):
            console.print(line, soft_wrap=True)


def _origin(facts: PluginFacts) -> str:
    source = facts.source
    if source.distribution is None:
        return source.location
    return f"{source.distribution} {source.version}"


def _status(facts: PluginFacts) -> str:
    if facts.status != "loaded" or facts.import_ms is None:
        return facts.status
    return f"loaded in {facts.import_ms:.0f} ms"


def _provides(facts: PluginFacts) -> str:
    lines = [
        f"{role.replace('_', ' ')}: {', '.join(names)}" for role, names in facts.providers.items()
    ]
    if facts.commands:
        lines.append(f"command: {', '.join(facts.commands)}")
    return "\n".join(lines)


def _troubles(facts: PluginFacts) -> list[str]:
    lines = []
    if facts.status == "failed":
        lines.append(f"\n{facts.source} failed to load: {facts.reason}\n  {facts.remedy}")
    elif facts.reason is not None:
        lines.append(f"\n{facts.source}: {facts.reason}")
    return [*lines, *(f"\n{facts.source}: {problem}" for problem in facts.problems)]
