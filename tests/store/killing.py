"""Killing an action at every line of code that writes, and of shutil's, that it runs."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ovrecipe.store

STORE_CODE = Path(ovrecipe.store.__file__).parent


def killed_at_every_line(action: Callable[[], object], code: Path = STORE_CODE) -> Iterator[int]:
    """Run `action` in a child that is killed before its first line, its second line, and so on.

    `code` is the file or folder whose lines count.
    Yields after each death, so that the caller can look at what is left and put it in order;
    ends when a child lived through the whole action.
    """
    line = 0
    while _status_when_killed_at(line, action, str(code)) == -signal.SIGKILL:
        yield line
        line += 1


def _status_when_killed_at(line: int, action: Callable[[], object], code: str) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sys.settrace(_Killer(line, code).trace)
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _writes(frame: Any, code: str) -> bool:
    """Tell whether a frame is of the code in question, or of a library's that writes in steps."""
    file, function = frame.f_code.co_filename, frame.f_code.co_name
    return file.startswith(code) or file == shutil.__file__ or function == "write_text"


class _Killer:
    """Counts the lines of code that writes and kills its own process at one of them."""

    def __init__(self, line: int, code: str) -> None:
        self.left = line
        self._code = code

    def trace(self, frame: Any, event: str, argument: object) -> Any:
        if not _writes(frame, self._code):
            return None
        if event == "line":
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
        return self.trace
