"""A loaded model that answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ovrecipe.errors import PromptRefused, RunError
from ovrecipe.run.chain import ChosenFilter, FilterChain
from ovrecipe.run.chat import Chat
from ovrecipe.run.generation import Generation, GenerationTask
from ovrecipe.run.parameters import merged, seeded
from ovrecipe.run.prompt import checked_prompt

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.run.artifact import Variants
    from ovrecipe.run.generation import OnEnd
    from ovrecipe.run.pipeline import Pipeline, Tokens
    from ovrecipe.run.prompt import ChatTemplate, Message
    from ovrecipe.types import GenerationResult


class Runner:
    """One model on one device; any thread may ask, answers are generated one after the other.

    Made by `ovrecipe.load`. Use it in a `with` block, or `close` it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        recipe: Recipe,
        variant: str,
        template: ChatTemplate,
        parameters: Mapping[str, Any] | None = None,
        filters: Sequence[ChosenFilter] = (),
        context_length: int | None = None,
        variants: Variants | None = None,
        observe: Callable[[Generation], None] | None = None,
    ) -> None:
        """Wrap a pipeline; `variants` is how another one of the recipe is loaded.

        `parameters` are the artifact's own, of its generation_config.json. `observe` is told
        every generation that has a result; it must not raise.
        """
        self.recipe = recipe
        self.variant = variant
        self.variants = variants
        self.device = pipeline.device
        self.parameters: Mapping[str, Any] = dict(parameters or {})
        self.filters = FilterChain(filters)
        self.observe = observe
        self._pipeline = pipeline
        self._template = template
        self._context_length = context_length
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._last: threading.Thread | None = None

    def stream(self, prompt: str, *, system: str | None = None, **generation: Any) -> Generation:
        """Start to answer a prompt; iterate over what is returned.

        `system` replaces the artifact's. `generation` are GenAI's parameters by name, on top of
        the artifact's, and `greedy=True`.

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
        """Return the messages that ask `prompt` after `history`.

        Without `system` there is no such message, and the template says the artifact's own; an
        empty one takes that back.
        """
        told = system is not None and (system or self._template.settings.system)
        first: list[Message] = [{"role": "system", "content": str(system)}] if told else []
        return [*first, *history, {"role": "user", "content": checked_prompt(prompt)}]

    def stream_messages(
        self, messages: Sequence[Message], *, on_end: OnEnd = None, **generation: Any
    ) -> Generation:
        """Start to answer a conversation; as `stream`, for those who keep the messages."""
        self._require_open()
        asked = merged(generation, stop=self.parameters.get("stop_strings"))
        parameters, seed = seeded(asked, self.parameters)
        config = self._pipeline.configure(parameters)
        task = GenerationTask(self._tokens(messages, config), config, seed=seed)
        answer = Generation(task, self, messages, on_end)
        self._submit(task)
        return answer

    def render(self, messages: Sequence[Message]) -> str:
        """Return the text that the model sees; refused as by `stream`."""
        return self._template.rendered(messages).text

    def token_count(self, text: str) -> int | None:
        """Return how many tokens a text of the model is; None once the model was closed."""
        with self._lock:
            if self._closed.is_set():
                return None
            return self._pipeline.encode(text, add_special_tokens=False).count if text else 0

    def warm_up(self) -> None:
        """Generate one token, so that the first answer is as quick as the second."""
        tokens = self._pipeline.encode("warm", add_special_tokens=False)
        config = self._pipeline.configure({"max_new_tokens": 1, "do_sample": False})
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
        self._pipeline.close()

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Runner {self.recipe.name}:{self.variant} on {self.device}>"

    def _require_open(self) -> None:
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
            self._require_open()
            before = self._last

            def run() -> None:
                if before is not None:
                    before.join()
                task.run(self._pipeline, self._closed)

            self._last = threading.Thread(target=run, name="ovrecipe-generate")
            self._last.start()

    def _tokens(self, messages: Sequence[Message], config: Any) -> Tokens:
        rendered = self._template.rendered(messages)
        added = self._template.settings.add_special_tokens
        tokens = self._pipeline.encode(rendered.text, add_special_tokens=added, cuts=rendered.cuts)
        bos = self._pipeline.bos_token_id
        if added and bos is not None and tokens.first == (bos, bos):
            # A second BOS makes answers worse and nothing says so.
            raise PromptRefused(
                f"{self.recipe.name}: the prompt would begin with BOS twice: the template writes "
                "it, and prompt.add_special_tokens adds it",
                remedy="set prompt.add_special_tokens to false in the recipe, and build it",
            )
        self._refuse_what_does_not_fit(tokens, config)
        return tokens

    def _refuse_what_does_not_fit(self, tokens: Tokens, config: Any) -> None:
        """Beyond its positions a model writes nonsense; nobody is cut off without knowing."""
        if self._context_length is None:
            return
        room = self._context_length - tokens.count
        wanted = self._pipeline.max_new_tokens(config, tokens.count)
        if room <= 0 or wanted > room:
            less = f", or ask for at most {room} with max_new_tokens" if room > 0 else ""
            raise PromptRefused(
                f"the prompt has {tokens.count} tokens and the answer may have {wanted}, more than "
                f"the {self._context_length} positions of {self.recipe.name}",
                remedy=f"shorten the prompt or the conversation{less}",
            )
