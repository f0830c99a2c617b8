"""The engine's process: `python -m ovrecipe_serve.worker JOB`.

Requests come as JSON lines on standard input, which also says when the server has gone; what each
step brought goes back as one JSON line. A step holds Python's lock, so no server could live here.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError
from ovrecipe.libraries import prepare_libraries
from ovrecipe.processes import Events
from ovrecipe.recipe.tasks import GENERATION
from ovrecipe.run.openai.reasoning import begins_reasoning
from ovrecipe.run.prepared import encoded
from ovrecipe.run.prompt import Rendered
from ovrecipe.wording import one_line
from ovrecipe_serve.opening import told, where

if TYPE_CHECKING:
    from ovrecipe.run.engine import Delta, Engine, Request
    from ovrecipe.run.prepared import Prompt
    from ovrecipe.run.prompt import Message

#: What is read of the server at once; a pipe holds 64 KiB.
PIPE_BYTES = 2**20
#: How long a step waits at most, in seconds. It is enough for 64 requests; the form of an answer
#: may take longer to compile, and others go on meanwhile.
MOST_PAUSE = 0.1


class Worker:
    """Requests of the server on one engine.

    Orders are obeyed as they come. Those that came during a step are obeyed before the next one,
    which waits for them a moment: else a step, that holds Python's lock, would let in one or two.
    """

    def __init__(self, events: Events) -> None:
        self.events = events
        self.engine: Engine | None = None
        self._all_obeyed = threading.Event()
        self._all_obeyed.set()
        self._requests: dict[int, list[Request]] = {}
        self._deltas: list[Mapping[str, Any]] = []

    def serve(self, job: Mapping[str, Any], *, orders: int = 0) -> int:
        """Load the model, answer until the server goes, and return the exit code.

        `orders` is the file number of the pipe on which the server speaks.
        """
        try:
            self.engine = self._load(job)
        except OvrecipeError as error:
            self.events.send_error(error)
            return error.exit_code
        engine = self.engine
        self.events.send(
            "ready",
            device=engine.device,
            variant=engine.variant,
            context_length=engine.context_length,
            cache_tokens=engine.pipeline.blocks * engine.pipeline.block_size,
            pid=os.getpid(),
        )
        for lines in _read_lines(orders):
            self._all_obeyed.clear()
            for line in lines:
                self.obey(json.loads(line))
            self._all_obeyed.set()
        return 0

    def _load(self, job: Mapping[str, Any]) -> Engine:
        from ovrecipe.run.batching import Room
        from ovrecipe.run.load import load_engine

        return load_engine(
            **where(job, self.events),
            adapter=job["adapter"],
            room=Room(job["cache_gb"], job["most_at_once"]),
            most_waiting=job["most_waiting"],
            after_step=self._after_step,
        )

    def obey(self, order: Mapping[str, Any]) -> None:
        """Do what the server asks; why it cannot be done is told."""
        number = order["id"]
        try:
            match order["op"]:
                case "ask":
                    self._ask(number, order)
                case "cancel":
                    self._cancel(number)
                case "tokenize":
                    self._tokenize(number, order["prompt"])
                case "detokenize":
                    self._detokenize(number, order["tokens"])
        except OvrecipeError as error:
            self._cancel(number)
            self.events.send("refused", id=number, **told(error))
        except Exception as error:  # noqa: BLE001 - a defect of ours; it must not end the others
            traceback.print_exc()
            self._cancel(number)
            broke = OvrecipeError(f"a defect: {one_line(error)}")
            self.events.send("refused", id=number, **told(broke))

    def _ask(self, number: int, order: Mapping[str, Any]) -> None:
        assert self.engine is not None, "nothing is asked before it is ready"
        inside = []
        requests = self._requests.setdefault(number, [])
        given = [self._given(prompt) for prompt in order["prompts"]]
        for index, (place, generation) in enumerate(order["asks"]):
            prompt, messages = given[place]
            request = self.engine.submit(
                prompt,
                self._deliver(number, index),
                messages=messages,
                logprobs=order["logprobs"],
                **generation,
            )
            requests.append(request)
            inside.append(
                isinstance(prompt, Rendered)
                and begins_reasoning(prompt.text, request.prepared.form)
            )
        self.events.send("accepted", id=number, begins_inside=inside)

    def _given(self, prompt: Any) -> tuple[Prompt, Sequence[Message]]:
        """Return what the model is given for a prompt, and the conversation that it is."""
        assert self.engine is not None, "nothing is asked before it is ready"
        if isinstance(prompt, list) and isinstance(prompt[0], dict):
            return self.engine.template.rendered(prompt), prompt
        return prompt, ()

    def _deliver(self, number: int, index: int) -> Any:
        def deliver(delta: Delta) -> None:
            self._deltas.append({"id": number, "index": index, **_as_json(delta)})

        return deliver

    def _after_step(self) -> None:
        """Send what the step brought in one line, then let in what was asked meanwhile."""
        assert self.engine is not None, "it steps"
        deltas, self._deltas = self._deltas, []
        load = self.engine.load
        if deltas:
            now = [load.running, load.waiting, load.cache_used]
            self.events.send("step", deltas=deltas, load=now)
        failure = self.engine.failure
        if failure is not None:
            # Nothing helps such a pipeline: the server starts another process.
            self.events.send("failed", message=failure.message)
            sys.stderr.flush()
            os._exit(failure.exit_code)
        self._all_obeyed.wait(MOST_PAUSE)

    def _cancel(self, number: int) -> None:
        assert self.engine is not None, "nothing is asked before it is ready"
        for request in self._requests.pop(number, ()):
            self.engine.cancel(request)

    def _tokenize(self, number: int, prompt: Any) -> None:
        assert self.engine is not None, "nothing is asked before it is ready"
        tokens = encoded(self.engine, prompt)
        ids = [int(token) for token in tokens.ids.input_ids.data[0]]
        self.events.send("result", id=number, tokens=ids)

    def _detokenize(self, number: int, tokens: Sequence[int]) -> None:
        assert self.engine is not None, "nothing is asked before it is ready"
        if tokens:
            self.engine.pipeline.tokens_of(tokens)
        (text,) = self.engine.pipeline.decode([tokens], special=True)
        self.events.send("result", id=number, text=text)


def _read_lines(file_number: int) -> Iterator[list[bytes]]:
    """Yield the whole lines of a pipe as they come, all that are there at once, until it ends."""
    rest = b""
    while read := os.read(file_number, PIPE_BYTES):
        *lines, rest = (rest + read).split(b"\n")
        yield lines


def _as_json(delta: Delta) -> dict[str, Any]:
    found: dict[str, Any] = {"text": delta.text, "tokens": len(delta.tokens)}
    if delta.logprobs:
        found["logprobs"] = delta.logprobs
    if delta.result is not None:
        found["result"] = delta.result.as_json()
    if delta.error is not None:
        found["error"] = told(delta.error)
    return found


if __name__ == "__main__":
    to_server = Events()
    prepare_libraries(sys.modules, os.environ)
    asked = json.loads(sys.argv[1])
    if asked["task"] == GENERATION:
        code = Worker(to_server).serve(asked)
    else:
        from ovrecipe_serve.vector_worker import VectorWorker

        code = VectorWorker(to_server).serve(asked)
    sys.stderr.flush()
    # Tearing down OpenVINO changes nothing: all is said.
    os._exit(code)
