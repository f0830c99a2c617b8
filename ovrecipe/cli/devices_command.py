"""`ovrecipe devices`: where a model can run on this machine."""

from __future__ import annotations

from ovrecipe.cli.output import AsJson, print_json, print_table


def devices(*, as_json: AsJson = False) -> None:
    """List the devices that OpenVINO sees here, for --device of 'run' and 'chat'.

    A GPU or NPU that is missing from the list mostly lacks its driver. AUTO lets OpenVINO
    choose; HETERO:GPU,CPU uses several for one model.

    Example: ovrecipe devices
    """
    from ovrecipe.run.genai import list_devices

    found = list_devices()
    if as_json:
        print_json([device.as_json() for device in found])
        return
    rows = [(device.name, device.full_name, ", ".join(device.capabilities)) for device in found]
    print_table(("device", "name", "supports"), rows)
