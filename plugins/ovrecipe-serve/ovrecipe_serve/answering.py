"""One answer over HTTP: whole or streamed; its place is free when the client leaves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import JSONResponse, Response, StreamingResponse

from ovrecipe.errors import OvrecipeError
from ovrecipe.run.openai.answers import Piece, Writer, error_body, told

if TYPE_CHECKING:
    from starlette.requests import Request

    from ovrecipe.run.openai.requests import Question
    from ovrecipe_serve.metrics import Metrics
    from ovrecipe_serve.process import Asking, EngineProcess

T = TypeVar("T")
#: What a client that has left would have been told; it is only counted.
LEFT = 499
DONE = b"data: [DONE]\n\n"


class ClientLeft(Exception):
    """Nobody reads the answer any more."""


class Answering:
    """One request, from what it means to what is sent."""

    def __init__(
        self,
        question: Question,
        engine: EngineProcess,
        *,
        chat: bool,
        metrics: Metrics,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._question, self._engine, self._chat = question, engine, chat
        self._metrics, self._clock = metrics, clock
        self._model = engine.job.model
        self._began = clock()
        self._deadline = self._began + seconds
        self._first: float | None = None
        self._tokens = 0
        self._results: list[Mapping[str, Any]] = []

    async def respond(self, request: Request) -> Response:
        """Return the answer, or the beginning of its stream.

        Raises:
            OvrecipeError: the engine refused it, or failed.
            ClientLeft: nobody waits any more.
            TimeoutError: it took too long.
        """
        with ExitStack() as stack:
            asking = stack.enter_context(self._engine.ask(self._question))
            stack.push(self._count_leaving)
            async with asyncio.timeout(self._left()):
                await unless_left(request, asking.accepted())
                writer = Writer(
                    self._question,
                    self._model,
                    chat=self._chat,
                    begins_inside=asking.begins_inside,
                )
                if not self._question.stream:
                    await unless_left(request, self._take_all(asking, writer))
                    return JSONResponse(writer.whole())
            # From here on the stream is who ends it.
            stream = self._stream(asking, writer, stack.pop_all())
            return StreamingResponse(
                stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
            )

    def _count_leaving(self, kind: type[BaseException] | None, *_: object) -> None:
        gone = (ClientLeft, asyncio.CancelledError, GeneratorExit)
        if kind is not None and issubclass(kind, gone):
            self._metrics.cancelled.labels(self._model).inc()

    def _left(self) -> float:
        return max(self._deadline - self._clock(), 0.0)

    async def _take_all(self, asking: Asking, writer: Writer) -> None:
        while self._growing:
            writer.take(*self._piece(await asking.delta()))

    async def _stream(
        self, asking: Asking, writer: Writer, stack: ExitStack
    ) -> AsyncIterator[bytes]:
        """Yield the events; what goes wrong by now can only be told as one of them."""
        with stack:
            # Only waiting takes too long: around a `yield` a limit would end whoever reads.
            stack.callback(asking.end_after(self._left()).cancel)
            try:
                yield _sent(writer.opening())
                while self._growing:
                    if events := _sent(writer.chunks(*self._piece(await asking.delta()))):
                        yield events
                yield _sent(writer.closing()) + DONE
            except OvrecipeError as error:
                yield _sent([told(error)[1]])
            except TimeoutError:
                yield _sent([error_body("the answer took too long", "timeout", code="timeout")])

    def _piece(self, delta: Mapping[str, Any]) -> tuple[int, Piece]:
        """Return the choice of which a delta is, and what came of it; counts it."""
        if self._first is None:
            self._first = self._clock()
            self._metrics.first_token.labels(self._model).observe(self._first - self._began)
        self._tokens += delta["tokens"]
        pairs = [(text, value) for text, value in delta.get("logprobs", ())]
        result = delta.get("result")
        if result is None:
            return delta["index"], Piece(delta["text"], pairs)
        self._results.append(result)
        if not self._growing:
            self._count(self._results)
        counts = result["prompt_tokens"], result["generated_tokens"] or 0
        return delta["index"], Piece(delta["text"], pairs, result["finish_reason"], *counts)

    @property
    def _growing(self) -> bool:
        """Whether a choice has not ended."""
        return len(self._results) < len(self._question.asks)

    def _count(self, results: list[Mapping[str, Any]]) -> None:
        now, metrics, model = self._clock(), self._metrics, self._model
        metrics.duration.labels(model).observe(now - self._began)
        read = sum(result["prompt_tokens"] for result in results[:: self._question.n])
        metrics.prompt_tokens.labels(model).inc(read)
        metrics.generated_tokens.labels(model).inc(self._tokens)
        if self._first is not None and self._tokens > len(results):
            behind_first = self._tokens - len(results)
            metrics.per_token.labels(model).observe((now - self._first) / behind_first)


def _sent(events: Iterator[Mapping[str, Any]] | list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


async def unless_left(request: Request, work: Awaitable[T]) -> T:
    """Return what the work gives.

    Raises:
        ClientLeft: the client closed the connection first; the work was cancelled.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_leaves(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _leaves(request: Request) -> None:
    """Return when the client closes the connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
