"""A loaded model that answers instructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ovrecipe.errors import PromptRefused
from ovrecipe.run.chain import ChosenFilter, FilterChain
from ovrecipe.run.chat import Chat
from ovrecipe.run.generation import Generation, Job, JobQueue
from ovrecipe.run.parameters import merged
from ovrecipe.run.prompt import checked_instruction, checked_system

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.run.artifact import Variants
    from ovrecipe.run.chat_template import Message
    from ovrecipe.run.pipeline import GenerationResult, Pipeline, Tokens
    from ovrecipe.run.prompt import PromptTemplate


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
        template: PromptTemplate,
        filters: Sequence[ChosenFilter] = (),
        context_length: int | None = None,
        variants: Variants | None = None,
        observe: Callable[[Generation], None] | None = None,
    ) -> None:
        """Wrap a pipeline; `variants` is how another one of the recipe is loaded.

        `observe` is told every generation that has a result; it must not raise.
        """
        self.recipe = recipe
        self.variant = variant
        self.variants = variants
        self._observe = observe
        self._pipeline = pipeline
        self._template = template
        self._filters = tuple(filters)
        self._context_length = context_length
        self._jobs = JobQueue(pipeline)

    @property
    def device(self) -> str:
        """The device the model was loaded on."""
        return self._pipeline.device

    def stream(
        self, instruction: str, *, system: str | None = None, **generation: Any
    ) -> Generation:
        """Start to answer an instruction; iterate over what is returned.

        `system` replaces the recipe's. `generation` are GenAI's parameters by name, on top of
        the recipe's, and `greedy=True`.

        Raises:
            PromptRefused: the instruction is blank, not text, or too long for the model.
            GenerationParameterRefused: by name.
            RunError: the model was closed.
        """
        return self.stream_messages(self.conversation(instruction, system=system), **generation)

    def generate(
        self, instruction: str, *, system: str | None = None, **generation: Any
    ) -> GenerationResult:
        """Answer an instruction: the loop over `stream`, with its parameters and errors."""
        return _exhausted(self.stream(instruction, system=system, **generation))

    def chat(self, system: str | None = None, **generation: Any) -> Chat:
        """Return a conversation that remembers its turns; `generation` counts for all of them."""
        return Chat(self, system=system, generation=generation)

    def conversation(
        self, instruction: str, *, system: str | None = None, history: Sequence[Message] = ()
    ) -> list[Message]:
        """Return the messages that ask `instruction` after `history`."""
        told = system if system is not None else self.recipe.prompt.system
        first: list[Message] = [{"role": "system", "content": told}] if told else []
        checked_instruction(instruction)
        return [*first, *history, {"role": "user", "content": instruction}]

    def stream_messages(
        self,
        messages: Sequence[Message],
        *,
        on_end: Callable[[GenerationResult | None], None] | None = None,
        **generation: Any,
    ) -> Generation:
        """Start to answer a conversation; as `stream`, for those who keep the messages."""
        self._jobs.require_open()
        config = self._pipeline.configure(self._parameters(generation))
        job = Job(self._tokens(messages, config), config)

        def ended(result: GenerationResult | None) -> None:
            if on_end is not None:
                on_end(result)
            if self._observe is not None and result is not None:
                self._observe(started)

        started = Generation(
            job,
            chain=FilterChain(self._filters),
            device=self.device,
            messages=messages,
            recipe=self.recipe,
            variant=self.variant,
            on_end=ended,
        )
        self._jobs.submit(job)
        return started

    def render(self, messages: Sequence[Message]) -> str:
        """Return the text that the model sees.

        Raises:
            PromptRefused: the template refuses the conversation.
        """
        prompt = self._template.render(messages)
        for each in messages:
            if each["role"] == "system":
                checked_system(each["content"], prompt)
        return prompt

    def warm_up(self) -> None:
        """Generate one token, so that the first answer is as quick as the second."""
        tokens = self._pipeline.encode("warm", add_special_tokens=False)
        config = self._pipeline.configure({"max_new_tokens": 1, "do_sample": False})
        job = Job(tokens, config)
        self._jobs.submit(job)
        job.ended.wait()
        if job.error is not None:
            raise job.error

    def close(self) -> None:
        """Cancel what is running, wait until it has stopped, and free the model."""
        self._jobs.close()
        self._pipeline.close()

    def __enter__(self) -> Self:
        self._jobs.require_open()
        return self

    def __repr__(self) -> str:
        """Name the model and where it runs."""
        return f"<Runner {self.recipe.name}:{self.variant} on {self.device}>"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _parameters(self, call: dict[str, Any]) -> dict[str, Any]:
        recipe = self.recipe.generation_of(self.variant).given()
        return merged(recipe, call, stop=self.recipe.prompt.stop)

    def _tokens(self, messages: Sequence[Message], config: Any) -> Tokens:
        prompt = self.render(messages)
        tokens = self._pipeline.encode(
            prompt, add_special_tokens=self.recipe.prompt.add_special_tokens
        )
        self._refuse_doubled_bos(tokens)
        self._refuse_what_does_not_fit(tokens, config)
        return tokens

    def _refuse_doubled_bos(self, tokens: Tokens) -> None:
        """A second BOS makes answers worse and nothing says so."""
        bos = self._pipeline.bos_token_id
        added = self.recipe.prompt.add_special_tokens
        if added and bos is not None and tokens.first == (bos, bos):
            raise PromptRefused(
                f"{self.recipe.name}: the prompt would begin with BOS twice: the template writes "
                "it, and prompt.add_special_tokens adds it",
                remedy="set prompt.add_special_tokens to false in the recipe",
            )

    def _refuse_what_does_not_fit(self, tokens: Tokens, config: Any) -> None:
        """Beyond its positions a model writes nonsense; nobody is cut off without knowing."""
        if self._context_length is None:
            return
        room = self._context_length - tokens.count
        wanted = self._pipeline.max_new_tokens(config, tokens.count)
        if wanted <= room and room > 0:
            return
        remedy = "shorten the instruction or the conversation"
        if room > 0:
            remedy += f", or ask for at most {room} with max_new_tokens"
        raise PromptRefused(
            f"the prompt has {tokens.count} tokens and the answer may have {wanted}, more than "
            f"the {self._context_length} positions of {self.recipe.name}",
            remedy=remedy,
        )


def _exhausted(generation: Generation) -> GenerationResult:
    with generation:
        for _ in generation:
            pass
    return generation.result
