"""What is measured, and on which machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ovrecipe.run.genai import Device

#: The engine that is no peer.
OURS = "ovrecipe"


@dataclass(frozen=True)
class Subject:
    """What is measured: an artifact on a device, by an engine.

    `path` is the file of a GGUF, or the directory of an artifact that has no name.
    """

    target: str
    artifact: str
    device: str
    engine: str
    versions: Mapping[str, str | None] = field(hash=False)
    path: str | None = None

    @property
    def title(self) -> str:
        """What people read."""
        by = "" if self.engine == OURS else f" by {self.engine}"
        return f"{self.target}{by} on {self.device}"


def machine_name(devices: Sequence[Device]) -> str:
    """Return what tells machines apart whose figures cannot be compared."""
    import psutil

    names = [f"{device.name} {device.full_name}" for device in devices]
    memory = f"{psutil.virtual_memory().total / 1e9:.0f} GB"
    system = f"{platform.system()} {platform.machine()}"
    return ", ".join([*names, f"{usable_cores()} cores", memory, system])


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
