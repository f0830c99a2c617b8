"""What a click does: from the values of the components to a turn, and from a turn to updates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import gradio as gr

from ovrecipe.errors import OvrecipeError, PromptRefused
from ovrecipe_gradio import figures
from ovrecipe_gradio.session import CHAT, Exchange, Memory, Session
from ovrecipe_gradio.settings import generation_of
from ovrecipe_gradio.turn import Choice, Question, State, Turn

if TYPE_CHECKING:
    from ovrecipe_gradio.catalog import Catalog
    from ovrecipe_gradio.engine import Engine
    from ovrecipe_gradio.page import Page

Updates: TypeAlias = dict[Any, Any]

#: How often a running answer is painted; a reader sees a flow, and the model keeps its cores.
TICK_SECONDS = 0.1
LOADING, NOT_LOADED = "(loading \u2026)", "(not loaded; the next question loads it)"

log = logging.getLogger(__name__)


class Handlers:
    """The handlers of one page; what belongs to a browser is in its `Session` and `Memory`."""

    def __init__(self, page: Page, engine: Engine, catalog: Catalog) -> None:
        self._page = page
        self._engine = engine
        self._catalog = catalog

    async def restore(self, kept: Any) -> Updates:
        """Show what the browser remembers, as far as it can still be chosen."""
        page, memory = self._page, Memory.of(kept)
        choice = Choice(
            memory.variant if memory.variant in self._catalog.variants else page.variant.value,
            memory.device if memory.device in self._catalog.devices else page.device.value,
        )
        return {
            **self._controls(memory, busy=False),
            **_shown(page, memory.turns()),
            page.mode: gr.update(value=memory.mode, interactive=True),
            page.variant: gr.update(value=choice.variant, interactive=True),
            page.device: gr.update(value=choice.device, interactive=True),
            page.facts: self._facts(choice),
            page.instruction: memory.draft,
        }

    def ask(
        self, session: Session, kept: Any, mode: Any, instruction: str, *settings: Any
    ) -> Iterator[Updates]:
        """Ask the model and show its answer as it comes."""
        memory = Memory.of(kept).changed(mode=mode, draft=instruction)
        before = memory.turns() if mode == CHAT else ()
        yield from self._asked(session, memory, before, instruction, *settings)

    def regenerate(
        self, session: Session, kept: Any, mode: Any, *settings: Any
    ) -> Iterator[Updates]:
        """Ask the last instruction again; the new answer takes the place of the old one."""
        memory = Memory.of(kept).changed(mode=mode, draft="")
        *before, last = memory.turns()
        yield from self._asked(session, memory, before, last.instruction, *settings)

    def switch(self, session: Session, kept: Any, variant: str, device: str) -> Iterator[Updates]:
        """Load what was chosen, in the order in which all pages asked."""
        yield from self._followed(session, Memory.of(kept), (), Choice(variant, device), None)

    async def stop(self, session: Session) -> None:
        """Stop the answer of this browser; who follows it shows that it ended.

        A coroutine, for it has to run while threads of gradio's follow answers.
        """
        session.stop()

    async def clear(self, session: Session, kept: Any) -> Updates:
        """Stop and forget; settings stay.

        While an answer comes, who follows it shows that: its next text could come after this.
        """
        followed = session.clear()
        page = self._page
        if followed:
            return {page.stop: gr.update(interactive=False)}
        return self._cleared(Memory.of(kept))

    async def show_mode(self, kept: Any, mode: Any) -> Updates:
        """Show the last answer alone, or the conversation."""
        page, memory = self._page, Memory.of(kept).changed(mode=mode)
        again = gr.update(interactive=bool(memory.turns()))
        return {
            page.memory: memory.model_dump(),
            page.regenerate: again,
            **_shown(page, memory.turns()),
        }

    async def show_greedy(self, greedy: bool) -> Updates:  # noqa: FBT001 - called by gradio
        """Grey out what greedy search does not look at."""
        page = self._page
        return {
            control: gr.update(interactive=not greedy) for control in (page.seed, *page.sliders[1:])
        }

    def _asked(
        self,
        session: Session,
        memory: Memory,
        before: Sequence[Exchange],
        instruction: str,
        variant: str,
        device: str,
        system: str,
        greedy: bool,  # noqa: FBT001 - gradio calls handlers by position
        seed: str,
        *sliders: float,
    ) -> Iterator[Updates]:
        try:
            if not instruction.strip():
                # The runner says so too, but a model would be loaded for it.
                raise PromptRefused("the prompt is empty", remedy="ask something")
            generation = generation_of(*sliders, greedy=greedy, seed=seed)
        except OvrecipeError as error:
            yield self._problem(error)
            return
        question = Question(
            instruction,
            system=system or None,
            history=[message for exchange in before for message in exchange.messages()],
            generation={**self._catalog.uncontrolled, **generation},
        )
        yield from self._followed(session, memory, before, Choice(variant, device), question)

    def _followed(
        self,
        session: Session,
        memory: Memory,
        before: Sequence[Exchange],
        choice: Choice,
        question: Question | None,
    ) -> Iterator[Updates]:
        """Paint a turn until it is over; leaving early means that the browser has gone.

        The end is one update: who sees that it is done can go on, and can reload the page.
        """
        page = self._page
        try:
            turn = self._engine.submit(choice, question)
            session.begin(turn)
        except OvrecipeError as error:
            yield self._problem(error)
            return
        memory = memory.changed(variant=choice.variant, device=choice.device)
        yield self._begun(turn, memory, before)
        try:
            while session.turn is turn:
                painted = self._painted(turn)
                if turn.over:
                    break
                yield painted
                turn.wait_for_change(TICK_SECONDS)
        finally:
            turn.stop()
        if session.turn is turn:
            session.turn = None
            yield {**self._painted(turn), **self._ended(turn, memory, before)}
        else:
            yield {**self._cleared(memory), page.facts: self._facts(choice)}

    def _begun(self, turn: Turn, memory: Memory, before: Sequence[Exchange]) -> Updates:
        page = self._page
        updates = {**self._problem(None), **self._controls(memory, busy=True)}
        updates[page.memory] = memory.model_dump()
        if turn.question is not None:
            updates[page.history] = figures.conversation(before)
            if memory.mode == CHAT and memory.draft:
                updates[page.instruction] = ""
        return updates

    def _painted(self, turn: Turn) -> Updates:
        page = self._page
        updates: Updates = {
            page.status: figures.status(turn, ahead=self._engine.ahead_of(turn)),
            page.facts: self._facts(turn.choice, loading=turn.state is State.LOADING),
        }
        if turn.question is not None:
            updates[page.exchange] = figures.conversation([figures.exchange(turn)])
        return updates

    def _ended(self, turn: Turn, memory: Memory, before: Sequence[Exchange]) -> Updates:
        page = self._page
        if turn.error is not None and not isinstance(turn.error, OvrecipeError):
            log.error("a turn of the web page failed", exc_info=turn.error)
        updates = self._problem(turn.error)
        if turn.question is not None and _is_kept(turn, chat=memory.mode == CHAT):
            memory = memory.with_turns((*before, figures.exchange(turn)))
        elif turn.question is not None:
            # The conversation goes on without it, and the instruction can be tried again.
            updates |= _shown(page, memory.turns())
            if memory.draft:
                updates[page.instruction] = memory.draft
        return {**updates, page.memory: memory.model_dump(), **self._controls(memory, busy=False)}

    def _cleared(self, memory: Memory) -> Updates:
        page = self._page
        memory = memory.changed(single=(), chat=(), draft="")
        return {
            page.memory: memory.model_dump(),
            page.instruction: "",
            page.status: figures.status_line("idle", figures.IDLE),
            **_shown(page, ()),
            **self._problem(None),
            **self._controls(memory, busy=False),
        }

    def _facts(self, choice: Choice, *, loading: bool = False) -> str:
        loaded = "" if choice == self._engine.choice else LOADING if loading else NOT_LOADED
        notes = self._engine.notes(choice)
        return figures.model_facts(self._catalog, choice, notes, loaded=loaded)

    def _problem(self, error: BaseException | None) -> Updates:
        shown = gr.update(value=figures.problem(error), visible=error is not None)
        return {self._page.problem: shown}

    def _controls(self, memory: Memory, *, busy: bool) -> Updates:
        page = self._page
        idle = gr.update(interactive=not busy)
        choices: tuple[Any, ...] = (page.submit, page.variant, page.device, page.mode)
        return {
            page.stop: gr.update(interactive=busy),
            page.regenerate: gr.update(interactive=not busy and bool(memory.turns())),
            **dict.fromkeys(choices, idle),
        }


def _shown(page: Page, turns: Sequence[Exchange]) -> Updates:
    return {
        page.history: figures.conversation(turns[:-1]),
        page.exchange: figures.conversation(turns[-1:]),
    }


def _is_kept(turn: Turn, *, chat: bool) -> bool:
    """Return whether an answer stays: in a chat a turn that failed leaves no trace."""
    if turn.state is State.FAILED and chat:
        return False
    return bool(turn.text) or turn.state is State.DONE


def wire(blocks: gr.Blocks, page: Page, handlers: Handlers) -> None:
    """Connect the components with the handlers, within the surrounding `gr.Blocks`."""
    answer: list[Any] = [page.memory, page.status, page.problem, page.facts]
    answer += [page.submit, page.stop, page.regenerate, page.variant, page.device, page.mode]
    conversation = [page.history, page.exchange]
    shown = [*answer, *conversation, page.instruction]
    # The engine queues, and shows where one stands; gradio shall not queue before it.
    ours: Any = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    at_once: Any = {**ours, "queue": False}
    browser = [page.session, page.memory]
    blocks.load(handlers.restore, [page.memory], shown, **at_once)
    gr.on(
        [page.submit.click, page.instruction.submit],
        handlers.ask,
        [*browser, page.mode, page.instruction, *page.settings],
        shown,
        **ours,
    )
    page.regenerate.click(handlers.regenerate, [*browser, page.mode, *page.settings], shown, **ours)
    gr.on(
        [page.variant.input, page.device.input],
        handlers.switch,
        [*browser, page.variant, page.device],
        answer,
        **ours,
    )
    page.stop.click(handlers.stop, [page.session], None, **at_once)
    page.clear.click(handlers.clear, browser, shown, **at_once)
    modes = [page.memory, page.regenerate, *conversation]
    page.mode.input(handlers.show_mode, [page.memory, page.mode], modes, **at_once)
    greyed = [page.seed, *page.sliders[1:]]
    page.greedy.input(handlers.show_greedy, [page.greedy], greyed, **at_once)
