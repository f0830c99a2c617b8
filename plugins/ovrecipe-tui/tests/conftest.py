"""A chat on a screen without a terminal, driven by keys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from ovrecipe_tui.app import ChatApp
from ovrecipe_tui.messages import Answer, Failure, Notice, Question
from ovrecipe_tui.prompt_input import PromptInput
from textual.pilot import Pilot
from textual.widgets import Label

from ovrecipe import Chat

#: How long a screen may take to show what it should.
PATIENCE_SECONDS = 20


class User:
    """Who sits before the screen."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot

    @property
    def app(self) -> ChatApp:
        assert isinstance(self.pilot.app, ChatApp)
        return self.pilot.app

    async def asks(self, text: str) -> None:
        """Type a text letter by letter and send it."""
        await self.pilot.press(*("space" if letter == " " else letter for letter in text), "enter")

    async def sees(self, what: Callable[[], bool]) -> None:
        """Wait until the screen shows it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not what():
                await self.pilot.pause(0.01)

    async def sees_state(self, text: str) -> None:
        """Wait for the right end of the first line."""
        await self.sees(lambda: text in str(self._screen.query_one("#state", Label).content))

    async def sees_figures(self, text: str, number: int = -1) -> None:
        """Wait for the line below an answer."""
        await self.sees(lambda: text in self._figures(number))

    async def is_told(self, text: str) -> None:
        """Wait for a notification."""
        await self.sees(lambda: any(text in note.message for note in self.app._notifications))

    @property
    def answers(self) -> list[str]:
        return [answer.text for answer in self._screen.query(Answer)]

    @property
    def questions(self) -> list[str]:
        return [str(question.content) for question in self._screen.query(Question)]

    @property
    def notices(self) -> list[str]:
        return [str(notice.content) for notice in self._screen.query(Notice)]

    @property
    def failures(self) -> list[BaseException]:
        return [failure.error for failure in self._screen.query(Failure)]

    @property
    def written(self) -> str:
        return self._screen.query_one(PromptInput).text

    @property
    def model(self) -> str:
        return str(self._screen.query_one("#model", Label).content)

    @property
    def screen_text(self) -> str:
        """All that can be read on the screen, line by line."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(line.text.rstrip() for line in lines)

    @property
    def _screen(self):
        return self.app.chat_screen

    def _figures(self, number: int) -> str:
        answers = list(self._screen.query(Answer))
        return str(answers[number].query_one(".figures").content) if answers else ""


Steps = Callable[[User], Awaitable[None]]


@pytest.fixture
def at_the_screen(tmp_path: Path) -> Callable[..., None]:
    """Let a user take some steps in a conversation; the model is closed behind them."""

    def run(chat: Chat, steps: Steps, *, size: tuple[int, int] = (80, 24)) -> None:
        async def main() -> None:
            async with ChatApp(chat, tmp_path).run_test(size=size) as pilot:
                await pilot.pause()
                await steps(User(pilot))

        asyncio.run(main())
        chat.close()

    return run


@pytest.fixture
def gate() -> threading.Semaphore:
    """What holds back the pieces of a fake model until a test lets them come."""
    return threading.Semaphore(0)
