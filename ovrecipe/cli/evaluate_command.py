"""`ovrecipe evaluate`: how much a variant lost against its source."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.output import AsJson, print_json, print_table, status
from ovrecipe.cli.session import session_of
from ovrecipe.errors import GateError, RunError
from ovrecipe.libraries import prepare_libraries
from ovrecipe.measure.texts import TOKENS

if TYPE_CHECKING:
    from ovrecipe.measure.built import Built
    from ovrecipe.measure.evaluation import Evaluation
    from ovrecipe.measure.texts import Texts
    from ovrecipe.types import Progress

#: Below it a figure is rounding.
SMALLEST = 1e-6
#: Options that say something only of texts, or only of tasks.
TEXT_OPTIONS, TASK_OPTIONS = ("data", "tokens", "examples"), ("chat", "limit")


def command(
    ctx: typer.Context,
    targets: Annotated[
        list[str],
        recipe_argument(
            "NAME[:VARIANT]...", "Built variants; a bare NAME means all that are built."
        ),
    ],
    *,
    data: Annotated[
        Path | None,
        Option(help='Your own texts: .txt, one a line, or .jsonl with {"text": ...}.'),
    ] = None,
    tokens: Annotated[int, Option(min=64, help="Compare at most so many tokens.")] = TOKENS,
    examples: Annotated[
        int, Option(min=0, help="Show so many answers, the source's beside the variants'.")
    ] = 2,
    task: Annotated[
        list[str] | None,
        Option(help="Ask a task of lm-evaluation-harness instead: its YAML file; repeatable."),
    ] = None,
    chat: Annotated[
        bool, Option("--chat", help="With --task: ask in the model's own prompt format.")
    ] = False,
    limit: Annotated[
        int | None, Option(min=1, help="With --task: ask only so many questions of each.")
    ] = None,
    unaccepted: Annotated[
        bool, Option("--unaccepted", help="Open what a gate refused, for study.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare variants with the model that they were made from, token by token.

    The texts are what that model itself answers to a few instructions, or --data.

    KL: divergence of the next token's probabilities from the source's, in nats; 0 is the same.

    same top: how often the likeliest token is the same.

    perplexity: by what it grew.

    differs at: the token of a greedy answer, in the middle of all, at which the variant goes on
    otherwise.

    Behind a ± is the standard error. What the source says is kept, so the next call is faster.
    Exits with 8 when figures are no numbers, with 10 for a variant that is not built.

    With --task variants answer the questions of your own task files; that needs
    lm-evaluation-harness (pip install 'ovrecipe[tasks]').

    Example: ovrecipe evaluate smollm2-135m --tokens 512

    Example: ovrecipe evaluate smollm2-135m:int4 --task capitals.yaml
    """
    from ovrecipe.build.judge import raise_first
    from ovrecipe.measure.built import built_variants

    _check_options(ctx, TEXT_OPTIONS if task else TASK_OPTIONS, has_task=bool(task))
    prepare_libraries(sys.modules, os.environ)
    session = session_of(ctx)
    if task:
        from ovrecipe.cli.evaluate_tasks import ask_tasks

        ask_tasks(
            task,
            lambda: built_variants(
                session.project, targets, read=session.recipe, unaccepted=unaccepted
            ),
            chat=chat,
            limit=limit,
            as_json=as_json,
        )
        return
    rows: list[Evaluated] = []
    failed: list[GateError] = []
    with status("evaluating") as shown:

        def show(message: str, *, done: Any = None, total: Any = None, unit: str = "") -> None:  # noqa: ARG001
            shown.update(message if total is None else f"{message} ({done:.0f} of {total:.0f})")

        for built in list(
            built_variants(session.project, targets, read=session.recipe, unaccepted=unaccepted)
        ):
            how = partial(_told, show, str(built))
            try:
                rows.append(_evaluated(built, data, tokens, examples, how))
            except GateError as error:
                failed.append(GateError(f"{built}: {error.message}", remedy=error.remedy))
    if as_json:
        errors = [refused.message for refused in failed]
        print_json({"evaluations": [row.as_json() for row in rows], "errors": errors})
    elif rows:
        headings = ("variant", "KL", "same top", "perplexity", "differs at", "tokens")
        print_table(headings, [row.cells() for row in rows], figures=True)
        _print_examples(rows)
    raise_first(failed)


