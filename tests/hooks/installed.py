"""Distributions as pip would leave them: metadata and a module in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

#: A module with one compressor, `Compressor`.
COMPRESSOR = """
class Compressor:
    packages = ("pluggy", "not-installed-anywhere")
    version = 3
    def problems(self, compression, precision, shapes): return []
    def compress(self, job): return {}
"""


def compressor_code(name: str, code: str = COMPRESSOR) -> str:
    """Return the module of a plugin with hooks that provides `Compressor` under a name."""
    return f"""
from ovrecipe import hookimpl
{code}
@hookimpl
def providers():
    return {{"compressor": {{{name!r}: Compressor}}}}
"""


class Site:
    """A folder of distributions; each import of a module leaves its name in `imported`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(exist_ok=True)

    def install(
        self,
        name: str,
        code: str = COMPRESSOR,
        *,
        version: str = "1.0",
        points: str | None = None,
        requires: str | None = None,
        editable: bool = False,
    ) -> None:
        """Install `ovrecipe-NAME` with the compressor NAME, or the entry points given."""
        module = f"site_{self.root.parent.name}_{name}".replace("-", "_")
        mark = f"with open({str(self.root / 'imported')!r}, 'a') as f: print({name!r}, file=f)\n"
        (self.root / f"{module}.py").write_text(mark + code)
        info = self.root / f"ovrecipe_{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: ovrecipe-{name}\nVersion: {version}\n"
        if requires is not None:
            metadata += f"Requires-Dist: {requires}\n"
        (info / "METADATA").write_text(metadata)
        points = points or f"[ovrecipe.compressor]\n{name} = MODULE:Compressor"
        (info / "entry_points.txt").write_text(points.replace("MODULE", module) + "\n")
        if editable:
            origin = '{"url": "file:", "dir_info": {"editable": true}}'
            (info / "direct_url.json").write_text(origin)

    def install_hooks(self, name: str, code: str, **how: str) -> None:
        """Install `ovrecipe-NAME` with a module of hooks."""
        self.install(name, code, points=f"[ovrecipe]\n{name} = MODULE", **how)  # type: ignore[arg-type]

    def find(self) -> Iterable[EntryPoint]:
        """Return our entry points, as `installed_entry_points` does."""
        found = distributions(path=[str(self.root)])
        return [point for dist in found for point in dist.entry_points]

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
