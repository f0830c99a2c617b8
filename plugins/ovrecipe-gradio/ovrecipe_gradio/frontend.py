"""`ovrecipe chat NAME --frontend gradio`: the page for a conversation that is open already."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import RunError
from ovrecipe_gradio.command import serve
from ovrecipe_gradio.server import switch_off_analytics

if TYPE_CHECKING:
    from ovrecipe import Chat, Runner
    from ovrecipe.hooks.roles import Console, ShownGeneration
    from ovrecipe_gradio.turn import Choice


class GradioFrontend:
    """Serves the page until Ctrl-C."""

    def show(self, generation: ShownGeneration, console: Console) -> None:  # noqa: ARG002
        """Refuse: a page for one answer would be gone before anyone looks at it.

        Raises:
            RunError: always.
        """
        generation.cancel()
        raise RunError(
            "the gradio frontend shows conversations, not one answer",
            remedy="use 'ovrecipe web NAME', or 'ovrecipe chat NAME --frontend gradio'",
        )

    def chat(self, conversation: Chat, console: Console) -> None:  # noqa: ARG002
        """Serve the conversation's model, with its system text and parameters."""
        from ovrecipe_gradio.catalog import chat_catalog
        from ovrecipe_gradio.engine import Engine

        switch_off_analytics(os.environ)
        runner = conversation.runner
        engine = Engine(_switched(runner))
        choice = engine.adopt(runner)
        serve(chat_catalog(conversation), engine, choice)


def _switched(runner: Runner) -> Callable[[Choice, Callable[[str], None]], Any]:
    """Return what loads another variant the way this one was loaded."""

    def opened(choice: Choice, announce: Callable[[str], None]) -> Runner:  # noqa: ARG001
        if runner.variants is None:
            raise RunError("this model cannot be loaded again", remedy="use 'ovrecipe web'")
        return runner.variants.load(choice.variant)

    return opened
