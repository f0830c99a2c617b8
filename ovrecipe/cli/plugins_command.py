"""`ovrecipe plugins`: who provides what, and what is wrong with whom."""

from typing import Annotated

import typer

from ovrecipe.cli.main import COMMANDS
from ovrecipe.cli.output import AsJson, print_json, print_table
from ovrecipe.cli.session import session_of
from ovrecipe.errors import PluginError
from ovrecipe.hooks.listing import PluginFacts, ask_all, plugin_facts
from ovrecipe.hooks.plugins import hook_names
from ovrecipe.hooks.roles import ROLES
from ovrecipe.wording import perhaps


def command(
    ctx: typer.Context,
    hook: Annotated[
        str | None, typer.Option(help="Only plugins with this role (compressor) or hook.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask for every provider; exit 4 if anything is wrong.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List plugins, their providers, hooks and commands, and why one does not load.

    All of them are imported for this, each by itself. To skip one: -p no:NAME, or
    OVRECIPE_DISABLED_PLUGINS=NAME,NAME (all: every one but what is built in).
    OVRECIPE_LOAD_PLUGINS=NAME,NAME loads only those.

    Example: ovrecipe plugins --hook compressor --check
    """
    wanted = None if hook is None else _known(hook)
    plugins = session_of(ctx).plugins
    facts = plugin_facts(plugins, builtin_commands=tuple(COMMANDS))
    if check:
        ask_all(plugins, facts)
    shown = [plugin for plugin in facts if wanted in (None, *plugin.hooks, *plugin.providers)]
    if as_json:
        print_json({"plugins": [plugin.as_json() for plugin in shown]})
    else:
        print_table(("plugin", "version", "status", "provides"), map(_cells, shown))
        typer.echo("".join(f"\n{line}\n" for facts in shown for line in _troubles(facts)), nl=False)
    if check and not all(plugin.is_sound for plugin in facts):
        raise typer.Exit(PluginError.exit_code)


def _known(hook: str) -> str:
    known, name = [*ROLES, *hook_names()], hook.replace("-", "_")
    if name in known:
        return name
    hint = perhaps(name, known) or f"; there are {', '.join(known)}"
    raise typer.BadParameter(f"there is no role or hook {hook!r}{hint}", param_hint="--hook")


def _cells(facts: PluginFacts) -> tuple[str, str, str, str]:
    loads = facts.status == "loaded" and facts.source.origin != "built-in"
    status = f"loaded in {facts.import_ms:.0f} ms" if loads else facts.status
    roles = {role.replace("_", " "): names for role, names in facts.providers.items()}
    if watching := [name for name in facts.hooks if name != "providers"]:
        roles["hooks"] = tuple(watching)
    provides = "\n".join(f"{role}: {', '.join(names)}" for role, names in roles.items())
    return facts.name, facts.source.version or facts.source.location, status, provides


def _troubles(facts: PluginFacts) -> list[str]:
    lines = [
        f"{lost.source} failed to load: {lost.failure}\n  {lost.remedy}" for lost in facts.failed
    ]
    if facts.skipped is not None:
        lines.append(f"{facts.name} is skipped: {facts.skipped}")
    return [*lines, *(f"{facts.name}: {problem}" for problem in facts.problems)]
