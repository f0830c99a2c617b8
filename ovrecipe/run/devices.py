"""The devices that OpenVINO sees."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import DeviceUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Devices that are made of others: `AUTO`, `AUTO:GPU,CPU`, `HETERO:GPU,CPU`.
VIRTUAL = ("AUTO", "HETERO", "MULTI", "BATCH")


@dataclass(frozen=True)
class Device:
    """One device: its name for `--device`, the maker's name and what it can do."""

    name: str
    full_name: str
    capabilities: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def list_devices() -> list[Device]:
    """Return the devices of this machine; asks OpenVINO, so it takes a moment."""
    from openvino import Core

    core = Core()
    return [_device(core, name) for name in core.available_devices]


def _device(core: Any, name: str) -> Device:
    return Device(
        name=name,
        full_name=str(core.get_property(name, "FULL_DEVICE_NAME")),
        capabilities=tuple(core.get_property(name, "OPTIMIZATION_CAPABILITIES")),
    )


def check_device(device: str, available: Sequence[str]) -> None:
    """Refuse a device that is not on this machine, alone or in the list of a virtual one.

    Raises:
        DeviceUnknown: with the names of those that are.
    """
    for each in _named_devices(device):
        if not _is_there(each, available):
            raise DeviceUnknown(
                f"device '{device}': OpenVINO sees no '{each}' here, only {', '.join(available)}",
                remedy="'ovrecipe devices' lists them; a missing GPU or NPU mostly lacks a driver",
            )


def _named_devices(device: str) -> Iterable[str]:
    kind, colon, rest = device.partition(":")
    if kind not in VIRTUAL:
        return [device]
    # AUTO:-GPU leaves a device out; BATCH:CPU(4) carries a size.
    names = [each.strip().lstrip("-").partition("(")[0] for each in rest.split(",")]
    return names if colon else []


def _is_there(name: str, available: Sequence[str]) -> bool:
    """Return whether `GPU` or `GPU.0` is available, by either of the two spellings."""
    return any(name in (each, each.partition(".")[0]) or name == f"{each}.0" for each in available)
