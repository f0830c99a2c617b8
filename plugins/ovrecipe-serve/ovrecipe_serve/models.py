"""The models of one server: their names, and which of them are loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import NoRoomForModel, RecipeNotFound
from ovrecipe.wording import perhaps

if TYPE_CHECKING:
    from ovrecipe_serve.process import EngineProcess

#: How often it is looked whether a model has been idle for long enough, in seconds.
LOOK_SECONDS = 1.0
#: What a process needs beside its model's weights, before it was measured: Python and OpenVINO.
BESIDE_WEIGHTS = 150_000_000
#: What stands between a model's name and that of its LoRA adapter; neither may have it.
ADAPTER = "@"


class Models:
    """Engines by the names that requests call them.

    At most `most_loaded` are in memory, and their processes have at most `most_bytes` together:
    another one takes the place of those that were idle for longest. With `idle_seconds` an idle
    model is let go of.
    """

    def __init__(
        self,
        engines: Mapping[str, EngineProcess],
        *,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        most_loaded: int | None = None,
        most_bytes: int | None = None,
        idle_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engines = dict(engines)
        self._facts = facts or {}
        self._most_loaded = most_loaded or len(self.engines)
        self._most_bytes = most_bytes
        self._idle_seconds, self._clock = idle_seconds, clock
        self._turn = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._created = int(time.time())

    async def start(self) -> None:
        """Load as many as may be, in their order, but for lazy ones; once is enough.

        Raises:
            NoRoomForModel: one is larger than what all may have.
            OvrecipeError: one cannot be loaded.
        """
        for engine in self.engines.values():
            self._check_size(engine)
        for engine in self.engines.values():
            if engine.job.lazy or not self._has_room(engine):
                continue
            await engine.load()
            if self._over_bytes():
                await engine.unload()
                self._check_size(engine)
        watched = self._idle_seconds is not None or self._most_bytes is not None
        if watched and self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())

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

        The adapter that is always on may be named too.

        Raises:
            RecipeNotFound: there is none.
        """
        if name in self.engines:
            return self.engines[name]
        stem, _, adapter = name.partition(ADAPTER)
        bases = [known for known in self.engines if ADAPTER not in known]
        alike = [known for known in bases if stem in (known, known.partition(":")[0])]
        if len(alike) == 1:
            base = self.engines[alike[0]]
            if ADAPTER not in name or adapter == base.job.adapter:
                return base
            if (whole := f"{alike[0]}{ADAPTER}{adapter}") in self.engines:
                return self.engines[whole]
        raise RecipeNotFound(
            f"the model '{name[:200]}' does not exist here{perhaps(name, self.engines)}",
            remedy=f"there are: {', '.join(self.engines)}",
        )

    async def load(self, engine: EngineProcess) -> None:
        """Load an engine unless it is; who asks for it holds it with `wanted`.

        Raises:
            NoRoomForModel: no other can be let go of for it.
            OvrecipeError: it cannot be loaded.
        """
        if engine.state != "ready":
            async with self._turn:
                is_new = engine.state == "unloaded"
                if is_new:
                    await self._make_room(engine)
                await engine.load()
                if is_new:
                    await self._shrink(engine)

    def described(self) -> list[dict[str, Any]]:
        """Return what `/v1/models` says."""
        return [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "ovrecipe",
                "state": engine.state,
                "task": engine.job.task,
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

    @property
    def _loaded(self) -> list[EngineProcess]:
        return [engine for engine in self.engines.values() if engine.state != "unloaded"]

    def _over_bytes(self, more: int = 0) -> bool:
        """Return whether the processes have more memory than they may, with `more` of another."""
        if self._most_bytes is None:
            return False
        return sum(engine.resident_bytes for engine in self._loaded) + more > self._most_bytes

    def _needed_bytes(self, engine: EngineProcess) -> int:
        """Return what an engine took when it was loaded last, or what it will take at least."""
        weights = int(self._facts.get(engine.job.model, {}).get("weights_bytes", 0))
        return engine.loaded_bytes or weights + BESIDE_WEIGHTS

    def _has_room(self, engine: EngineProcess) -> bool:
        is_full = len(self._loaded) >= self._most_loaded
        return not is_full and not self._over_bytes(self._needed_bytes(engine))

    def _check_size(self, engine: EngineProcess) -> None:
        needed = self._needed_bytes(engine)
        if self._most_bytes is not None and needed > self._most_bytes:
            raise NoRoomForModel(
                f"{engine.job.model}: needs about {needed / 1e9:.1f} GB, and all models together "
                f"may have {self._most_bytes / 1e9:.1f}",
                remedy="give more with --max-memory-gb",
            )

    async def _make_room(self, engine: EngineProcess) -> None:
        """Let go of idle engines until there is room for one that is not loaded."""
        self._check_size(engine)
        while not self._has_room(engine):
            await self._let_go_for(engine)

    async def _shrink(self, engine: EngineProcess) -> None:
        """Let go of idle engines, or of one just loaded, if it took more than there was."""
        while self._over_bytes():
            try:
                await self._let_go_for(engine)
            except NoRoomForModel:
                if engine.answering:
                    return  # somebody asked it while others were let go of
                await engine.unload()
                raise

    async def _let_go_for(self, engine: EngineProcess) -> None:
        idle = [one for one in self._loaded if one is not engine and not one.busy]
        if not idle:
            raise NoRoomForModel(
                f"{engine.job.model} has no room in memory beside the models that are at work",
                remedy="ask again later",
            )
        longest_idle = min(idle, key=lambda one: one.used)
        # Who asked may leave meanwhile; it goes on.
        await asyncio.shield(_let_go(longest_idle))

    async def _watch(self) -> None:
        """Let go of what nobody asked for long, and of idle models while others grow too large."""
        look = LOOK_SECONDS if self._idle_seconds is None else min(LOOK_SECONDS, self._idle_seconds)
        while True:
            await asyncio.sleep(look)
            async with self._turn:
                for engine in self._idle():
                    await _let_go(engine)

    def _idle(self) -> Sequence[EngineProcess]:
        ready = [engine for engine in self.engines.values() if engine.state == "ready"]
        idle = sorted((one for one in ready if not one.busy), key=lambda one: one.used)
        if self._over_bytes():
            return idle[:1]
        before = self._clock() - (self._idle_seconds or float("inf"))
        return [engine for engine in idle if engine.used < before]


async def _let_go(engine: EngineProcess) -> None:
    """End an engine that was idle, unless somebody has asked it since."""
    if not engine.busy:
        await engine.unload()
