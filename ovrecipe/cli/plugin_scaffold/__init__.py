"""`ovrecipe new-plugin`: a plugin that works, made of the `.txt` files beside this module."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from ovrecipe.cli.main import COMMANDS
from ovrecipe.cli.output import write_text
from ovrecipe.errors import ProjectError
from ovrecipe.hooks.plugins import FIRST_PARTY, load_plugins
from ovrecipe.version import __version__
from ovrecipe.wording import perhaps

#: One letter would be a drive of Windows in `model.id`.
NAME = re.compile(r"[a-z][a-z0-9]+(-[a-z0-9]+)*")
#: By kind, what `kinds.toml` says of it.
KINDS = tomllib.loads(files(__name__).joinpath("kinds.toml").read_text(encoding="utf-8"))


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
    if target.exists():
        raise ProjectError(f"{target} is there already", remedy="choose another name or --in DIR")
    for path, text in scaffold(plain, role).items():
        write_text(target / path, text)
    typer.echo(f"{target} is written. Next:\n  pip install -e {target}")
    typer.echo(f"  ovrecipe plugins --check\n  pytest {target}")


def _check(name: str, role: str) -> None:
    if role not in KINDS:
        hint = perhaps(role, KINDS) or f"; one of {', '.join(KINDS)}"
        raise typer.BadParameter(f"there is no role {role!r}{hint}", param_hint="--role")
    builtin = COMMANDS if role == "command" else load_plugins(env={}).builtin.get(role, ())
    if not NAME.fullmatch(name):
        problem = f"{name!r}: use lower-case letters, digits and single hyphens, two at least"
    elif f"ovrecipe-{name}" in FIRST_PARTY.values():
        problem = f"'ovrecipe-{name}' is a distribution of ours; choose another name"
    elif name in builtin:
        problem = f"the {role.replace('_', ' ')} {name!r} is built in; choose another name"
    else:
        return
    raise typer.BadParameter(problem, param_hint="NAME")


def scaffold(name: str, kind: str) -> dict[PurePosixPath, str]:
    """Return the files of a new plugin, by path inside its folder."""
    module = f"ovrecipe_{name.replace('-', '_')}"
    thing, use = KINDS[kind]
    values = {
        "@USE@": use,
        "@NAME@": name,
        "@MODULE@": module,
        "@A_KIND@": f"{'An' if kind[0] in 'aeio' else 'A'} {kind.replace('_', ' ')}",
        "@GROUP@": '"ovrecipe"' if kind == "observer" else f'"ovrecipe.{kind}"',
        "@TARGET@": module + thing,
        "@OVRECIPE@": ".".join(__version__.split(".")[:2]),
    }
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}/__init__.py": f"{kind}.py",
        f"tests/test_{module}.py": f"test_{kind}.py",
    }
    written = {}
    for path, template in templates.items():
        text = files(__name__).joinpath(f"{template}.txt").read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        written[PurePosixPath(path)] = text
    return written
