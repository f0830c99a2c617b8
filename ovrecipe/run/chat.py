"""A conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError, RunError
from ovrecipe.run.artifact import not_built

if TYPE_CHECKING:
    from ovrecipe.run.generation import Generation
    from ovrecipe.run.prompt import Message
    from ovrecipe.run.runner import Runner
    from ovrecipe.types import GenerationResult


class Chat:
    """Turns of a user and the model; every answer sees all of them.

    The history has what was shown: text behind the output filters, but for those that are for
    display only. A turn that fails leaves no trace, so it can be tried again. A cancelled turn is
    kept as far as it was shown ("go on" then means something), and dropped when nothing was.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        system: str | None = None,
        generation: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin with no turns; `generation` are parameters for every answer."""
        self.runner = runner
        self.system = system
        self.generation = dict(generation or {})
        self._history: list[Message] = []
        self._answering: Generation | None = None

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

        def remember(result: GenerationResult | None) -> None:
            answer, self._answering = self._answering, None
            if answer is None or result is None:
                return
            if result.text or result.finish_reason != "cancelled":
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
