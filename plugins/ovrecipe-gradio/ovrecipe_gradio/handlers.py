"""What a click does: from the values of the components to a turn, and from a turn to updates."""

from __future__ import annotations

import logging
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

import gradio as gr

from ovrecipe.errors import OvrecipeError
from ovrecipe_gradio import figures
from ovrecipe_gradio.page import CHAT, Page
from ovrecipe_gradio.session import Session, exchange
from ovrecipe_gradio.settings import generation_of
from ovrecipe_gradio.turn import Choice, Question, State, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovrecipe_gradio.catalog import Catalog
    from ovrecipe_gradio.engine import Engine

Updates: TypeAlias = dict[Any, Any]

#: How often a running answer is painted; a reader sees a flow, and the model keeps its cores.
TICK_SECONDS = 0.1

log = logging.getLogger(__name__)


class Handlers:
    """The handlers of one page; what belongs to a browser is in its `Session`."""

    def __init__(self, page: Page, engine: Engine, catalog: Catalog) -> None:
        self._page = page
        self._engine = engine
        self._catalog = catalog

    def ask(
        self,
        session: Session,
        mode: str,
        instruction: str,
        variant: str,
        device: str,
        system: str,
        greedy: bool,  # noqa: FBT001 - gradio calls handlers by position
        seed: float | None,
        *sliders: float,
    ) -> Iterator[Updates]:
        """Ask the model and show its answer as it comes."""
        chat = mode == CHAT
        question = Question(
            instruction,
            system=system or None,
            history=session.history if chat else (),
            generation=generation_of(*sliders, greedy=greedy, seed=seed),
        )
        yield from self._followed(session, Choice(variant, device), question, chat=chat)

    def switch(self, session: Session, variant: str, device: str) -> Iterator[Updates]:
        """Load what was chosen, in the order in which all pages asked."""
        yield from self._followed(session, Choice(variant, device), None, chat=False)

    async def stop(self, session: Session) -> None:
        """Stop the answer of this browser; who follows it shows that it ended.

        A coroutine, for it has to run while threads of gradio's follow answers.
        """
        session.stop()

    async def clear(self, session: Session) -> Updates:
        """Stop and forget; settings stay."""
        session.clear()
        page = self._page
        return {
            page.instruction: "",
            page.response: "",
            page.conversation: [],
            page.performance: figures.performance(None),
            page.status: figures.status_line("idle", figures.IDLE),
            page.problem: gr.update(value="", visible=False),
            **self._controls(busy=False),
        }

    async def show_mode(self, mode: str) -> Updates:
        """Show the box of one answer, or the conversation."""
        page, chat = self._page, mode == CHAT
        return {
            page.response: gr.update(visible=not chat),
            page.conversation: gr.update(visible=chat),
        }

    async def show_greedy(self, greedy: bool) -> Updates:  # noqa: FBT001 - called by gradio
        """Grey out what greedy search does not look at."""
        page = self._page
        return {each: gr.update(interactive=not greedy) for each in (page.seed, *page.sliders[1:])}

    def _followed(
        self, session: Session, choice: Choice, question: Question | None, *, chat: bool
    ) -> Iterator[Updates]:
        try:
            turn = self._engine.submit(choice, question)
            session.begin(turn)
        except OvrecipeError as error:
            yield self._problem(error)
            return
        yield self._begun(turn, chat=chat)
        yield from self._until_over(session, turn, chat=chat)

    def _until_over(self, session: Session, turn: Turn, *, chat: bool) -> Iterator[Updates]:
        """Paint until the turn is over; leaving early means that the browser has gone."""
        before = session.history
        try:
            over = False
            while not over:
                turn.wait_for_change(TICK_SECONDS)
                over = turn.over
                if session.turn is not turn:
                    return
                yield self._painted(turn, before, chat=chat)
        finally:
            turn.stop()
        if chat:
            session.remember(turn)
        yield self._ended(turn, session, chat=chat)

    def _begun(self, turn: Turn, *, chat: bool) -> Updates:
        page = self._page
        updates = {**self._problem(None), **self._controls(busy=True)}
        if turn.question is not None:
            updates[page.performance] = figures.performance(None)
            updates |= {page.instruction: ""} if chat else {page.response: ""}
        return updates

    def _painted(self, turn: Turn, before: list[dict[str, str]], *, chat: bool) -> Updates:
        page = self._page
        updates: Updates = {
            page.status: figures.status(turn, ahead=self._engine.ahead_of(turn)),
        }
        if turn.question is None:
            return updates
        messages = [*before, *exchange(turn)] if chat else []
        shown = {page.conversation: _escaped(messages)} if chat else {page.response: turn.text}
        return {**updates, **shown, page.performance: figures.performance(turn, turn.pace())}

    def _ended(self, turn: Turn, session: Session, *, chat: bool) -> Updates:
        page = self._page
        if turn.error is not None and not isinstance(turn.error, OvrecipeError):
            log.error("a turn of the web page failed", exc_info=turn.error)
        updates = {**self._problem(turn.error), **self._controls(busy=False)}
        facts = figures.model_facts(self._catalog, turn.choice, self._engine.notes(turn.choice))
        updates[page.facts] = facts
        if turn.state is State.FAILED and chat and turn.question is not None:
            # The conversation goes on without it, and the instruction can be tried again.
            updates[page.conversation] = _escaped(session.history)
            updates[page.instruction] = turn.question.instruction
        return updates

    def _problem(self, error: BaseException | None) -> Updates:
        shown = gr.update(value=figures.problem(error), visible=error is not None)
        return {self._page.problem: shown}

    def _controls(self, *, busy: bool) -> Updates:
        page = self._page
        idle = gr.update(interactive=not busy)
        choices: tuple[Any, ...] = (page.submit, page.variant, page.device, page.mode)
        return {page.stop: gr.update(interactive=busy), **dict.fromkeys(choices, idle)}


def _escaped(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the messages for gradio's chatbot, which takes plain text for HTML."""
    return [{**each, "content": escape(each["content"], quote=False)} for each in messages]


def wire(page: Page, handlers: Handlers) -> None:
    """Connect the components with the handlers, within the surrounding `gr.Blocks`."""
    answer: list[Any] = [page.status, page.problem, page.performance, page.facts]
    answer += [page.submit, page.stop, page.variant, page.device, page.mode]
    shown = [*answer, page.instruction, page.response, page.conversation]
    # The engine queues, and shows where one stands; gradio shall not queue before it.
    ours: Any = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    at_once: Any = {**ours, "queue": False}
    gr.on(
        [page.submit.click, page.instruction.submit],
        handlers.ask,
        [page.session, page.mode, page.instruction, *page.settings],
        shown,
        **ours,
    )
    gr.on(
        [page.variant.input, page.device.input],
        handlers.switch,
        [page.session, page.variant, page.device],
        answer,
        **ours,
    )
    page.stop.click(handlers.stop, [page.session], None, **at_once)
    # The chatbot has a bin of its own, which must not clear the screen only.
    clears = [page.clear.click, page.conversation.clear]
    gr.on(clears, handlers.clear, [page.session], shown, **at_once)
    boxes = [page.response, page.conversation]
    page.mode.input(handlers.show_mode, [page.mode], boxes, **at_once)
    greyed = [page.seed, *page.sliders[1:]]
    page.greedy.input(handlers.show_greedy, [page.greedy], greyed, **at_once)
