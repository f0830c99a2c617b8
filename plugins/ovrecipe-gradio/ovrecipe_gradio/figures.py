"""From states and figures to the HTML of the page; everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ovrecipe.errors import OvrecipeError
from ovrecipe_gradio.markdown import Answers
from ovrecipe_gradio.session import Exchange
from ovrecipe_gradio.turn import State

if TYPE_CHECKING:
    from ovrecipe import GenerationResult
    from ovrecipe_gradio.catalog import BuiltVariant, Catalog
    from ovrecipe_gradio.turn import Choice, Turn

ANSWERS = Answers()
#: What the runner's finish reasons mean to a reader.
ENDED = {"stop": "ended by itself", "length": "cut off at the limit", "cancelled": "stopped"}
IDLE = "Ready"
NOTHING = "\u2013"


def status(turn: Turn, *, ahead: int) -> str:
    """Return what the page is doing."""
    return status_line(turn.state, _doing(turn, ahead), number=turn.number)


def status_line(state: str, text: str, *, number: int = 0) -> str:
    """Return the line above the answer; state and number are for stylesheets and tests."""
    return (
        f'<div class="status" role="status" data-state="{state}" data-turn="{number}">'
        f'<span class="lamp"></span>{escape(text)}</div>'
    )


def _doing(turn: Turn, ahead: int) -> str:
    model = model_name(turn.choice)
    match turn.state:
        case State.WAITING:
            return f"Waiting: {ahead} ahead of you" if ahead else "Your turn is next"
        case State.LOADING:
            return f"Loading {model} ({turn.seconds:.0f} s)"
        case State.ANSWERING:
            return f"Answering with {model}"
        case State.STOPPED:
            return "Stopped"
        case State.FAILED:
            return "Failed"
    return f"{model} is loaded" if turn.question is None else "Done"


def model_name(choice: Choice) -> str:
    """Return `int4 on CPU`."""
    return f"{choice.variant} on {choice.device}"


def exchange(turn: Turn) -> Exchange:
    """Return a turn as far as it has come, with its figures.

    They are GenAI's own when the answer has ended, and counted ones while it comes.
    """
    assert turn.question is not None
    shown: dict[str, str | None] = {}
    caption = ""
    if turn.result is not None:
        shown, caption = _measured(turn.result)
    elif (pace := turn.pace()) is not None:
        shown = {"Tokens/s": _rate(pace.throughput), "Tokens": str(pace.tokens)}
        when = "until it ended" if turn.over else "so far"
        caption = f"counted {when}; the speed is that since the first token"
    if "rng_seed" in turn.question.generation:
        shown["Seed"] = str(turn.question.generation["rng_seed"])
    return Exchange(
        instruction=turn.question.instruction,
        answer=turn.text,
        figures={name: value or NOTHING for name, value in shown.items()},
        caption=f"{model_name(turn.choice)}; {caption}" if caption else "",
    )


def _measured(result: GenerationResult) -> tuple[dict[str, str | None], str]:
    metrics, tokens = result.metrics, result.generated_tokens
    shown = {
        "Tokens/s": _rate(metrics.throughput) if metrics else None,
        "First token": f"{metrics.ttft_ms:.0f} ms" if metrics else None,
        "Tokens": None if tokens is None else str(tokens),
    }
    source = "measured by GenAI" if metrics else "stopped before GenAI gave its figures"
    ended = ENDED[result.finish_reason]
    return shown, f"{source}; {ended}, {result.prompt_tokens} prompt tokens"


def _rate(throughput: float | None) -> str | None:
    return None if throughput is None else f"{throughput:.1f}"


def conversation(turns: Iterable[Exchange]) -> str:
    """Return what was asked and answered; an answer is Markdown, an instruction is text."""
    return "".join(
        '<article class="exchange">'
        f'<div class="asked">{escape(turn.instruction)}</div>'
        f'<div class="answer">{ANSWERS.render(turn.answer)}</div>'
        f"{_figures(turn)}</article>"
        for turn in turns
    )


def _figures(turn: Exchange) -> str:
    if not turn.caption:
        return ""
    parts = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in turn.figures.items()
    )
    return (
        f'<div class="figures"><dl>{"".join(parts)}</dl><span class="caption">'
        f"{escape(turn.caption)}</span>"
        f'<button type="button" class="copy" data-text="{escape(turn.answer)}">Copy</button></div>'
    )


def problem(error: BaseException | None) -> str:
    """Return an error with what to do about it; nothing for None."""
    if error is None:
        return ""
    known = isinstance(error, OvrecipeError)
    message = error.message if isinstance(error, OvrecipeError) else _unexpected(error)
    remedy = error.remedy if isinstance(error, OvrecipeError) else "the server's terminal has more"
    below = f"<p>{escape(remedy)}</p>" if remedy else ""
    kind = "refused" if known else "defect"
    return f'<div class="problem {kind}" role="alert"><p>{escape(message)}</p>{below}</div>'


def _unexpected(error: BaseException) -> str:
    return f"a defect: {type(error).__name__}: {error}"


def heading(catalog: Catalog) -> str:
    """Return the top of the page."""
    recipe = catalog.recipe
    return (
        f'<header class="heading"><h1>{escape(recipe.name)}</h1>'
        f"<p>{escape(recipe.description or '')}</p></header>"
    )


def model_facts(
    catalog: Catalog, choice: Choice, notes: Sequence[str] = (), *, loaded: str = ""
) -> str:
    """Return recipe, artifact digest and sizes of what is chosen; `loaded` unless it is."""
    variant = catalog.variants[choice.variant]
    rows = [
        ("Recipe", escape(catalog.recipe.name)),
        ("Model", escape(catalog.recipe.model.id)),
        ("Variant", escape(f"{model_name(choice)} {loaded}")),
        *_artifact_rows(variant),
    ]
    if catalog.unbuilt:
        rows.append(("Not built", escape(", ".join(catalog.unbuilt))))
    rows += [("Note", escape(note)) for note in notes]
    return '<dl class="facts">' + "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in rows) + "</dl>"


def _artifact_rows(variant: BuiltVariant) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if variant.digest is not None:
        digest = escape(variant.digest)
        rows.append(("Artifact", f'<code title="{digest}">{digest[:12]}</code>'))
    if variant.weights_bytes is not None:
        rows.append(("Weights", f"{variant.weights_bytes / 1e6:.2f} MB"))
    if variant.size_bytes is not None:
        rows.append(("All files", f"{variant.size_bytes / 1e6:.2f} MB"))
    if variant.created is not None:
        rows.append(("Built", escape(variant.created[:16].replace("T", " "))))
    return rows
