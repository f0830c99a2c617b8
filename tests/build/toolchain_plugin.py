"""A plugin whose exporter brings toolchains; loaded with `-p` beside the fake one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovrecipe.hooks.roles import MAIN, Toolchain, ToolchainChoice
from ovrecipe.hooks.specs import hookimpl

TINY = Toolchain("tiny-1", {"tinytool": "1.0"})
VANISHED = Toolchain("tiny-9", {"tinytool": "9.0"})
#: What `made:TEXT` needs.
NEEDS = {"old": "tiny-1", "gone": "tiny-9", "new": MAIN, "lost": None}


class LinedExporter:
    """Writes an IR that says which tinytool the exporter met."""

    packages = ("pluggy", "tinytool")
    toolchains = (TINY, VANISHED)

    def toolchain(self, config: Mapping[str, Any]) -> ToolchainChoice:
        return ToolchainChoice(NEEDS[config["text"]], f"{config['text']} needs another tinytool")

    def export(self, job: Any) -> None:
        try:
            from tinytool import version
        except ImportError:
            version = "none"
        for name in ("openvino_model.xml", "openvino_model.bin", "config.json"):
            Path(job.output_dir / name).write_text(version)


@hookimpl
def providers() -> dict[str, dict[str, Any]]:
    return {"exporter": {"lined": LinedExporter}}
