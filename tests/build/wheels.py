"""Tiny wheels, and the environment in which pip and uv see no others."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile

#: Where TINY_PIPE names a place, its import says so there, and waits until somebody lets it go on.
CODE = """
import os
version = {version!r}
if place := os.environ.get("TINY_PIPE"):
    with open(place + ".begun", "w") as begun:
        begun.write(str(os.getpid()))
    open(place + ".go").read()
"""


def write_wheel(folder: Path, name: str, version: str, code: str = CODE) -> None:
    """Write the wheel of a distribution with one module."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code.format(version=version),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def only_from(folder: Path, root: Path) -> dict[str, str]:
    """Return what the environment says where toolchains below `root` are made of these wheels."""
    return {
        **os.environ,
        "OVRECIPE_TOOLCHAINS": str(root),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(folder),
        "HF_HUB_OFFLINE": "0",
    }
