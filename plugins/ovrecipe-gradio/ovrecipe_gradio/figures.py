"""From states and figures to the HTML of the page; everything from outside is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ovrecipe.errors import OvrecipeError
from ovrecipe_gradio.turn import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ovrecipe import GenerationResult
    from ovrecipe_gradio.catalog import BuiltVariant, Catalog
    from ovrecipe_gradio.turn import Choice, Pace, Turn

#: What the runner's finish reasons mean to a reader.
ENDED = {"stop": "by itself", "length": "at the limit", "cancelled": "stopped"}
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


def performance(turn: Turn | None, pace: Pace | None = None) -> str:
    """Return the figures: GenAI's own when the answer has ended, counted ones while it comes."""
    if turn is None or (turn.result is None and pace is None):
        return _tiles([("Tokens/s", None), ("First token", None), ("Tokens", None)], "", "none")
    if turn.result is None:
        assert pace is not None
        return _live(pace, over=turn.over)
    return _measured(turn.result)


def _live(pace: Pace, *, over: bool) -> str:
    tiles = [
        ("Tokens/s", _rate(pace.throughput)),
        ("First token", None),
        ("Tokens", str(pace.tokens)),
    ]
    when = "until it ended" if over else "so far"
    return _tiles(tiles, f"Live count: tokens {when}, and their speed since the first one", "live")


def _measured(result: GenerationResult) -> str:
    metrics, tokens = result.metrics, result.generated_tokens
    tiles = [
        ("Tokens/s", _rate(metrics.throughput) if metrics else None),
        ("First token", f"{metrics.ttft_ms:.0f} ms" if metrics else None),
        ("Tokens", None if tokens is None else str(tokens)),
    ]
    source = "Measured by GenAI" if metrics else "Stopped before GenAI gave its figures"
    ended = ENDED[result.finish_reason]
    return _tiles(
        tiles, f"{source}; ended {ended}, {result.prompt_tokens} prompt tokens", "measured"
    )


def _rate(throughput: float | None) -> str | None:
    return None if throughput is None else f"{throughput:.1f}"


def _tiles(tiles: Iterable[tuple[str, str | None]], caption: str, source: str) -> str:
    parts = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value or NOTHING)}</dd></div>"
        for name, value in tiles
    )
    return (
        f'<div class="figures" data-source="{source}"><dl>{"".join(parts)}</dl>'
        f'<p class="caption">{escape(caption)}</p></div>'
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


def model_facts(catalog: Catalog, choice: Choice, notes: Sequence[str] = ()) -> str:
    """Return recipe, artifact digest and sizes of what is chosen."""
    variant = catalog.variants[choice.variant]
    rows = [
        ("Recipe", escape(catalog.recipe.name)),
        ("Model", escape(catalog.recipe.model.id)),
        ("Variant", escape(model_name(choice))),
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
