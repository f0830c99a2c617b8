"""The models of one server: their names, and which of them are loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import EngineBusy, RecipeNotFound
from ovrecipe.wording import perhaps

if TYPE_CHECKING:
    from ovrecipe_serve.process import EngineProcess

#: How often it is looked whether a model has been idle for long enough, in seconds.
LOOK_SECONDS = 1.0


class Models:
    """Engines by the names that requests call them.

    At most `most_loaded` are in memory: another one takes the place of the one that was idle for
    longest. With `idle_seconds` an idle model is let go of.
    """

    def __init__(
        self,
        engines: Mapping[str, EngineProcess],
        *,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        most_loaded: int | None = None,
        idle_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engines = dict(engines)
        self._facts = facts or {}
        self._most_loaded = most_loaded or len(self.engines)
        self._idle_seconds, self._clock = idle_seconds, clock
        self._turn = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._created = int(time.time())

    async def start(self) -> None:
        """Load as many as may be, in their order; once is enough.

        Raises:
            OvrecipeError: one cannot be loaded.
        """
        for engine in list(self.engines.values())[: self._most_loaded]:
            await engine.load()
        if self._idle_seconds is not None and self._watcher is None:
            self._watcher = asyncio.create_task(self._unload_idle())

    async def close(self) -> None:
        """End all engines."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        for engine in self.engines.values():
            await engine.unload()

    def named(self, name: str) -> EngineProcess:
        """Return the engine that a request names; `NAME` is that of `NAME:VARIANT` if it is alone.

        Raises:
            RecipeNotFound: there is none.
        """
        if name in self.engines:
            return self.engines[name]
        alike = [known for known in self.engines if known.partition(":")[0] == name]
        if len(alike) == 1:
            return self.engines[alike[0]]
        raise RecipeNotFound(
            f"the model '{name[:200]}' does not exist here{perhaps(name, self.engines)}",
            remedy=f"there are: {', '.join(self.engines)}",
        )

    async def ready(self, name: str) -> EngineProcess:
        """Return the engine that a request names, loaded.

        Raises:
            RecipeNotFound: there is none.
            EngineBusy: no other can be let go of for it.
            OvrecipeError: it cannot be loaded.
        """
        engine = self.named(name)
        if engine.state != "ready":
            async with self._turn:
                if engine.state == "unloaded":
                    await self._make_room()
                await engine.load()
        return engine

    def described(self) -> list[dict[str, Any]]:
        """Return what `/v1/models` says."""
        return [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "ovrecipe",
                "state": engine.state,
                "max_model_len": engine.facts.get("context_length"),
                **self._facts.get(name, {}),
            }
            for name, engine in self.engines.items()
        ]

    @property
    def all_ready(self) -> bool:
        """Whether whatever should be loaded is."""
        return all(engine.state != "loading" for engine in self.engines.values()) and any(
            engine.state == "ready" or self._idle_seconds is not None
            for engine in self.engines.values()
        )

    async def _make_room(self) -> None:
        loaded = [engine for engine in self.engines.values() if engine.state != "unloaded"]
        if len(loaded) < self._most_loaded:
            return
        idle = [engine for engine in loaded if not engine.busy]
        if not idle:
            raise EngineBusy("the models in memory are all at work", remedy="ask again later")
        longest_idle = min(idle, key=lambda engine: engine.used)
        # Who asked may leave meanwhile; it goes on.
        await asyncio.shield(longest_idle.unload())

    async def _unload_idle(self) -> None:
        assert self._idle_seconds is not None, "it is only called then"
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._idle_seconds))
            async with self._turn:
                for engine in self._idle():
                    await engine.unload()

    def _idle(self) -> Sequence[EngineProcess]:
        assert self._idle_seconds is not None, "it is only called then"
        before = self._clock() - self._idle_seconds
        ready = [engine for engine in self.engines.values() if engine.state == "ready"]
        return [engine for engine in ready if not engine.busy and engine.used < before]
