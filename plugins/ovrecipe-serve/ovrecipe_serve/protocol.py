"""The sockets: uvicorn with what it leaves open, slow clients and an orderly end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    import socket

    from starlette.applications import Starlette

#: Connections that do not say what they want for so long are closed.
HEADER_SECONDS = 15.0
#: More at once are answered with 503.
MOST_CONNECTIONS = 2048


class ImpatientProtocol(H11Protocol):
    """HTTP for clients that come to the point: each request must begin in time."""

    header_seconds = HEADER_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._waiting = self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._waiting.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._waiting.cancel()
        if not self.transport.is_closing():
            self._waiting = self._wait()

    def _wait(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self.header_seconds, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if not self.cycle or self.cycle.response_complete:
            self.transport.close()


class HttpServer(uvicorn.Server):
    """Serves until it is told to end: then it takes nothing new and answers what it has taken."""

    def __init__(self, config: uvicorn.Config, app: Starlette, on_started: Callable[[], None]):
        super().__init__(config)
        self._app, self._on_started = app, on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, then listen."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to end; Ctrl-C a second time ends at once."""
        self._app.state.server.draining = True
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def http_server(
    app: Starlette,
    *,
    host: str,
    port: int,
    drain_seconds: float,
    on_started: Callable[[], None],
    header_seconds: float = HEADER_SECONDS,
) -> HttpServer:
    """Return a server of an application, which binds when it is run."""
    options: dict[str, Any] = {
        "http": type("Protocol", (ImpatientProtocol,), {"header_seconds": header_seconds}),
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "limit_concurrency": MOST_CONNECTIONS,
        "timeout_graceful_shutdown": int(drain_seconds),
    }
    return HttpServer(uvicorn.Config(app, host=host, port=port, **options), app, on_started)