def _check_options(ctx: typer.Context, unused: Sequence[str], *, has_task: bool) -> None:
    """Refuse an option that would be passed over."""
    for name in unused:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            of = "is of texts, and --task has its own" if has_task else "needs --task"
            raise typer.BadParameter(of, param_hint=f"--{name}")


@dataclass(frozen=True)
class Evaluated:
    """What came of one variant; answers as text, under what was asked."""

    target: str
    evaluation: Evaluation
    examples: list[dict[str, str]]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        name, _, variant = self.target.partition(":")
        found = self.evaluation
        return {
            "name": name,
            "variant": variant,
            **found.figures.facts(),
            "perplexity": round(found.perplexity, 6),
            "source_perplexity": round(found.source_perplexity, 6),
            "first_differences": list(found.first_differences),
            "examples": self.examples,
        }

    def cells(self) -> list[str]:
        """Return a row of the table."""
        figures = self.evaluation.figures
        return [
            self.target,
            _with_error(figures.mean_kl, figures.mean_kl_error),
            f"{figures.same_top:.1%}",
            _with_error(figures.perplexity_ratio, figures.perplexity_ratio_error, "x"),
            _differs_at(self.evaluation.first_differences),
            str(figures.tokens),
        ]


def _with_error(figure: float, error: float, unit: str = "") -> str:
    """Return `0.458 ± 0.03`; of a single text there is no error."""
    if figure < SMALLEST:
        return f"<{SMALLEST:g}"
    known = "" if isnan(error) else f" ± {error:.1g}"
    # A ratio is near 1, and what it is above counts.
    return f"{figure:.4g}{unit}{known}" if unit else f"{figure:.3g}{known}"


def _differs_at(first: Sequence[int | None]) -> str:
    """Return the median place, `-` where no answer is greedy, `never` where most stay the same."""
    if not first:
        return "-"
    middle = median_low(sys.maxsize if place is None else place + 1 for place in first)
    return "never" if middle == sys.maxsize else str(middle)


def _evaluated(
    built: Built, data: Path | None, tokens: int, examples: int, progress: Progress
) -> Evaluated:
    from ovrecipe.measure.encoder import Encoder
    from ovrecipe.measure.texts import INSTRUCTIONS

    with built.in_use(), _run_errors(str(built)):
        encoder = Encoder(built.artifact.model_dir)
        texts: Texts = (
            encoder.given(data, tokens=tokens) if data else encoder.written(tokens=tokens)
        )
        found = built.evaluated(texts, examples=examples, progress=progress)
    answers = [
        {
            "asked": INSTRUCTIONS[example.group],
            "source": encoder.decoded(example.source),
            "variant": encoder.decoded(example.variant),
        }
        for example in found.examples
    ]
    return Evaluated(str(built), found, answers)


@contextmanager
def _run_errors(target: str) -> Iterator[None]:
    """Say of which variant an error is, and turn OpenVINO's own into one."""
    from ovrecipe.wording import last_line

    try:
        yield
    except RuntimeError as error:
        raise RunError(
            f"{target}: OpenVINO cannot run it: {last_line(error)}",
            remedy="'ovrecipe verify' checks the artifact's files",
        ) from error


def _told(show: Progress, target: str, message: str, **how: Any) -> None:
    show(f"{target}: {message}", **how)


def _print_examples(rows: Sequence[Evaluated]) -> None:
    """Print answers side by side: the source's, and each variant's."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = dict.fromkeys(row.target.partition(":")[0] for row in rows)
    for name in names:
        own = [row for row in rows if row.target.partition(":")[0] == name]
        variants = [row.target.partition(":")[2] for row in own]
        table = Table("asked", "source", *variants, box=SIMPLE, show_lines=True, pad_edge=False)
        for answers in zip(*(row.examples for row in own), strict=True):
            first = answers[0]
            texts = (first["asked"], first["source"], *(each["variant"] for each in answers))
            table.add_row(*(Text(text.strip()) for text in texts))
        if table.row_count:
            Console().print(table)
