"""The layout of the page: which components there are, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ovrecipe_gradio import figures
from ovrecipe_gradio.examples import EXAMPLES
from ovrecipe_gradio.session import CHAT, SINGLE, Memory, Session

if TYPE_CHECKING:
    from ovrecipe_gradio.catalog import Catalog
    from ovrecipe_gradio.settings import Defaults, Range
    from ovrecipe_gradio.turn import Choice


@dataclass(frozen=True)
class Page:
    """The components that handlers read and write."""

    session: gr.State
    memory: gr.BrowserState
    mode: gr.Radio
    history: gr.HTML
    exchange: gr.HTML
    status: gr.HTML
    problem: gr.HTML
    instruction: gr.Textbox
    submit: gr.Button
    stop: gr.Button
    regenerate: gr.Button
    clear: gr.Button
    variant: gr.Radio
    device: gr.Radio
    facts: gr.HTML
    system: gr.Textbox
    greedy: gr.Checkbox
    seed: gr.Textbox
    sliders: tuple[gr.Slider, ...]

    @property
    def settings(self) -> list[Any]:
        """What a question is asked with, in the order in which handlers take it."""
        return [self.variant, self.device, self.system, self.greedy, self.seed, *self.sliders]


def lay_out(catalog: Catalog, choice: Choice, defaults: Defaults) -> Page:
    """Create the components within the surrounding `gr.Blocks`.

    What can be chosen waits until the page has what its browser remembers.
    """
    # The page itself has the key: what it hides is the reader's own.
    key = f"ovrecipe:{catalog.recipe.name}"
    memory = gr.BrowserState(Memory().model_dump(), storage_key=key, secret=key)
    gr.HTML(figures.heading(catalog), elem_id="heading", padding=False)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=5, min_width=320, elem_id="main"):
            parts = {**_conversation(), **_composer()}
        with gr.Column(scale=3, min_width=300, elem_id="aside"):
            parts |= {**_model(catalog, choice), **_sampling(catalog, defaults)}
    return Page(session=gr.State(Session()), memory=memory, **parts)


def _conversation() -> dict[str, Any]:
    mode = gr.Radio(
        [SINGLE, CHAT],
        value=SINGLE,
        container=False,
        interactive=False,
        elem_id="mode",
        label="Mode",
    )
    with gr.Column(elem_id="conversation"):
        # What was said before is painted once, and only the last answer while it comes.
        history = gr.HTML(elem_id="history", padding=False, apply_default_css=False)
        exchange = gr.HTML(elem_id="exchange", padding=False, apply_default_css=False)
    return {"mode": mode, "history": history, "exchange": exchange}


def _composer() -> dict[str, Any]:
    """Create what stands at the bottom: the input, and how the answer to it is getting on."""
    with gr.Column(elem_id="composer"):
        idle = figures.status_line("idle", figures.IDLE)
        status = gr.HTML(idle, elem_id="status", padding=False)
        problem = gr.HTML("", visible=False, elem_id="problem", padding=False)
        instruction = gr.Textbox(
            label="Instruction",
            placeholder="Enter submits, Shift+Enter begins a new line",
            show_label=False,
            lines=1,
            max_lines=12,
            autofocus=True,
            elem_id="instruction",
        )
        with gr.Row(elem_id="buttons"):
            submit = _button("Submit", variant="primary")
            stop = _button("Stop", variant="stop")
            regenerate = _button("Regenerate")
            clear = _button("Clear", interactive=True)
        _examples(instruction)
    return {
        "status": status,
        "problem": problem,
        "instruction": instruction,
        "submit": submit,
        "stop": stop,
        "regenerate": regenerate,
        "clear": clear,
    }


def _button(label: str, *, variant: Any = "secondary", interactive: bool = False) -> gr.Button:
    return gr.Button(
        label,
        variant=variant,
        interactive=interactive,
        size="md",
        min_width=70,
        elem_id=label.lower(),
    )


def _examples(instruction: gr.Textbox) -> None:
    gr.Examples(
        [[example] for example in EXAMPLES],
        inputs=[instruction],
        label="Examples",
        elem_id="examples",
        api_visibility="private",
    )


def _model(catalog: Catalog, choice: Choice) -> dict[str, Any]:
    with gr.Group(elem_id="model"):
        variant = gr.Radio(
            list(catalog.variants),
            value=choice.variant,
            interactive=False,
            label="Variant",
            elem_id="variant",
        )
        device = gr.Radio(
            list(catalog.devices),
            value=choice.device,
            interactive=False,
            label="Device",
            elem_id="device",
        )
        facts = gr.HTML(figures.model_facts(catalog, choice), elem_id="facts", padding=True)
    return {"variant": variant, "device": device, "facts": facts}


def _sampling(catalog: Catalog, defaults: Defaults) -> dict[str, Any]:
    length, *others = defaults.ranges
    with gr.Group(elem_id="sampling"):
        sliders = [_slider(length, interactive=True)]
        greedy = gr.Checkbox(
            value=defaults.greedy,
            label="Greedy",
            info="Always the likeliest token; the sliders below do nothing then.",
            elem_id="greedy",
        )
        sliders += [_slider(limits, interactive=not defaults.greedy) for limits in others]
        # A text, for gradio's number shows an empty box as 0.
        seed = gr.Textbox(
            value=defaults.seed,
            label="Seed",
            placeholder="random",
            info="Empty: another one for each answer. The same seed gives the same answer.",
            max_lines=1,
            interactive=not defaults.greedy,
            elem_id="seed",
        )
    with gr.Accordion("System text", open=False):
        system = gr.Textbox(
            value=catalog.system,
            label="System text",
            container=False,
            placeholder=catalog.recipe.prompt.system or "None; the recipe has no system text.",
            lines=2,
            elem_id="system",
        )
    return {"sliders": tuple(sliders), "greedy": greedy, "seed": seed, "system": system}


def _slider(shown: Range, *, interactive: bool) -> gr.Slider:
    return gr.Slider(
        shown.minimum,
        shown.maximum,
        value=shown.default,
        step=shown.step,
        label=shown.label,
        info=shown.info,
        interactive=interactive,
        buttons=[],
        elem_id=shown.name.replace("_", "-"),
    )
