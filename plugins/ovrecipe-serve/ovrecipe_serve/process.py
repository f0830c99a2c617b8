"""An engine's process, seen from the server: started, asked, and started again when it dies."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import psutil

from ovrecipe import errors
from ovrecipe.errors import EngineBusy, EngineFailed, OvrecipeError
from ovrecipe.recipe.tasks import GENERATION, TaskName
from ovrecipe.wording import one_line

if TYPE_CHECKING:
    from ovrecipe.run.openai.requests import Question
    from ovrecipe_serve.metrics import Metrics

#: The longest line that an engine says: what one step brought all requests.
LONGEST_LINE = 2**26
#: An engine that dies this often within so many seconds is not started again until it is asked.
MOST_RESTARTS, RESTART_SECONDS = 5, 300.0
#: What is heard of a request that takes too long.
TIMED_OUT: Mapping[str, Any] = {}
#: How long an engine may take to end by itself, in seconds.
GRACE = 5.0


@dataclass(frozen=True)
class Job:
    """What an engine's process is told."""

    target: str
    device: str
    plugin_options: Sequence[str] = ()
    cache_gb: int = 1
    most_at_once: int = 256
    most_waiting: int = 256
    #: What requests call it; the target unless given.
    name: str = ""
    task: TaskName = GENERATION
    #: The LoRA adapter of all answers; "" is none.
    adapter: str = ""
    #: Whether it waits to be asked before it is loaded.
    lazy: bool = False

    @property
    def model(self) -> str:
        """What requests call it."""
        return self.name or self.target


class Asking:
    """One request on an engine: iterate over what comes; leaving it in any way ends it."""

    def __init__(self, process: EngineProcess, number: int) -> None:
        self._process, self.number = process, number
        self.heard: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.begins_inside: Sequence[bool] = ()
        self._early: deque[Mapping[str, Any]] = deque()

    async def accepted(self) -> None:
        """Wait until the engine has taken it; a quick one may have begun to answer before.

        Raises:
            OvrecipeError: the engine refused it, or failed.
        """
        while (event := await self._next()).get("event") != "accepted":
            self._early.append(event)
        self.begins_inside = event.get("begins_inside", ())

    def end_after(self, seconds: float) -> asyncio.TimerHandle:
        """Let `delta` raise TimeoutError when so much time is over, unless the timer is cancelled.

        A limit around each wait for a delta would cost as much as passing it on.
        """
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, self.heard.put_nowait, TIMED_OUT)

    async def delta(self) -> Mapping[str, Any]:
        """Return what comes next of a choice; the last of a choice has a `result`.

        Raises:
            OvrecipeError: the engine failed.
            TimeoutError: it took longer than `end_after`.
        """
        return self._early.popleft() if self._early else await self._next()

    async def result(self) -> Mapping[str, Any]:
        """Return what is answered at once.

        Raises:
            OvrecipeError: the engine refused it, or failed.
        """
        return await self._next()

    async def _next(self) -> Mapping[str, Any]:
        event = await self.heard.get()
        if event is TIMED_OUT:
            raise TimeoutError
        _check(event)
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.leave(self.number)


def _check(event: Mapping[str, Any]) -> None:
    told = event.get("error")
    if told is not None:
        kind = getattr(errors, told["kind"], OvrecipeError)
        raise kind(told["message"], remedy=told["remedy"])


