"""`ovrecipe devices`: where a model can run on this machine."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ovrecipe.run.genai import Device


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the devices that OpenVINO sees here, for --device of 'run' and 'chat'.

    A GPU or NPU that is missing from the list mostly lacks its driver. AUTO lets OpenVINO
    choose; HETERO:GPU,CPU uses several for one model.

    Example: ovrecipe devices
    """
    from ovrecipe.run.genai import list_devices
    from ovrecipe.telemetry import switch_off_telemetry

    switch_off_telemetry(sys.modules, os.environ)
    devices = list_devices()
    if as_json:
        typer.echo(json.dumps([each.as_json() for each in devices], indent=2))
    else:
        _print_table(devices)


def _print_table(devices: list[Device]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("device", "name", "supports"):
        table.add_column(title, overflow="fold")
    for each in devices:
        table.add_row(each.name, each.full_name, ", ".join(each.capabilities))
    Console().print(table)
