"""`ovrecipe evaluate --task`: what variants make of tasks of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from ovrecipe.cli.output import print_json, print_table, status
from ovrecipe.errors import GateError

if TYPE_CHECKING:
    from ovrecipe.measure.built import Built

STDERR = "_stderr"


def ask_tasks(
    names: Sequence[str],
    variants: Callable[[], Iterable[Built]],
    *,
    chat: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Ask each variant each task, and print the metrics.

    Raises:
        RunError: the harness is not installed, or a task asks for what is not offered.
        StageError: a task cannot be used.
        NotBuilt: a variant is not built.
        GateError: the logits of a variant are not finite; the others are shown before.
    """
    from ovrecipe.build.judge import raise_first
    from ovrecipe.measure.tasks import asked, check_harness, loaded_tasks

    check_harness()
    found = list(variants())
    rows: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    failed: list[GateError] = []
    with status("reading the tasks") as shown:
        tasks = loaded_tasks(names)
        for built in found:

            def show(message: str, *, done: Any = None, total: Any = None, unit: str = "") -> None:  # noqa: ARG001
                shown.update(f"{built}: {message} ({done} of {total})")  # noqa: B023

            try:
                with built.in_use():
                    scorer, template = _opened(built)
                    rows[str(built)] = asked(
                        tasks,
                        scorer,
                        template=template if chat else None,
                        limit=limit,
                        progress=show,
                    )
            except GateError as error:
                failed.append(GateError(f"{built}: {error.message}", remedy=error.remedy))
    if as_json:
        documents = [_document(target, by_task) for target, by_task in rows.items()]
        print_json({"evaluations": documents, "errors": [error.message for error in failed]})
    elif rows:
        _print(rows)
    raise_first(failed)


def _print(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    headings = ("variant", "task", "metric", "value", "questions")
    lines = [
        (target, task, *line, str(metrics["questions"]))
        for target, by_task in rows.items()
        for task, metrics in by_task.items()
        for line in _lines(metrics)
    ]
    print_table(headings, lines, figures=True, left=(0, 1, 2))


def _opened(built: Built) -> tuple[Any, Any]:
    """Return a variant's scorer, and its chat template."""
    from ovrecipe.builtin.ir import StatefulModel
    from ovrecipe.errors import foreign_errors
    from ovrecipe.measure.encoder import Encoder
    from ovrecipe.measure.models import EXACTLY
    from ovrecipe.measure.scoring import Scorer
    from ovrecipe.run.prompt import read_template

    model_dir = built.artifact.model_dir
    with foreign_errors(f"{built}: opening the model"):
        scorer = Scorer(
            StatefulModel(model_dir, EXACTLY),
            Encoder(model_dir),
            positions=built.artifact.context_length(),
        )
    return scorer, read_template(model_dir)


def _document(target: str, by_task: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    name, _, variant = target.partition(":")
    return {"name": name, "variant": variant, "tasks": by_task}


def _lines(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield metric and value, `0.400 ± 0.24` where the harness knows a standard error."""
    for name, value in metrics.items():
        if name == "questions" or STDERR in name:
            continue
        # A filter stands behind the name: `exact_match,strict`, `exact_match_stderr,strict`.
        metric, comma, chosen = name.partition(",")
        error = metrics.get(f"{metric}{STDERR}{comma}{chosen}", float("nan"))
        yield name, f"{value:.4g}" + ("" if isnan(error) else f" ± {error:.2g}")