class EngineProcess:
    """The process of one model."""

    def __init__(
        self,
        job: Job,
        *,
        env: Mapping[str, str],
        announce: Callable[[str], None],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job, self._env, self._announce, self._clock = job, env, announce, clock
        self._metrics = metrics
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Mapping[str, Any]] | None = None
        self._numbers = count(1)
        self._asking: dict[int, Asking] = {}
        self._wanted = 0
        self._deaths: deque[float] = deque(maxlen=MOST_RESTARTS)
        self.used = clock()
        #: What the engine said of itself when it was ready: device, context_length, cache_tokens.
        self.facts: Mapping[str, Any] = {}
        #: What its process took when it was loaded last; 0 before that.
        self.loaded_bytes = 0

    @property
    def state(self) -> str:
        """Return `unloaded`, `loading` or `ready`."""
        if self._ready is None:
            return "unloaded"
        failed = self._ready.done() and (self._ready.cancelled() or self._ready.exception())
        return "unloaded" if failed else "ready" if self._ready.done() else "loading"

    @property
    def busy(self) -> bool:
        """Whether anybody waits for an answer, or is about to ask."""
        return bool(self._asking or self._wanted)

    @property
    def answering(self) -> bool:
        """Whether anybody waits for an answer."""
        return bool(self._asking)

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Keep the model in memory until the block ends, by when it should have been asked."""
        self._wanted += 1
        try:
            yield
        finally:
            self._wanted -= 1

    @property
    def resident_bytes(self) -> int:
        """How much memory the process has at the moment."""
        if self._process is None:
            return 0
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0  # it has ended by now

    async def load(self) -> None:
        """Start the process unless it runs, and wait until the model is loaded.

        Raises:
            OvrecipeError: it cannot be loaded.
        """
        if self.state == "unloaded":
            self._start()
        assert self._ready is not None, "it was started"
        # Who leaves meanwhile must not keep others from it.
        self.facts = await asyncio.shield(self._ready)
        self.used = self._clock()
        self.loaded_bytes = self.resident_bytes

    def ask(self, question: Question) -> Asking:
        """Ask for what a request means."""
        # Prompts may be long, and each is asked as often as it has choices.
        prompts = list({id(prompt): prompt for prompt, _ in question.asks}.values())
        places = {id(prompt): place for place, prompt in enumerate(prompts)}
        return self._order(
            "ask",
            prompts=prompts,
            asks=[[places[id(prompt)], dict(generation)] for prompt, generation in question.asks],
            logprobs=question.logprobs,
        )

    def tokenize(self, prompt: Any) -> Asking:
        """Ask for the tokens of a text or a conversation."""
        return self._order("tokenize", prompt=prompt)

    def detokenize(self, tokens: Sequence[int]) -> Asking:
        """Ask for the text of tokens."""
        return self._order("detokenize", tokens=list(tokens))

    def embed(self, texts: Sequence[str | Sequence[int]], *, query: bool) -> Asking:
        """Ask for the vectors of texts, of which some are given as tokens.

        Raises:
            EngineBusy: too many wait already.
        """
        self._check_queue()
        return self._order("embed", texts=list(texts), query=query)

    def rerank(self, query: str, texts: Sequence[str]) -> Asking:
        """Ask for the order of texts.

        Raises:
            EngineBusy: too many wait already.
        """
        self._check_queue()
        return self._order("rerank", query=query, texts=list(texts))

    def _check_queue(self) -> None:
        """An engine counts by itself who waits; what answers one after the other does not."""
        if len(self._asking) > self.job.most_waiting:
            raise EngineBusy(
                f"{self.job.most_waiting} requests wait already", remedy="ask again later"
            )

    def leave(self, number: int) -> None:
        """Forget a request; the engine is told where it has not ended."""
        self._asking.pop(number, None)
        self.used = self._clock()
        self._write({"op": "cancel", "id": number})

    async def unload(self) -> None:
        """End the process; it is loaded again when it is asked."""
        process, reader = self._process, self._reader
        self._process = self._reader = self._ready = None
        gone = EngineFailed(f"{self.job.model} was let go of", remedy="ask again")
        self._tell_all(gone)
        if reader is None:
            return
        if process is not None:  # or it is starting, and ends when it has
            assert process.stdin is not None, "it is a pipe"
            process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(reader), GRACE)
        except TimeoutError:
            if process is not None:
                process.kill()
            await reader

    def _tell_all(self, failure: OvrecipeError) -> None:
        for asking in self._asking.values():
            asking.heard.put_nowait({"error": _told(failure)})
        self._metrics.loaded(self.job.model, 0, 0, 0.0)

    def _order(self, op: str, **order: Any) -> Asking:
        asking = Asking(self, next(self._numbers))
        self._asking[asking.number] = asking
        if self.state != "ready":
            failed = EngineFailed("the model is not loaded", remedy="ask again in a few seconds")
            asking.heard.put_nowait({"error": _told(failed)})
        else:
            self._write({"op": op, "id": asking.number, **order})
        return asking

    def _write(self, order: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        # A process that died meanwhile is heard of by its reader.
        with suppress(OSError):
            process.stdin.write(json.dumps(order).encode() + b"\n")

    def _start(self) -> None:
        self._ready = asyncio.get_running_loop().create_future()
        # Nobody may be waiting for it by the time it fails.
        self._ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._reader = asyncio.create_task(self._run(self._ready))

    async def _run(self, ready: asyncio.Future[Mapping[str, Any]]) -> None:
        """Start the process and hear what it says until it ends."""
        command = (sys.executable, "-m", "ovrecipe_serve.worker", json.dumps(asdict(self.job)))
        process: asyncio.subprocess.Process | None = None
        failure: OvrecipeError | None = None
        code = 1
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(self._env),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                # Ctrl-C is the server's to handle.
                start_new_session=os.name == "posix",
            )
            if self._ready is ready:
                self._process = process
            else:
                process.kill()  # the model was let go of meanwhile
            assert process.stdout is not None, "it is a pipe"
            async for line in process.stdout:
                with suppress(ValueError):  # half a line of one that was killed
                    failure = self._hear(json.loads(line), ready) or failure
        except (OSError, ValueError) as error:  # it cannot be started; a line is too long
            what = f"{self.job.model}: the engine's process cannot be heard: {one_line(error)}"
            failure = EngineFailed(what, remedy="ask again in a few seconds")
            if process is not None:
                with suppress(ProcessLookupError):
                    process.kill()
        if process is not None:
            code = await process.wait()
        self._ended(ready, failure, code)

    def _hear(
        self, event: Mapping[str, Any], ready: asyncio.Future[Mapping[str, Any]]
    ) -> OvrecipeError | None:
        match event["event"]:
            case "ready":
                ready.set_result(event)
            case "announce":
                self._announce(event["message"])
            case "step":
                self._metrics.loaded(self.job.model, *event["load"])
                for delta in event["deltas"]:
                    self._pass_on(delta)
            case "accepted" | "result":
                self._pass_on(event)
            case "refused":
                self._pass_on({"id": event["id"], "error": event})
            case _:
                return _failure(event)
        return None

    def _pass_on(self, event: Mapping[str, Any]) -> None:
        asking = self._asking.get(event["id"])
        if asking is not None:  # or who asked has left
            asking.heard.put_nowait(event)

    def _ended(
        self, ready: asyncio.Future[Mapping[str, Any]], failure: OvrecipeError | None, code: int
    ) -> None:
        """Tell all who wait, and start it again unless it never was ready or was let go of."""
        was_ready = ready.done()
        if failure is None:
            failure = EngineFailed(
                f"{self.job.model}: the engine's process ended with exit code {code}",
                remedy="-9 mostly means that memory ran out",
            )
        if not was_ready:
            ready.set_exception(failure)
        if self._ready is not ready:
            return
        self._tell_all(failure)
        self._process = self._reader = self._ready = None
        if was_ready:
            self._announce(f"{failure.message}; it is started again")
            self._metrics.restarts.labels(self.job.model).inc()
            self._deaths.append(self._clock())
            often = len(self._deaths) == MOST_RESTARTS
            if not often or self._clock() - self._deaths[0] > RESTART_SECONDS:
                self._start()


def _failure(event: Mapping[str, Any]) -> OvrecipeError:
    """Return why an engine says that it ends."""
    kind: type[OvrecipeError] = getattr(errors, event.get("kind", ""), EngineFailed)
    return kind(event["message"], remedy=event.get("remedy", "ask again in a few seconds"))


def _told(error: OvrecipeError) -> Mapping[str, Any]:
    return {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}
