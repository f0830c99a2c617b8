"""From what is asked to what a model is given: the tokens of the prompt, and a config.

The same for one prompt at a time (`runner`) and for many at once (`engine`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ovrecipe.errors import PromptRefused, PromptTooLong
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.parameters import form_of, merged, seeded
from ovrecipe.run.pipeline import Model, Tokens
from ovrecipe.run.prompt import ChatTemplate, Message, Rendered

#: A conversation, which the template renders; what it rendered; a text as it is, or its tokens.
Prompt: TypeAlias = "Sequence[Message] | Rendered | str | Sequence[int]"


class Asked(Protocol):
    """Who is asked: a model with what its artifact says."""

    recipe: Recipe
    template: ChatTemplate
    #: The artifact's own, of its generation_config.json.
    parameters: Mapping[str, Any]
    context_length: int | None

    @property
    def pipeline(self) -> Model:
        """The loaded model."""


@dataclass(frozen=True)
class Prepared:
    """A prompt and its parameters as the pipeline takes them."""

    tokens: Tokens
    config: Any
    seed: int | None
    max_new_tokens: int
    #: The parameter that the answer is held to, by its name; empty where none is.
    form: Mapping[str, Any] = field(default_factory=dict)


def prepare(model: Asked, prompt: Prompt, generation: Mapping[str, Any]) -> Prepared:
    """Return what is generated for a conversation, or for a text that is the prompt itself.

    Raises:
        PromptRefused: by the template, or the prompt is too long for the model.
        GenerationParameterRefused: by name.
    """
    asked = merged(generation, stop=model.parameters.get("stop_strings"))
    parameters, seed = seeded(asked, model.parameters)
    form = form_of(parameters, model.parameters)
    config = model.pipeline.configure({**parameters, **form})
    tokens = encoded(model, prompt)
    limit = model.pipeline.max_new_tokens(config, tokens.count)
    _check_room(model, tokens, limit)
    return Prepared(tokens, config, seed, limit, form)


def encoded(model: Asked, prompt: Prompt) -> Tokens:
    """Return the tokens of a conversation, rendered by the template, or of a text as it is.

    Raises:
        PromptRefused: by the template, or the tokenizer does not take it.
    """
    if isinstance(prompt, str):
        # Nobody wrote a beginning to it.
        return model.pipeline.encode(prompt, add_special_tokens=True)
    if ids := _ids(prompt):
        return model.pipeline.tokens_of(ids)
    given = prompt if isinstance(prompt, Rendered) else conversation_of(prompt)
    rendered = given if isinstance(given, Rendered) else model.template.rendered(given)
    added = model.template.settings.add_special_tokens
    tokens = model.pipeline.encode(rendered.text, add_special_tokens=added, cuts=rendered.cuts)
    bos = model.pipeline.bos_token_id
    if added and bos is not None and tokens.first == (bos, bos):
        # A second BOS makes answers worse and nothing says so.
        raise PromptRefused(
            f"{model.recipe.name}: the prompt would begin with BOS twice: the template writes "
            "it, and prompt.add_special_tokens adds it",
            remedy="set prompt.add_special_tokens to false in the recipe, and build it",
        )
    return tokens


def conversation_of(prompt: Prompt) -> Sequence[Message]:
    """Return the messages of a prompt; none of one that is no conversation."""
    if isinstance(prompt, str | Rendered):
        return ()
    return [message for message in prompt if isinstance(message, Mapping)]


def _ids(prompt: Sequence[Message] | Rendered | Sequence[int]) -> Sequence[int]:
    if isinstance(prompt, Rendered):
        return ()
    return [token for token in prompt if isinstance(token, int)]


def _check_room(model: Asked, tokens: Tokens, wanted: int) -> None:
    """Beyond its positions a model writes nonsense; nobody is cut off without knowing."""
    if model.context_length is None:
        return
    room = model.context_length - tokens.count
    if room <= 0 or wanted > room:
        less = f", or ask for at most {room} with max_new_tokens" if room > 0 else ""
        raise PromptTooLong(
            f"the prompt has {tokens.count} tokens and the answer may have {wanted}, more than "
            f"the {model.context_length} positions of {model.recipe.name}",
            remedy=f"shorten the prompt or the conversation{less}",
        )
