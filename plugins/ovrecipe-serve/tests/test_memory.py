"""Models that share a limit of memory."""

from __future__ import annotations

import asyncio

import httpx
import openai
import psutil
import pytest
from conftest import BERT, CROSS, TWIN
from ovrecipe_serve.models import BESIDE_WEIGHTS, Models
from ovrecipe_serve.process import Job

from ovrecipe.errors import NoRoomForModel


class Engine:
    """An engine that takes so many bytes, and more while it answers."""

    def __init__(self, name: str, loads: int) -> None:
        self.job = Job(name, "CPU")
        self.state, self.busy, self.used = "unloaded", False, 0.0
        self.answering = False
        #: One that is asked while this one is let go of.
        self.meanwhile: Engine | None = None
        self.resident_bytes = self.loaded_bytes = 0
        self._loads, self.facts = loads, {}
        self.left = asyncio.Event()

    async def load(self) -> None:
        self.state, self.resident_bytes, self.loaded_bytes = "ready", self._loads, self._loads

    async def unload(self) -> None:
        self.state, self.resident_bytes = "unloaded", 0
        if self.meanwhile is not None:
            self.meanwhile.busy = True
        self.left.set()


def models(most_bytes, *sizes, **options):
    """Return models `a`, `b`, ... of these sizes, of which nothing was known before."""
    engines = {name: Engine(name, size) for name, size in zip("abcd", sizes, strict=False)}
    facts = {name: {"weights_bytes": 1} for name in engines}
    return Models(engines, facts=facts, most_bytes=most_bytes, **options)


def states(found):
    """Return which are loaded."""
    return "".join(name for name, one in found.engines.items() if one.state == "ready")


GB = 1_000_000_000


def test_as_many_are_loaded_at_the_start_as_have_room():
    """The others wait until they are asked."""

    async def check():
        found = models(2 * GB, GB, GB // 2, GB, GB // 4)
        await found.start()
        assert states(found) == "abd"
        await found.close()

    asyncio.run(check())


def test_the_one_idle_for_longest_leaves_for_one_that_does_not_fit():
    """Even if how large it is shows only when it is loaded; one at work stays."""

    async def check():
        found = models(2 * GB, GB // 2, GB // 2, GB, GB)
        a, b, c, d = found.engines.values()
        await found.start()
        assert states(found) == "abc"
        a.used, b.used, c.used, a.busy = 1.0, 2.0, 3.0, True
        await found.load(d)
        assert states(found) == "ad"
        d.busy = True
        with pytest.raises(NoRoomForModel, match="c has no room in memory beside the models"):
            await found.load(c)
        assert states(found) == "ad"
        await found.close()

    asyncio.run(check())


def test_one_that_is_larger_than_all_may_be_is_refused():
    """Before it is loaded where its weights say so, else once it has been."""

    async def check():
        too_large = r"a: needs about 0\.2 GB, and all models together may have"
        with pytest.raises(NoRoomForModel, match=too_large):
            await models(BESIDE_WEIGHTS, GB).start()
        found = models(GB, 2 * GB)
        with pytest.raises(NoRoomForModel, match=r"needs about 2\.0 GB"):
            await found.start()
        assert states(found) == ""

    asyncio.run(check())


def test_an_idle_one_leaves_while_another_grows_beyond_the_limit():
    """The one at work stays, though it is what is too large."""

    async def check():
        found = models(2 * GB, GB // 2, GB // 2)
        a, b = found.engines.values()
        await found.start()
        a.busy, a.resident_bytes = True, 3 * GB
        await asyncio.wait_for(b.left.wait(), 60)
        assert states(found) == "a"
        await found.close()

    asyncio.run(check())


def test_one_that_is_asked_meanwhile_is_not_let_go_of():
    """Between being chosen as idle and being ended, while another is ended."""

    async def check():
        found = models(2 * GB, GB // 2, GB // 2, idle_seconds=0.01)
        a, b = found.engines.values()
        await found.start()
        assert states(found) == "ab"
        a.used, b.used, a.meanwhile = 1.0, 2.0, b
        await asyncio.wait_for(a.left.wait(), 60)
        await asyncio.sleep(0)
        assert (b.busy, b.state) == (True, "ready")
        await found.close()

    asyncio.run(check())


@pytest.mark.model
@pytest.mark.slow
def test_real_models_take_turns_in_a_limit(serve, tiny_project):
    """Measured by what their processes have."""
    alone = serve(BERT, project=tiny_project)
    needs = sum(one.memory_info().rss for one in psutil.Process(alone.process.pid).children())
    limit = str(needs * 1.5 / 1e9)
    served = serve(BERT, CROSS, "--max-memory-gb", limit, project=tiny_project)
    assert served.states() == {BERT: "ready", CROSS: "unloaded"}
    asked = {"model": CROSS, "query": "x", "documents": ["y"]}
    with served.http() as http:
        assert http.post("/v1/rerank", json=asked).status_code == 200
    assert served.states() == {BERT: "unloaded", CROSS: "ready"}
    assert served.client().embeddings.create(model=BERT, input="x").data


@pytest.mark.model
@pytest.mark.slow
def test_a_model_without_room_is_told_with_503_and_when_to_ask_again(serve, tiny_project):
    """While the one in memory is at work; a place among the loaded is told in the same way."""
    served = serve(TWIN, BERT, "--max-loaded", "1", project=tiny_project)
    asked = {"model": TWIN, "prompt": "x", "max_tokens": 480, "stream": True}
    with served.client().completions.create(**asked, extra_body={"ignore_eos": True}) as stream:
        next(stream)
        with pytest.raises(openai.InternalServerError, match="no room in memory") as told:
            served.client().embeddings.create(model=BERT, input="x")
    assert told.value.status_code == 503
    assert told.value.response.headers["retry-after"] == "1"
    assert told.value.code == "model_not_loaded"
    assert httpx.get(f"{served.url}/health").status_code == 200
