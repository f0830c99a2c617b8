"""Killing an action at every line of the store's code that it runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ovrecipe.store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STORE_CODE = str(Path(ovrecipe.store.__file__).parent)


def killed_at_every_line(action: Callable[[], object]) -> Iterator[int]:
    """Run `action` in a child that is killed before its first line, its second line, and so on.

    Yields after each death, so that the caller can look at what is left and put it in order;
    ends when a child lived through the whole action.
    """
    line = 0
    while _status_when_killed_at(line, action) == -signal.SIGKILL:
        yield line
        line += 1


def _status_when_killed_at(line: int, action: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sys.settrace(_Killer(line).trace)
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class _Killer:
    """Counts the lines of the store's code and kills its own process at one of them."""

    def __init__(self, line: int) -> None:
        self.left = line

    def trace(self, frame: Any, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(STORE_CODE):
            return None
        if event == "line":
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
        return self.trace
