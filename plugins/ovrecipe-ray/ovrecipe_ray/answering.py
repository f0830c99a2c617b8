"""The actor on a node: one engine, which is asked and says what has ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError
from ovrecipe.run.engine import Delta, Engine, Request
from ovrecipe.wording import one_line
from ovrecipe_ray.shipment import Shipment, arrived

if TYPE_CHECKING:
    from ovrecipe.run.batching import Room

#: How long `take` waits for something to end, in seconds.
PATIENCE = 0.5


@dataclass(frozen=True)
class Opening:
    """What an engine is opened with."""

    shipment: Shipment
    device: str
    generation: Mapping[str, Any]
    adapter: str | None
    room: Room
    plugin_options: tuple[str, ...]
    #: How many processors the node has given it.
    processors: int


@dataclass(frozen=True)
class Opened:
    """How opening went: what was said meanwhile, and why there is no engine."""

    said: tuple[str, ...] = ()
    error: OvrecipeError | None = None


@dataclass(frozen=True)
class Ask:
    """One prompt."""

    number: int
    prompt: Any
    logprobs: bool
    generation: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """One answer; `begun` is whether the model had it when it ended."""

    number: int
    delta: Delta
    begun: bool


@dataclass(frozen=True)
class Taken:
    """What has ended, and what the engine has to do still."""

    ended: tuple[Ended, ...]
    running: int
    waiting: int
    failed: bool


class Answerer:
    """One engine of a pool; two calls at once: who asks, and who takes."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine
        self._ended: SimpleQueue[Ended] = SimpleQueue()
        self._asked: dict[int, Request] = {}

    def open(self, opening: Opening) -> Opened:
        """Get the model, check and load it."""
        from ovrecipe.hooks.plugins import load_plugins
        from ovrecipe.libraries import prepare_libraries
        from ovrecipe.run.load import load_engine

        prepare_libraries(sys.modules, os.environ)
        said: list[str] = []
        env = dict(os.environ)
        try:
            self._engine = load_engine(
                arrived(opening.shipment, env),
                opening.device,
                plugins=load_plugins(env=env, options=opening.plugin_options),
                announce=said.append,
                generation=opening.generation,
                adapter=opening.adapter,
                room=opening.room,
                most_waiting=sys.maxsize,
                **threads(opening.device, opening.processors),
            )
        except OvrecipeError as error:
            return Opened(tuple(said), error)
        return Opened(tuple(said))

    def ask(self, asks: Sequence[Ask]) -> None:
        """Ask for answers, which `take` returns; also why one was refused."""
        assert self._engine is not None, "it was opened"
        for ask in asks:
            heard = _Heard(ask.number, self)
            try:
                heard.request = self._engine.submit(
                    ask.prompt, heard.deliver, logprobs=ask.logprobs, **ask.generation
                )
            except OvrecipeError as error:
                self._ended.put(Ended(ask.number, Delta(error=error), begun=False))
            except Exception as error:  # noqa: BLE001 - a defect of ours; its line is told
                broke = OvrecipeError(f"a defect: {one_line(error)}")
                self._ended.put(Ended(ask.number, Delta(error=broke), begun=False))

    def take(self) -> Taken:
        """Return what has ended since, after a while also nothing."""
        assert self._engine is not None, "it was opened"
        ended: list[Ended] = []
        try:
            ended.append(self._ended.get(timeout=PATIENCE))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            load = self._engine.load
        failed = self._engine.failure is not None
        return Taken(tuple(ended), load.running, load.waiting, failed)

    def put(self, ended: Ended) -> None:
        """Take in what the engine's thread delivers."""
        self._ended.put(ended)


class _Heard:
    """Joins what each step brings to one prompt."""

    def __init__(self, number: int, answerer: Answerer) -> None:
        self.request: Request | None = None
        self._number, self._answerer = number, answerer
        self._tokens: list[int] = []
        self._logprobs: list[tuple[str, float]] = []

    def deliver(self, delta: Delta) -> None:
        """Keep a delta; send all of them with the last."""
        self._tokens += delta.tokens
        self._logprobs += delta.logprobs
        if delta.last:
            whole = replace(delta, text="", tokens=self._tokens, logprobs=self._logprobs)
            # Without a request `submit` has not returned yet: it ended at once.
            begun = self.request is not None and self.request.answering is not None
            self._answerer.put(Ended(self._number, whole, begun))


def threads(device: str, processors: int) -> dict[str, Any]:
    """Return with how many threads OpenVINO works, where a node has not all of its machine."""
    import psutil

    cores = psutil.cpu_count(logical=False) or 1
    return {"INFERENCE_NUM_THREADS": processors} if device == "CPU" and processors < cores else {}
