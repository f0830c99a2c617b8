"""`ovrecipe new-plugin NAME`: a distribution that installs, passes its tests and works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ovrecipe.cli.plugin_scaffold import KINDS, scaffold
from ovrecipe.errors import ProjectError

#: One letter would be a drive of Windows in `model.id`.
NAME = re.compile(r"[a-z][a-z0-9]+(-[a-z0-9]+)*")


def command(
    name: Annotated[str, typer.Argument(help="What the plugin provides, such as 'shout'.")],
    role: Annotated[
        str, typer.Option("--role", help=f"One of {', '.join(KINDS)}.")
    ] = "output_filter",
    parent: Annotated[
        Path, typer.Option("--in", help="Folder in which ovrecipe-NAME is made.")
    ] = Path(),
) -> None:
    """Write a plugin as a distribution of its own, with tests: ovrecipe-NAME.

    It works as written; change its one module into what you need.

    Example: ovrecipe new-plugin shout --role output_filter && pip install -e ovrecipe-shout
    """
    plain, role = name.removeprefix("ovrecipe-"), role.replace("-", "_")
    _check(plain, role)
    target = parent / f"ovrecipe-{plain}"
    _write(target, plain, role)
    typer.echo(f"{target} is written. Next:")
    typer.echo(f"  pip install -e {target}")
    typer.echo("  ovrecipe plugins --check")
    typer.echo(f"  pytest {target}")


def _check(name: str, role: str) -> None:
    from ovrecipe.cli.main import COMMANDS
    from ovrecipe.hooks.plugins import FIRST_PARTY, load_plugins
    from ovrecipe.wording import perhaps

    if not NAME.fullmatch(name):
        raise typer.BadParameter(
            f"{name!r}: use lower-case letters, digits and single hyphens, two at least",
            param_hint="NAME",
        )
    if role not in KINDS:
        hint = perhaps(role, KINDS) or f"; one of {', '.join(KINDS)}"
        raise typer.BadParameter(f"there is no role {role!r}{hint}", param_hint="--role")
    if f"ovrecipe-{name}" in FIRST_PARTY.values():
        raise typer.BadParameter(
            f"'ovrecipe-{name}' is a distribution of ours; choose another name", param_hint="NAME"
        )
    builtin = COMMANDS if role == "command" else load_plugins(env={}).builtin.get(role, ())
    if name in builtin:
        raise typer.BadParameter(
            f"the {role.replace('_', ' ')} {name!r} is built in; choose another name",
            param_hint="NAME",
        )


def _write(target: Path, name: str, role: str) -> None:
    if target.exists():
        raise ProjectError(f"{target} is there already", remedy="choose another name or --in DIR")
    try:
        for path, text in scaffold(name, role).items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ProjectError(f"{target} cannot be written: {error.strerror}") from error
