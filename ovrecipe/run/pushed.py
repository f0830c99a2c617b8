"""Output filters for text that comes of its own accord, in place of being asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrecipe.run.chain import FilterChain


class PushedChain:
    """Fresh filters of a chain: `feed` takes the next piece and returns what is shown by now.

    Filters ask for pieces, so they run on a thread of their own and wait there; no more than one of
    the two ever runs. Without filters there is no thread.
    """

    def __init__(self, chain: FilterChain) -> None:
        self._chain = chain
        self._pieces: SimpleQueue[str | None] = SimpleQueue()
        self._shown: SimpleQueue[str | BaseException | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._over = False

    def feed(self, text: str) -> str:
        """Return what the filters show of the text so far, and did not before.

        Raises:
            PluginError: a filter broke its contract.
        """
        if not self._chain.filters or not text:
            return text
        before = ""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="ovrecipe-filters")
            self._thread.start()
            before = self._collected()
        return before + self._passed(text)

    def finish(self) -> str:
        """Return what was held back.

        Raises:
            PluginError: a filter broke its contract.
        """
        if not self._chain.filters:
            return ""
        if self._thread is None:
            return "".join(self._chain.over([]))
        return self._passed(None)

    def close(self) -> None:
        """Let the thread end, of a text that nobody wants any more."""
        self._pieces.put(None)

    def _passed(self, piece: str | None) -> str:
        if self._over:
            return ""
        self._pieces.put(piece)
        return self._collected()

    def _collected(self) -> str:
        """Return what is shown until the filters want the next piece, or end."""
        texts: list[str] = []
        while (shown := self._shown.get()) is not None:
            if isinstance(shown, BaseException):
                self._over = True
                raise shown
            texts.append(shown)
        return "".join(texts)

    def _run(self) -> None:
        def pieces() -> Iterator[str]:
            while True:
                self._shown.put(None)
                piece = self._pieces.get()
                if piece is None:
                    return
                yield piece

        try:
            for shown in self._chain.over(pieces()):
                self._shown.put(shown)
            self._over = True
            self._shown.put(None)
        except BaseException as exc:  # noqa: BLE001 - raised again where the text came from
            self._shown.put(exc)
