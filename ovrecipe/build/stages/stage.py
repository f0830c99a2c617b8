"""What a stage is, and what its `run` is given: a job and the context that it works in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from ovrecipe.hooks.roles import Estimate
from ovrecipe.recipe.schema import Recipe
from ovrecipe.types import Json, Progress

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.events import Watch
    from ovrecipe.build.execute import Work
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided

#: The folder of a source artifact that holds the checkpoint's files.
CHECKPOINT = "checkpoint"


class Job(BaseModel):
    """One run of one stage; JSON for a process of its own.

    `inputs` are published artifacts by the name of their stage or companion, `output_dir` the empty
    folder to fill, `pin` what the source said of the checkpoint's content, `plugin_options` the
    values of `-p`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    recipe: Recipe
    variant: str | None
    inputs: dict[str, Path]
    output_dir: Path
    pin: dict[str, Any]
    plugin_options: tuple[str, ...]
    store_dir: Path

    @property
    def checkpoint_dir(self) -> Path:
        """The checkpoint inside the source artifact."""
        return self.inputs["source"] / CHECKPOINT

    def to_json(self) -> str:
        """Return the text that `model_validate_json` reads."""
        # What a recipe leaves out stays out, for keys that exclude each other have defaults.
        return self.model_dump_json(by_alias=True, exclude_unset=True)


@dataclass(frozen=True)
class StageContext:
    """What a stage works with besides its job."""

    plugins: Plugins
    progress: Progress
    env: Mapping[str, str]
    #: Is told which plugin works now, in case it ends the process; then None.
    at_work: Callable[..., None] = lambda **_: None

    @contextmanager
    def calling(self, provided: Provided[object]) -> Iterator[None]:
        """Blame on the provider what goes wrong while it works."""
        self.at_work(plugin=None if provided.source.is_builtin else str(provided))
        with provided.blamed():
            yield
        self.at_work(plugin=None)


@dataclass(frozen=True)
class Stage:
    """One step of the route; everything that is special about it stands here.

    What it is and does:

    - `doc` says what its result is, `doing` what is on screen meanwhile.
    - `version` is raised when the stage's own code would write other bytes.
    - `inputs` names the stages whose artifacts are read; their keys are part of this stage's key,
      beside `fields`, which is everything else that the result depends on.
    - `companions` are directories of other variants that are read too, `NAME:VARIANT` by the name
      of the input.
    - `run` fills `job.output_dir` and returns facts.
    - `per_variant` stages run once for each variant, `own_process` ones in a worker, which
      imports the module of `run` and takes its `STAGE`. `python` gives the worker's interpreter.

    What becomes of its result:

    - `publishes`: the view `models/NAME/VARIANT` leads to it; one stage of a table does.
    - `is_gate`: a variant gets its view only when this passed.
    - `objections`: what the recipe of today does not accept of the facts of a gate, a line each.
    - `is_intermediate`: `ovrecipe gc --intermediates` removes it.
    - `links`: the inputs whose files are linked into it, so that they are not hashed again.

    What is known before it runs:

    - `is_judged`: before it starts, all that its variants still need is judged by these two.
    - `problems`: what is certain to fail, a line each.
    - `estimate`: what it leaves on the disk and peaks at in memory, None when that is unknown. A
      stage with an estimate waits until memory has room for it beside others.
    """

    name: str
    doc: str
    doing: str
    version: int
    inputs: Callable[[Recipe, str | None], tuple[str, ...]]
    fields: Callable[[RecipePlan, str | None], dict[str, Json]]
    run: Callable[[Job, StageContext], dict[str, Json]]
    companions: Callable[[Recipe, str | None], Mapping[str, str]] = lambda *_: {}
    per_variant: bool = False
    own_process: bool = True
    python: Callable[[Work, Watch], AbstractContextManager[Path]] = lambda *_: nullcontext(
        Path(sys.executable)
    )
    publishes: bool = False
    is_gate: bool = False
    objections: Callable[[Recipe, str, Mapping[str, Any]], Iterable[str]] = lambda *_: ()
    is_intermediate: bool = False
    links: tuple[str, ...] = ()
    is_judged: bool = False
    problems: Callable[[Work], Sequence[str]] = lambda _: ()
    estimate: Callable[[Work], Estimate | None] = lambda _: None

    def variants(self, variants: Iterable[str]) -> tuple[str | None, ...]:
        """Return for which of the variants the stage runs: each of them, or once for all."""
        return tuple(variants) if self.per_variant else (None,)


def always(*names: str) -> Callable[[Recipe, str | None], tuple[str, ...]]:
    """Return an `inputs` that does not depend on the recipe."""
    return lambda recipe, variant: names  # noqa: ARG005


def keep_torch_out(
    modules: MutableMapping[str, ModuleType], providers: Iterable[Provided[object]]
) -> None:
    """Make torch impossible to import in this process when no provider at work needs it.

    transformers and NNCF import it whenever they can, which costs a tokenizer 4 s and 0.75 GB and
    NNCF 2 s and 0.5 GB (SmolLM2; transformers 5.5, NNCF 3.4, torch 2.15).
    """
    if not any(provided.traits.needs_torch for provided in providers):
        modules.setdefault("torch", None)  # type: ignore[arg-type]
