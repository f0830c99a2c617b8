"""The layout of the page: which components there are, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ovrecipe_gradio import figures
from ovrecipe_gradio.examples import EXAMPLES
from ovrecipe_gradio.session import Session

if TYPE_CHECKING:
    from ovrecipe_gradio.catalog import Catalog
    from ovrecipe_gradio.settings import Defaults, Range
    from ovrecipe_gradio.turn import Choice

SINGLE, CHAT = "Single instruction", "Chat"
MODES = (SINGLE, CHAT)


@dataclass(frozen=True)
class Page:
    """The components that handlers read and write."""

    session: gr.State
    mode: gr.Radio
    instruction: gr.Textbox
    submit: gr.Button
    stop: gr.Button
    clear: gr.Button
    status: gr.HTML
    problem: gr.HTML
    response: gr.Textbox
    conversation: gr.Chatbot
    performance: gr.HTML
    variant: gr.Radio
    device: gr.Radio
    facts: gr.HTML
    system: gr.Textbox
    greedy: gr.Checkbox
    seed: gr.Number
    sliders: tuple[gr.Slider, ...]

    @property
    def settings(self) -> list[Any]:
        """What a question is asked with, in the order in which handlers take it."""
        return [self.variant, self.device, self.system, self.greedy, self.seed, *self.sliders]


def lay_out(catalog: Catalog, choice: Choice, defaults: Defaults) -> Page:
    """Create the components within the surrounding `gr.Blocks`."""
    gr.HTML(figures.heading(catalog), elem_id="heading", padding=False)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=5, min_width=320):
            parts = {**_question(), **_answer()}
            # Behind the answer, for a click on one is followed by a look at the box above.
            _examples(parts["instruction"])
        with gr.Column(scale=3, min_width=300):
            parts |= {**_model(catalog, choice), **_sampling(catalog, defaults)}
    return Page(session=gr.State(Session()), **parts)


def _question() -> dict[str, Any]:
    mode = gr.Radio(MODES, value=SINGLE, container=False, elem_id="mode", label="Mode")
    instruction = gr.Textbox(
        label="Instruction",
        placeholder="Enter submits, Shift+Enter begins a new line",
        lines=1,
        max_lines=12,
        autofocus=True,
        elem_id="instruction",
    )
    with gr.Row(elem_id="buttons"):
        submit = gr.Button("Submit", variant="primary", elem_id="submit", min_width=90)
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop", min_width=90)
        clear = gr.Button("Clear", elem_id="clear", min_width=90)
    return {
        "mode": mode,
        "instruction": instruction,
        "submit": submit,
        "stop": stop,
        "clear": clear,
    }


def _answer() -> dict[str, Any]:
    return {
        "status": gr.HTML(
            figures.status_line("idle", figures.IDLE), elem_id="status", padding=False
        ),
        "problem": gr.HTML("", visible=False, elem_id="problem", padding=False),
        "response": gr.Textbox(
            label="Response",
            lines=8,
            max_lines=24,
            interactive=False,
            buttons=["copy"],
            elem_id="response",
        ),
        # Text, not Markdown; handlers escape it too, or `a<b and c>d` would lose its middle.
        "conversation": gr.Chatbot(
            label="Conversation",
            render_markdown=False,
            height=420,
            visible=False,
            # Its copy button would copy the escaped text.
            buttons=[],
            feedback_options=None,
            elem_id="conversation",
        ),
        "performance": gr.HTML(figures.performance(None), elem_id="performance", padding=False),
    }


def _examples(instruction: gr.Textbox) -> None:
    gr.Examples(
        [[each] for each in EXAMPLES],
        inputs=[instruction],
        label="Examples",
        elem_id="examples",
        api_visibility="private",
    )


def _model(catalog: Catalog, choice: Choice) -> dict[str, Any]:
    with gr.Group(elem_id="model"):
        variant = gr.Radio(
            list(catalog.variants), value=choice.variant, label="Variant", elem_id="variant"
        )
        device = gr.Radio(
            list(catalog.devices), value=choice.device, label="Device", elem_id="device"
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
        sliders += [_slider(each, interactive=not defaults.greedy) for each in others]
        seed = gr.Number(
            value=defaults.seed,
            precision=0,
            minimum=0,
            label="Seed",
            info="The same seed gives the same answer.",
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
