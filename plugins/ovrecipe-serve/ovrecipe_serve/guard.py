"""Who may ask, and how much: keys, hosts, sizes, and how long a body may take."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from ovrecipe.errors import RequestRefused
from ovrecipe.run.openai.answers import error_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

#: What needs no key: whether the server lives, and the page, which asks for one.
OPEN = ("/", "/health", "/ready")
#: Names of this machine; a page of elsewhere that calls itself by another one is turned away.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """What a server takes."""

    keys: Collection[str] = ()
    #: Names by which the server may be called; none means any.
    hosts: Sequence[str] = ()
    most_bytes: int = 4_000_000
    #: How long an answer may take, in seconds.
    seconds: float = 600.0
    #: A body that does not come for so long never does.
    body_seconds: float = 30.0


class Guard:
    """ASGI middleware that turns away who has no key, or calls the server by a strange name."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer with what is wrong with it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = (
            headers.get("host", "").rpartition("]")[0].lstrip("[")
            or headers.get("host", "").partition(":")[0]
        )
        if self._limits.hosts and host not in self._limits.hosts:
            message = "the server is not called so; --host NAME lets it answer to a name"
            return JSONResponse(error_body(message, "invalid_request_error"), 421)
        if scope["path"] in OPEN or not self._limits.keys or self._known(headers):
            return None
        body = error_body(
            "Incorrect API key provided", "invalid_request_error", code="invalid_api_key"
        )
        return JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})

    def _known(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        # All are compared, so that the time says nothing.
        same = [hmac.compare_digest(given.encode(), known.encode()) for known in self._limits.keys]
        return any(same)


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body of a request.

    Raises:
        RequestRefused: it is no JSON by its own word, too large, or does not come.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page of another site may send anything else without being asked first.
        raise BodyRefused(415, "the Content-Type must be application/json")
    most_bytes, seconds = limits.most_bytes, limits.body_seconds
    too_large = BodyRefused(413, f"the body has more than {most_bytes} bytes")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > most_bytes:
                    raise too_large
    except TimeoutError as exc:
        raise BodyRefused(408, f"the body did not come within {seconds:g} s") from exc
    return b"".join(parts)


class BodyRefused(RequestRefused):
    """A body that is not read; with the status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
