"""What a stage's process is told, and how it is written down for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.recipe.schema import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping
    from types import ModuleType

    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.types import Json, Progress


def keep_torch_out(
    modules: MutableMapping[str, ModuleType], providers: Iterable[Provided[object]]
) -> None:
    """Make torch impossible to import in this process when no provider at work needs it.

    transformers and NNCF import it whenever they can. Without it a tokenizer takes 2.7 s and
    0.2 GB instead of 6.6 s and 0.95 GB, and importing NNCF 1.0 s and 0.1 GB instead of 3.2 s and
    0.6 GB (SmolLM2; transformers 5.5, NNCF 3.4, torch 2.15).
    """
    if not any(provided.traits.needs_torch for provided in providers):
        modules.setdefault("torch", None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Job:
    """One run of one stage.

    `inputs` are published artifacts by stage name, `output_dir` the empty folder to fill,
    `pin` what the source said of the checkpoint's content, `plugin_options` the values of `-p`.
    """

    stage: str
    recipe: Recipe
    variant: str | None
    inputs: Mapping[str, Path]
    output_dir: Path
    pin: Mapping[str, Json]
    plugin_options: tuple[str, ...]
    digests_path: Path

    @property
    def checkpoint_dir(self) -> Path:
        """The checkpoint inside the source artifact."""
        return self.inputs["source"] / CHECKPOINT


#: The folder of a source artifact that holds the checkpoint's files.
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Bench:
    """What a stage works with besides its job: plugins, progress and the environment."""

    plugins: Plugins
    progress: Progress
    env: Mapping[str, str]


def write_job(job: Job, path: Path) -> None:
    """Write a job as JSON, for a process of its own."""
    document: dict[str, Any] = {
        "stage": job.stage,
        "recipe": job.recipe.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "variant": job.variant,
        "inputs": {name: str(each) for name, each in job.inputs.items()},
        "output_dir": str(job.output_dir),
        "pin": dict(job.pin),
        "plugin_options": list(job.plugin_options),
        "digests_path": str(job.digests_path),
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def read_job(path: Path) -> Job:
    """Read what `write_job` wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        stage=document["stage"],
        recipe=Recipe.model_validate_json(json.dumps(document["recipe"])),
        variant=document["variant"],
        inputs={name: Path(each) for name, each in document["inputs"].items()},
        output_dir=Path(document["output_dir"]),
        pin=document["pin"],
        plugin_options=tuple(document["plugin_options"]),
        digests_path=Path(document["digests_path"]),
    )
