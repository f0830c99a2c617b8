"""Distributions as pip would leave them: metadata and a module in a folder."""

from __future__ import annotations

import os
from importlib.metadata import distributions
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint
    from pathlib import Path


def compressor_code(name: str, *, class_body: str = "") -> str:
    """Return the module of a plugin with one compressor."""
    return f"""
from ovrecipe import hookimpl

class Compressor:
    packages = ("pluggy", "not-installed-anywhere")
    version = 3
    options_model = None
    def problems(self, compression, precision, shapes): return []
    def compress(self, job): return {{}}
{class_body}

@hookimpl
def provider_names(role):
    return [{name!r}] if role == "compressor" else []

@hookimpl
def get_compressor(name):
    return Compressor() if name == {name!r} else None
"""


class Site:
    """A folder of distributions; each import of a module leaves its name in `imported`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(exist_ok=True)

    def install(
        self,
        name: str,
        code: str,
        *,
        version: str = "1.0",
        entry_points: str | None = None,
        requires: str | None = None,
    ) -> None:
        """Install `ovrecipe-NAME` with the entry point NAME (or those given)."""
        module = f"site_{self.root.parent.name}_{name}".replace("-", "_")
        mark = f"with open({str(self.root / 'imported')!r}, 'a') as f: print({name!r}, file=f)\n"
        (self.root / f"{module}.py").write_text(mark + code)
        info = self.root / f"ovrecipe_{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: ovrecipe-{name}\nVersion: {version}\n"
        if requires is not None:
            metadata += f"Requires-Dist: {requires}\n"
        (info / "METADATA").write_text(metadata)
        points = entry_points or f"[ovrecipe]\n{name} = MODULE"
        (info / "entry_points.txt").write_text(points.replace("MODULE", module) + "\n")

    def find(self, group: str) -> Iterable[EntryPoint]:
        """Return the entry points of a group, as `installed_entry_points` does."""
        found = distributions(path=[str(self.root)])
        return [each for dist in found for each in dist.entry_points.select(group=group)]

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to find the distributions."""
        path = os.pathsep.join([str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {"PYTHONPATH": path, "COLUMNS": "120", "NO_COLOR": "1"}

    @property
    def imported(self) -> list[str]:
        """The plugins that were imported, in order."""
        path = self.root / "imported"
        return path.read_text().split() if path.exists() else []
