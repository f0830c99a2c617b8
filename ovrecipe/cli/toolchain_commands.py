"""`ovrecipe toolchain`: the environments that exporters work in, made, looked at and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ovrecipe.build.toolchains import Toolchains, noted_in
from ovrecipe.cli.output import AsJson, print_json, print_table, status
from ovrecipe.cli.session import Session, session_of
from ovrecipe.errors import PluginError, ToolchainError
from ovrecipe.hooks.roles import MAIN, Toolchain
from ovrecipe.wording import amount, perhaps

application = typer.Typer(name="toolchain", no_args_is_help=True, add_completion=False)
Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Toolchains of 'ovrecipe toolchain list'.")
]
OneName = Annotated[
    str, typer.Argument(metavar="NAME", help="A toolchain of 'ovrecipe toolchain list'.")
]


@application.callback()
def toolchain() -> None:
    """Environments that exporters work in: other versions of some packages, before the main ones.

    A build makes the one that it needs. They are shared by projects and lie in the user's cache, or
    where OVRECIPE_TOOLCHAINS says.

    Example: 'ovrecipe toolchain make tf-4.57' while there is a network, and build offline later.
    """


@application.command("list")
def list_toolchains(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List the toolchains that there are, and which of them are made.

    The first is the environment that ovrecipe runs in, with the versions of the same packages.

    Example: ovrecipe toolchain list
    """
    session = session_of(ctx)
    toolchains, known = _known(session)
    rows = [_facts(toolchains, one) for one in known.values()]
    moved = {package: None for row in rows for package in row["packages"]}
    main = {package: session.plugins.package_version(package) for package in moved}
    if as_json:
        print_json({"folder": str(toolchains.root), MAIN: main, "toolchains": rows})
        return
    ours = (MAIN, _versions(main), "ovrecipe's own")
    print_table(("toolchain", "packages", "state"), [ours, *map(_cells, rows)])


@application.command()
def show(ctx: typer.Context, name: OneName, *, as_json: AsJson = False) -> None:
    """Show what is in a toolchain, where it lies, and whether it can be used.

    Example: ovrecipe toolchain show tf-4.57
    """
    toolchains, [one] = _named(session_of(ctx), [name])
    facts = _facts(toolchains, one)
    if as_json:
        print_json(facts)
        return
    for package, version in facts["packages"].items():
        typer.echo(f"{package}=={version}")
    made = "" if facts["size_bytes"] is None else f", made with {facts['made_with']}"
    typer.echo(f"state: {_state(facts)}{made}")
    typer.echo(f"python: {facts['python']}")


@application.command()
def make(ctx: typer.Context, names: Names, *, as_json: AsJson = False) -> None:
    """Make toolchains that are not there yet, or are damaged; needs a network.

    uv makes them where it is on PATH, pip where not; index and mirrors are theirs to know.
    Exits with 13 when one cannot be installed: its log is named, and nothing else of it stays.

    Example: ovrecipe toolchain make tf-4.57
    """
    toolchains, wanted = _named(session_of(ctx), names)
    rows = []
    for one in wanted:
        with status(f"making toolchain {one.name}"):
            is_new = toolchains.make(one)
        rows.append({**_facts(toolchains, one), "was_made": is_new})
        if not as_json:
            typer.echo(f"{one.name}: {_state(rows[-1])}{'' if is_new else ', nothing to do'}")
    if as_json:
        print_json({"toolchains": rows})


@application.command()
def remove(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Toolchains of 'ovrecipe toolchain list'."),
    ] = None,
    *,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All, also of other environments and of other versions."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove toolchains; what was built with them stays, and the next export makes them again.

    Exits with 13 while a build uses one.

    Example: ovrecipe toolchain remove tf-4.57
    """
    if everything == bool(names):
        raise typer.BadParameter("give names, or --all")
    toolchains, wanted = _named(session_of(ctx), names or [])
    folders = toolchains.folders() if everything else map(toolchains.folder, wanted)
    rows = []
    for folder in folders:
        noted = noted_in(folder)
        is_gone = toolchains.remove_folder(folder)
        freed_bytes = noted.get("size_bytes", 0) if is_gone else 0
        rows.append({"name": folder.name, "removed": is_gone, "freed_bytes": freed_bytes})
        if not as_json:
            done = f"removed, {amount(freed_bytes)} freed" if is_gone else "was not made"
            typer.echo(f"{folder.name}: {done}")
    if as_json:
        print_json({"toolchains": rows})


def _known(session: Session) -> tuple[Toolchains, dict[str, Toolchain]]:
    """Return this machine's toolchains and, by name, those that an exporter brings.

    Raises:
        PluginError: two exporters mean different things by one name.
    """
    found: dict[str, Toolchain] = {}
    for name in session.plugins.names("exporter"):
        for one in session.plugins.provider("exporter", name).traits.toolchains:
            if found.setdefault(one.name, one) != one:
                message = f"two exporters bring a toolchain {one.name!r}, with other packages"
                raise PluginError(message, remedy="skip one of the plugins with -p no:NAME")
    return Toolchains.of(session.env), found


def _named(session: Session, names: list[str]) -> tuple[Toolchains, list[Toolchain]]:
    """Return the toolchains of these names.

    Raises:
        ToolchainError: there is none of a name.
    """
    toolchains, known = _known(session)
    for name in names:
        if name == MAIN:
            raise ToolchainError(f"{MAIN!r} is the environment that ovrecipe runs in")
        if name not in known:
            message = f"there is no toolchain {name!r}{perhaps(name, known)}"
            raise ToolchainError(message, remedy=f"there are: {', '.join(known)}")
    return toolchains, [known[name] for name in dict.fromkeys(names)]


def _facts(toolchains: Toolchains, one: Toolchain) -> dict[str, Any]:
    """Return what there is to say of a toolchain; `objection` is why it cannot be used."""
    manifest = toolchains.manifest(one)
    noted = ("size_bytes", "seconds", "made_with")
    return {
        "name": one.name,
        "packages": dict(one.packages),
        "python": str(toolchains.python(one)),
        "objection": toolchains.objection(one),
        **{name: manifest.get(name) for name in noted},
    }


def _state(facts: dict[str, Any]) -> str:
    if facts["objection"] is None:
        return f"made, {amount(facts['size_bytes'])}, in {facts['seconds']} s"
    return str(facts["objection"]).removeprefix("it is ")


def _cells(facts: dict[str, Any]) -> tuple[str, str, str]:
    return facts["name"], _versions(facts["packages"]), _state(facts)


def _versions(packages: Mapping[str, str | None]) -> str:
    return "\n".join(f"{name} {version}" for name, version in packages.items() if version)
