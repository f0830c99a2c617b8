"""A loaded model that answers, and a conversation with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Self

from ovrecipe.errors import OvrecipeError, RunError
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.artifact import not_built
from ovrecipe.run.chain import FilterChain
from ovrecipe.run.generation import Generation, GenerationTask, OnEnd
from ovrecipe.run.pipeline import Pipeline
from ovrecipe.run.prepared import prepare
from ovrecipe.run.prompt import ChatTemplate, Message, conversation
from ovrecipe.types import GenerationResult


@dataclass(frozen=True)
class Variants:
    """What is built by now, and how one is loaded."""

    #: The built variants in the recipe's order, each with the bytes of its weights.
    sizes_bytes: Callable[[], Mapping[str, int]]
    #: Loads one on the same device with the same plugins and properties.
    load: Callable[[str], Runner]


@dataclass(eq=False, repr=False)
class Runner:
    """One model on one device; any thread may ask, answers are generated one after the other.

    Made by `ovrecipe.load`. Use it in a `with` block, or `close` it.
    """

    pipeline: Pipeline
    _: KW_ONLY
    recipe: Recipe
    variant: str
    template: ChatTemplate
    #: The artifact's own, of its generation_config.json.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    filters: FilterChain = field(default_factory=FilterChain)
    context_length: int | None = None
    #: How another one of the recipe is loaded.
    variants: Variants | None = None
    #: Is told every generation that has a result; it must not raise.
    observe: Callable[[Generation], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)
    _last: threading.Thread | None = None

    @property
    def device(self) -> str:
        """The device that it was loaded on."""
        return self.pipeline.device

    def stream(self, prompt: str, *, system: str | None = None, **generation: Any) -> Generation:
        """Start to answer a prompt; iterate over what is returned.

        `system` replaces the artifact's. `generation` are GenAI's parameters by name, on top of
        the artifact's, `greedy=True`, and one of `json_schema` (an object, or JSON text), `regex`
        and `grammar` (EBNF), to which the answer is held. `adapter` names a LoRA adapter of the
        recipe, "" answers without one.

        Raises:
            PromptRefused: the prompt is blank, not text, or too long for the model.
            GenerationParameterRefused: by name.
            RunError: the model was closed.
        """
        return self.stream_messages(self.conversation(prompt, system=system), **generation)

    def generate(
        self, prompt: str, *, system: str | None = None, **generation: Any
    ) -> GenerationResult:
        """Answer a prompt: the loop over `stream`, with its parameters and errors."""
        with self.stream(prompt, system=system, **generation) as answer:
            for _ in answer:
                pass
        return answer.result

    def chat(self, system: str | None = None, **generation: Any) -> Chat:
        """Return a conversation that remembers its turns; `generation` counts for all of them."""
        return Chat(self, system=system, generation=generation)

    def conversation(
        self, prompt: str, *, system: str | None = None, history: Sequence[Message] = ()
    ) -> list[Message]:
        """Return the messages that ask `prompt` after `history` (`prompt.conversation`)."""
        return conversation(self.template, prompt, system=system, history=history)

    def stream_messages(
        self, messages: Sequence[Message], *, on_end: OnEnd = None, **generation: Any
    ) -> Generation:
        """Start to answer a conversation; as `stream`, for those who keep the messages."""
        self._check_open()
        given = prepare(self, messages, generation)
        form = next(iter(given.form), None)
        task = GenerationTask(given.tokens, given.config, seed=given.seed, form=form)
        answer = Generation(task, self, messages, on_end)
        self._submit(task)
        return answer

    def render(self, messages: Sequence[Message]) -> str:
        """Return the text that the model sees; refused as by `stream`."""
        return self.template.rendered(messages).text

    def token_count(self, text: str) -> int | None:
        """Return how many tokens a text of the model is; None once the model was closed."""
        with self._lock:
            if self._closed.is_set():
                return None
            return self.pipeline.encode(text, add_special_tokens=False).count if text else 0

    def warm_up(self) -> None:
        """Generate one token, so that the first answer is as quick as the second.

        Raises:
            RunError: the model failed, or was closed.
        """
        tokens = self.pipeline.encode("warm", add_special_tokens=False)
        config = self.pipeline.configure({"max_new_tokens": 1, "do_sample": False})
        task = GenerationTask(tokens, config)
        self._submit(task)
        task.ended.wait()
        if task.error is not None:
            raise task.error

    def close(self) -> None:
        """Cancel what is running, wait until it has stopped, and free the model."""
        with self._lock:
            self._closed.set()
        if self._last is not None and self._last is not threading.current_thread():
            self._last.join()
        self.pipeline.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Runner {self.recipe.name}:{self.variant} on {self.device}>"

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise RunError(
                "the model was closed, or its conversation switched to another variant",
                remedy="load it again",
            )

    def _submit(self, task: GenerationTask) -> None:
        """Run a task on a thread that waits for the one before.

        So no thread is there without work. An executor's would be joined before the main thread
        counts as gone, and a program that forgot to close would wait for its answer to the end.
        """
        with self._lock:
            self._check_open()
            before = self._last

            def run() -> None:
                if before is not None:
                    before.join()
                task.run(self.pipeline, self._closed)

            self._last = threading.Thread(target=run, name="ovrecipe-generate")
            self._last.start()


@dataclass(eq=False, repr=False)
class Chat:
    """Turns of a user and the model; every answer sees all of them.

    The history has what was shown: text behind the output filters, but for those that are for
    display only. A turn that fails leaves no trace, so it can be tried again. A cancelled turn is
    kept as far as it was shown ("go on" then means something), and dropped when nothing was.
    """

    runner: Runner
    _: KW_ONLY
    system: str | None = None
    #: Parameters for every answer.
    generation: Mapping[str, Any] = field(default_factory=dict)
    _history: list[Message] = field(default_factory=list)
    _answering: Generation | None = None

    @property
    def history(self) -> tuple[Message, ...]:
        """The turns so far: messages with `role` (user, assistant) and `content`."""
        return tuple(map(dict, self._history))

    def stream(self, prompt: str, **generation: Any) -> Generation:
        """Start to answer the next prompt, as `Runner.stream`.

        `generation` comes on top of the conversation's own.

        Raises:
            RunError: the answer before it has not ended.
        """
        before = self._answering
        if before is not None:
            if before.running:
                raise RunError(
                    "the answer before is still running",
                    remedy="iterate over it to its end, or cancel it",
                )
            before.close()
        messages = self.runner.conversation(prompt, system=self.system, history=self._history)

        def remember(answer: Generation, result: GenerationResult | None) -> None:
            if result and (result.text or result.finish_reason != "cancelled"):
                said = {"role": "assistant", "content": answer.history_text()}
                self._history += [messages[-1], said]

        parameters = {**self.generation, **generation}
        self._answering = self.runner.stream_messages(messages, on_end=remember, **parameters)
        return self._answering

    def generate(self, prompt: str, **generation: Any) -> GenerationResult:
        """Answer the next prompt: the loop over `stream`."""
        with self.stream(prompt, **generation) as answer:
            for _ in answer:
                pass
        return answer.result

    def reset(self) -> None:
        """Forget all turns; an answer that is still running is cancelled."""
        if self._answering is not None:
            self._answering.close()
        self._history.clear()

    def variants(self) -> dict[str, int]:
        """Return the built variants of the recipe, each with the bytes of its weights."""
        known = self.runner.variants
        return dict(known.sizes_bytes()) if known is not None else {}

    def switch(self, variant: str) -> None:
        """Go on with another built variant; turns are kept, a running answer is cancelled.

        The model is freed before the other is loaded, for memory may not hold both. When the
        other cannot be loaded, the one before is loaded again.

        Raises:
            NotBuilt: nothing has changed then.
            RecipeError, PluginError, RunError: the other cannot be loaded.
        """
        before, known = self.runner, self.runner.variants
        if known is None or variant not in known.sizes_bytes():
            raise not_built(f"{before.recipe.name}:{variant}")
        before.close()
        try:
            self.runner = known.load(variant)
        except OvrecipeError:
            self.runner = known.load(before.variant)
            raise

    def close(self) -> None:
        """Free the model that is in use now, whichever it is."""
        self.runner.close()
