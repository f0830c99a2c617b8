"""Tasks of lm-evaluation-harness, asked of a built variant.

The harness is an extra: it is imported where it is used, and not by name, since it is mostly not
there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError, RunError, StageError, translated
from ovrecipe.hooks.roles import silent
from ovrecipe.measure.peers import is_installed
from ovrecipe.measure.scoring import Scorer
from ovrecipe.types import Progress

if TYPE_CHECKING:
    from ovrecipe.run.prompt import ChatTemplate

HARNESS = "lm_eval"
INSTALL = "pip install 'ovrecipe[tasks]'"
#: What the harness lets a model write where a task does not say.
MAX_NEW_TOKENS = 256
#: Generation settings that ask for what is done anyway.
GREEDY: Mapping[str, Sequence[Any]] = {
    "do_sample": (False,), "temperature": (0, 0.0, None), "num_beams": (1,),
}  # fmt: skip


def check_harness() -> None:
    """Look for the harness, without importing it.

    Raises:
        RunError: it is not installed; the message has the command that installs it.
    """
    if not is_installed(HARNESS):
        raise RunError("--task: lm-evaluation-harness is not installed", remedy=INSTALL)


def loaded_tasks(names: Sequence[str]) -> Any:
    """Return the harness's own task objects of YAML files.

    Raises:
        StageError: a file is not there, or the harness refuses it.
    """
    for name in names:
        if not Path(name).is_file():
            raise StageError(
                f"--task {name}: there is no such file",
                remedy="a task is a YAML file of lm-evaluation-harness; "
                "docs/evaluating.md has an example",
            )
    # The bars of the harness would stand between our own lines.
    os.environ.setdefault("TQDM_DISABLE", "1")
    tasks = import_module(f"{HARNESS}.tasks")
    try:
        manager = tasks.TaskManager(include_defaults=False)
        return list(manager.load([str(Path(name)) for name in names])["tasks"].values())
    except Exception as error:
        raise translated(
            error, f"--task {', '.join(names)}", "see the harness's task guide"
        ) from error


def asked(
    tasks: Sequence[Any],
    scorer: Scorer,
    *,
    template: ChatTemplate | None = None,
    limit: int | None = None,
    progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """Return the metrics of each task, with the number of its questions.

    With a `template` questions are asked in it, as the recipe's prompts are.

    Raises:
        RunError: a task asks for what is not offered, as sampled answers.
        StageError: the harness gave up.
    """
    evaluator = import_module(f"{HARNESS}.evaluator")
    model = _model(scorer, template, progress)
    try:
        found = evaluator.simple_evaluate(
            model=model,
            tasks=list(tasks),
            limit=limit,
            apply_chat_template=template is not None,
            log_samples=False,
            bootstrap_iters=1000,
        )
    except OvrecipeError:
        raise
    except Exception as error:
        raise translated(error, "lm-evaluation-harness", None) from error
    counts = found["n-samples"]
    return {
        name: {**_metrics(metrics), "questions": counts[name]["effective"]}
        for name, metrics in found["results"].items()
    }


def _metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """Return figures by name, as `acc` and `acc_stderr`, without the filter called none."""
    named = {name.removesuffix(",none"): value for name, value in found.items()}
    return {name: value for name, value in named.items() if isinstance(value, float)}


def _model(scorer: Scorer, template: ChatTemplate | None, progress: Progress) -> Any:
    """Return the scorer as a model of the harness."""
    base: Any = import_module(f"{HARNESS}.api.model").LM

    class Variant(base):  # type: ignore[misc]
        """A built variant."""

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            return _each(requests, lambda pair: tuple(scorer.likelihood(*pair)), progress)

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            return _each(requests, lambda texts: scorer.rolling(texts[0]), progress)

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            return _each(requests, lambda asked: continued(scorer, *asked), progress)

        def apply_chat_template(
            self,
            chat_history: Sequence[Mapping[str, str]],
            add_generation_prompt: bool = True,  # noqa: FBT001, FBT002 - the harness's own
        ) -> str:
            assert template is not None, "asked for only with one"
            return template.render(chat_history, add_generation_prompt=add_generation_prompt)

        @property
        def tokenizer_name(self) -> str:
            return "ovrecipe"

    return Variant()


def _each(requests: Iterable[Any], answer: Callable[[Any], Any], progress: Progress) -> list[Any]:
    asked = list(requests)
    answers = []
    for done, request in enumerate(asked):
        progress("asking", done=done, total=len(asked))
        answers.append(answer(request.args))
    return answers


def continued(scorer: Scorer, prompt: str, settings: Mapping[str, Any]) -> str:
    """Return an answer under a task's `generation_kwargs`.

    Raises:
        RunError: one of them is not offered; answers are greedy.
    """
    left = dict(settings)
    until = left.pop("until", None) or []
    new_tokens = int(left.pop("max_gen_toks", MAX_NEW_TOKENS))
    for name, value in left.items():
        if value not in GREEDY.get(name, ()):
            raise RunError(
                f"the task wants {name}={value!r} in generation_kwargs, and answers are greedy",
                remedy="take it out of the task, or write do_sample: false",
            )
    stops = [until] if isinstance(until, str) else list(until)
    return scorer.continued(
        prompt, until=[stop for stop in stops if stop], max_new_tokens=new_tokens
    )
