"""`ovrecipe web`: the page of one recipe."""

from __future__ import annotations

import os
import threading
import webbrowser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.session import session_of
from ovrecipe_gradio.server import LOOPBACK, switch_off_analytics

if TYPE_CHECKING:
    from ovrecipe import Runner
    from ovrecipe.cli.session import Session
    from ovrecipe_gradio.catalog import Catalog
    from ovrecipe_gradio.engine import Engine
    from ovrecipe_gradio.turn import Choice

#: Windows delivers Ctrl-C between two waits, not within one.
WAKE_SECONDS = 0.5
VIRTUAL = "AUTO"


def command(
    ctx: typer.Context,
    target: Annotated[
        str,
        recipe_argument(
            "NAME[:VARIANT]",
            "What to serve; without a variant int4 if built, else the smallest built.",
        ),
    ],
    *,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = LOOPBACK,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Default: the first free from 7860 on."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="See 'ovrecipe devices'; CPU unless configured.")
    ] = None,
    share: Annotated[
        bool,
        typer.Option("--share", help="Ask gradio for a public link: anyone who has it can use it."),
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """Serve a model as a web page on this machine; Ctrl-C ends it.

    The page streams answers and shows true speeds; variant and device can be switched on it.

    Example: ovrecipe web smollm2-135m:int4 --open
    """
    from ovrecipe_gradio.engine import Engine

    switch_off_analytics(os.environ)
    session = session_of(ctx)
    opened = _opener(session)
    notes: list[str] = []
    _say("loading the model")
    asked = device or configured_device(session)
    runner = opened(target, asked, notes.append)
    engine = Engine(
        lambda choice, announce: opened(
            f"{runner.recipe.name}:{choice.variant}", choice.device, announce
        )
    )
    try:
        choice = engine.adopt(runner, notes)
        catalog = _catalog(session, runner, asked)
        serve(catalog, engine, choice, host=host, port=port, share=share, open_browser=open_browser)
    finally:
        engine.close()


def serve(
    catalog: Catalog,
    engine: Engine,
    choice: Choice,
    *,
    host: str = LOOPBACK,
    port: int | None = None,
    share: bool = False,
    open_browser: bool = False,
) -> None:
    """Serve the page until Ctrl-C, which is how it is meant to end; closes the engine."""
    from ovrecipe_gradio.server import build, launch

    blocks = build(catalog, engine, choice)
    try:
        address = launch(blocks, host=host, port=port, share=share)
        _say(f"{choice.variant} on {choice.device} at {address.local}  (Ctrl-C ends it)")
        if address.shared:
            _say(f"public link, for anyone who has it: {address.shared}")
        if open_browser:
            webbrowser.open(address.local)
        _wait_for_ctrl_c()
    except KeyboardInterrupt:
        _say("closing")
    finally:
        engine.close()
        blocks.close(verbose=False)


def _wait_for_ctrl_c() -> None:
    never = threading.Event()
    while not never.wait(WAKE_SECONDS):
        pass


def _opener(session: Session) -> Callable[[str, str, Callable[[str], None]], Runner]:
    """Return what loads a target of this project with this call's plugins, warmed up."""
    import ovrecipe

    def opened(target: str, device: str, announce: Callable[[str], None]) -> Runner:
        def noted(message: str) -> None:
            _say(message)
            announce(message)

        return ovrecipe.load(
            target,
            device,
            project=session.project,
            plugins=session.plugins,
            warm_up=True,
            announce=noted,
            task="text-generation",
        )

    return opened


def configured_device(session: Session) -> str:
    """Return the device that counts without --device, as for `ovrecipe run`."""
    default = session.defaults.device
    return default.value if default else "CPU"


def _catalog(session: Session, runner: Runner, device: str) -> Catalog:
    from ovrecipe_gradio.catalog import project_catalog

    return project_catalog(session.project, runner, _devices(device))


def _devices(asked: str) -> Sequence[str]:
    """Return what this machine has, AUTO, and what was asked for (`HETERO:GPU,CPU`)."""
    import ovrecipe

    found = [device.name for device in ovrecipe.list_devices()]
    return list(dict.fromkeys([*found, VIRTUAL, asked]))


def _say(message: str) -> None:
    typer.echo(f"ovrecipe: {message}", err=True)
