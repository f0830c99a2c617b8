"""Many answers at once: requests from any thread, one thread that steps.

A request is prepared where it is asked (prompt, parameters, room), so that what the model does not
take is refused there; it waits until the cache has room for its longest answer, and is told what
came after each step. An exception out of a step ends the engine for good.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ovrecipe.errors import (
    EngineBusy,
    EngineFailed,
    GenerationParameterRefused,
    OvrecipeError,
    PromptTooLong,
    RunError,
)
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.chain import FilterChain
from ovrecipe.run.detokenizing import TokenText, new_texts
from ovrecipe.run.pipeline import Answering, Batching, Generated
from ovrecipe.run.prepared import Prepared, Prompt, conversation_of, prepare
from ovrecipe.run.prompt import ChatTemplate, Message, conversation
from ovrecipe.run.pushed import PushedChain
from ovrecipe.types import FinishReason, GenerationResult
from ovrecipe.wording import one_line

if TYPE_CHECKING:
    from ovrecipe.run.structured import FormCheck

#: How many requests may wait while others are answered.
MOST_WAITING = 256


@dataclass(frozen=True)
class Delta:
    """What a step brought to one request; the last one has `result` or `error`."""

    text: str = ""
    tokens: Sequence[int] = ()
    #: The text of each token and the logarithm of its probability, where they were asked for.
    logprobs: Sequence[tuple[str, float]] = ()
    result: GenerationResult | None = None
    error: OvrecipeError | None = None

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.result is not None or self.error is not None


Deliver: TypeAlias = Callable[[Delta], None]


@dataclass(eq=False)
class Request:
    """One request of an engine, from when it is asked to its last delta."""

    prepared: Prepared
    messages: Sequence[Message]
    deliver: Deliver
    blocks: int
    chain: PushedChain
    logprobs: bool = False
    text: TokenText = field(default_factory=TokenText)
    shown: list[str] = field(default_factory=list)
    answering: Answering | None = None
    over: bool = False

    @property
    def question(self) -> str:
        """The last message, which is answered."""
        return self.messages[-1]["content"] if self.messages else ""


@dataclass(frozen=True)
class Load:
    """What an engine has to do at the moment, for whoever watches it."""

    running: int
    waiting: int
    #: The part of the cache that is promised to running requests, from 0 to 1.
    cache_used: float


@dataclass(eq=False, repr=False)
class Engine:
    """One model that answers many requests at once; made by `ovrecipe.load_engine`."""

    pipeline: Batching
    _: KW_ONLY
    recipe: Recipe
    variant: str
    template: ChatTemplate
    parameters: Mapping[str, Any] = field(default_factory=dict)
    filters: FilterChain = field(default_factory=FilterChain)
    context_length: int | None = None
    #: Makes sure of forms before the model sees them, which one that is wrong would end.
    forms: FormCheck | None = None
    most_waiting: int = MOST_WAITING
    #: Is told every request that has a result; it must not raise.
    observe: Callable[[Observed], None] | None = None
    #: Is called after each step, on the thread that steps, when all deltas of it are delivered.
    after_step: Callable[[], None] | None = None
    _inbox: SimpleQueue[Request | None] = field(default_factory=SimpleQueue)
    _cancelled: SimpleQueue[Request] = field(default_factory=SimpleQueue)
    _waiting: deque[Request] = field(default_factory=deque)
    _running: list[Request] = field(default_factory=list)
    _asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _closed: bool = False
    failure: EngineFailed | None = None

    @property
    def device(self) -> str:
        """The device that it was loaded on."""
        return self.pipeline.device

    @property
    def load(self) -> Load:
        """What it has to do; from any thread."""
        running = list(self._running)
        used = sum(request.blocks for request in running)
        waiting = max(self._asked - len(running), 0)
        return Load(len(running), waiting, used / (self.pipeline.blocks or 1))

    def submit(
        self,
        prompt: Prompt,
        deliver: Deliver,
        *,
        messages: Sequence[Message] = (),
        logprobs: bool = False,
        **generation: Any,
    ) -> Request:
        """Ask for an answer to a conversation, or to a text or tokens that are the prompt itself.

        From any thread. `deliver` is called on the thread that steps, and must not raise or wait;
        for an event loop: `lambda delta: loop.call_soon_threadsafe(queue.put_nowait, delta)`.
        `messages` are what observers are told of a prompt that is no conversation.

        Raises:
            PromptRefused: by the template; or the prompt is too long.
            GenerationParameterRefused: by name.
            EngineBusy: too many wait already.
            EngineFailed, RunError: the engine has failed, or was closed.
        """
        self._check_usable()
        prepared = prepare(self, prompt, generation)
        messages = messages or conversation_of(prompt)
        for name in prepared.form:
            if self.forms is None:
                raise GenerationParameterRefused(f"{name}: nobody here can check it")
            self.forms.check(prepared.form)
        if logprobs:
            prepared.config.logprobs = 1
        chain = PushedChain(self.filters)
        request = Request(
            prepared, messages, deliver, self._blocks(prepared), chain, logprobs=logprobs
        )
        with self._lock:
            self._check_usable()
            if self._asked - len(self._running) >= self.most_waiting:
                raise EngineBusy(
                    f"{self.most_waiting} requests wait already", remedy="ask again later"
                )
            self._asked += 1
            self._inbox.put(request)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, daemon=True, name="ovrecipe-engine"
                )
                self._thread.start()
        return request

    def cancel(self, request: Request) -> None:
        """End a request, from any thread; its room is free after the next step."""
        self._cancelled.put(request)

    def stream(self, prompt: str, *, system: str | None = None, **generation: Any) -> Answer:
        """Start to answer a prompt, as `Runner.stream`; iterate over what is returned."""
        messages = conversation(self.template, prompt, system=system)
        return self.stream_messages(messages, **generation)

    def stream_messages(self, prompt: Prompt, **asked: Any) -> Answer:
        """Start to answer a conversation, or to go on with a text; takes what `submit` takes."""
        deltas: SimpleQueue[Delta] = SimpleQueue()
        return Answer(self, self.submit(prompt, deltas.put, **asked), deltas)

    def close(self) -> None:
        """Cancel what is being answered, wait for the step, and free the model."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._inbox.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Engine {self.recipe.name}:{self.variant} on {self.device}>"

    def _check_usable(self) -> None:
        if self.failure is not None:
            raise EngineFailed(self.failure.message, remedy=self.failure.remedy)
        if self._closed:
            raise RunError("the engine was closed", remedy="load it again")

    def _blocks(self, prepared: Prepared) -> int:
        """Return how much of the cache the prompt and its longest answer take.

        Raises:
            PromptTooLong: more than there is.
        """
        size, total = self.pipeline.block_size, self.pipeline.blocks
        positions = prepared.tokens.count + prepared.max_new_tokens
        blocks = -(-positions // size)
        if blocks > total:
            raise PromptTooLong(
                f"the prompt has {prepared.tokens.count} tokens and the answer may have "
                f"{prepared.max_new_tokens}, more than the {total * size} of the cache",
                remedy="ask for less with max_new_tokens, or give the cache more room",
            )
        return blocks

    # What follows runs on the thread that steps.

    def _work(self) -> None:
        try:
            while self._take_in():
                self._admit()
                if self._running:
                    self.pipeline.step()
                    self._hand_out()
                if self.after_step is not None:
                    self.after_step()
        except EngineFailed as failure:
            self.failure = failure
        except Exception as exc:  # noqa: BLE001 - a defect of ours; those who wait are told
            self.failure = EngineFailed(f"the engine broke: {one_line(exc)}")
            self.failure.__cause__ = exc
        self._let_go(self.failure or RunError("the engine was closed"))
        if self.after_step is not None:
            self.after_step()

    def _take_in(self) -> bool:
        """Take what was asked meanwhile, waiting for it if there is nothing to do."""
        while not self._closed:
            idle = not (self._running or self._waiting)
            try:
                request = self._inbox.get(block=idle)
            except Empty:
                break
            if request is not None:
                self._waiting.append(request)
        return not self._closed

    def _admit(self) -> None:
        """Cancel what shall be, then begin what has room, first come, first served."""
        while not self._cancelled.empty():
            self._leave(self._cancelled.get())
        free = self.pipeline.blocks - sum(request.blocks for request in self._running)
        while self._waiting and len(self._running) < self.pipeline.most_at_once:
            request = self._waiting[0]
            if request.over:
                self._waiting.popleft()
                continue
            if request.blocks > free:
                return
            self._waiting.popleft()
            try:
                given = request.prepared
                request.answering = self.pipeline.add(given.tokens, given.config)
            except RunError as error:
                self._end(request, Delta(error=error))
                continue
            free -= request.blocks
            self._running.append(request)

    def _leave(self, request: Request) -> None:
        if request.over:
            return
        if request.answering is not None:
            # Its room is counted until the step after which it is free.
            request.answering.cancel()
        self._end(request, Delta(result=_result(self, request, "cancelled")))

    def _hand_out(self) -> None:
        """Tell every running request what the step brought it."""
        came: list[tuple[Request, Generated]] = []
        for request in self._running:
            if request.over or request.answering is None:
                continue
            generated = request.answering.read()
            if generated is not None:
                request.text.tokens += generated.tokens
                came.append((request, generated))
        growing = [(request.text, bool(new.finish_reason)) for request, new in came]
        for (request, generated), text in zip(came, new_texts(self.pipeline, growing), strict=True):
            self._tell(request, generated, text)
        self._running = [request for request in self._running if not request.over]

    def _tell(self, request: Request, generated: Generated, text: str) -> None:
        tokens, logprobs = generated.tokens, self._logprobs(request, generated)
        try:
            shown = request.chain.feed(text)
            if generated.finish_reason is not None:
                shown += request.chain.finish()
        except OvrecipeError as error:
            if request.answering is not None:
                request.answering.cancel()
            self._end(request, Delta(error=error))
            return
        request.shown.append(shown)
        if generated.finish_reason is None:
            request.deliver(Delta(shown, tokens, logprobs))
        else:
            result = _result(self, request, generated.finish_reason, generated)
            self._end(request, Delta(shown, tokens, logprobs, result))

    def _logprobs(self, request: Request, generated: Generated) -> Sequence[tuple[str, float]]:
        if not request.logprobs:
            return ()
        texts = self.pipeline.decode([[token] for token in generated.tokens], special=True)
        return list(zip(texts, generated.logprobs, strict=True))

    def _end(self, request: Request, last: Delta) -> None:
        if request.over:
            return
        request.over = True
        request.chain.close()
        with self._lock:
            self._asked -= 1
        if self.observe is not None and last.result is not None:
            self.observe(Observed(self.recipe, self.variant, request, last.result))
        request.deliver(last)

    def _let_go(self, error: OvrecipeError) -> None:
        """End whatever has not ended; nobody waits for an engine that is gone."""
        with self._lock:
            self._closed = True
        while not self._inbox.empty():
            request = self._inbox.get()
            if request is not None:
                self._waiting.append(request)
        for request in [*self._running, *self._waiting]:
            self._end(request, Delta(error=error))
        self._running.clear()
        self._waiting.clear()


@dataclass(frozen=True)
class Observed:
    """An answer for the observers of plugins."""

    recipe: Recipe
    variant: str
    request: Request
    result: GenerationResult

    @property
    def question(self) -> str:
        """The last message, which was answered."""
        return self.request.question

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation that was answered."""
        return self.request.messages


class Answer:
    """One answer as it comes: iterate for text, then read `result`.

    Leaving the loop early, leaving a `with` block and `cancel` end it.
    """

    def __init__(self, engine: Engine, request: Request, deltas: SimpleQueue[Delta]) -> None:
        self._engine, self._request, self._deltas = engine, request, deltas
        self._last: Delta | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """Return the next text, which is not empty.

        Raises:
            OvrecipeError: the engine or a filter failed.
        """
        while self._last is None:
            delta = self._deltas.get()
            if delta.last:
                self._last = delta
            if delta.error is not None:
                raise delta.error
            if delta.text:
                return delta.text
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        """Do not let the model work for nobody."""
        self.cancel()

    def cancel(self) -> None:
        """End it, from any thread."""
        self._engine.cancel(self._request)

    @property
    def result(self) -> GenerationResult:
        """The result; reads the answer to its end.

        Raises:
            OvrecipeError: the engine or a filter failed.
        """
        for _ in self:
            pass
        assert self._last is not None, "the loop ends with the last delta"
        if self._last.error is not None:
            raise self._last.error
        assert self._last.result is not None, "a last delta without an error has a result"
        return self._last.result


def _result(
    engine: Engine, request: Request, reason: FinishReason, last: Generated | None = None
) -> GenerationResult:
    return GenerationResult(
        text="".join(request.shown),
        finish_reason=reason,
        prompt_tokens=request.prepared.tokens.count,
        generated_tokens=len(request.text.tokens),
        metrics=last.metrics if last else None,
        device=engine.device,
        seed=request.prepared.seed,
    )
