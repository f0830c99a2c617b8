"""What a recipe lets answer beside its model: a draft model, prompt lookup, LoRA adapters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ovrecipe.recipe.project import PATTERN
from ovrecipe.recipe.sections import Objection, Section, Text, key

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe


class Draft(Section):
    """A smaller model that writes ahead; the model itself keeps what it would have written too."""

    recipe: Text = Field(description="the draft model, `NAME:VARIANT`")
    num_assistant_tokens: Annotated[int, Field(gt=0, le=100)] = key(
        "tokens that it writes ahead", 5
    )

    def objections(self) -> Iterator[Objection]:
        """Yield what names no variant."""
        if not re.fullmatch(rf"{PATTERN}:{PATTERN}", self.recipe):
            yield Objection(("recipe",), f"must be NAME:VARIANT, got '{self.recipe}'")


class Adapter(Section):
    """A LoRA adapter that the model can answer with."""

    path: Text = Field(
        description="a `.safetensors` file, or PEFT's folder, relative to the recipe"
    )
    alpha: float | None = key(
        "what it is multiplied by; `lora_alpha / r` of PEFT's `adapter_config.json`, else 1"
    )
    always: bool = key("answer with it unless a request names another", False)


def assistant_objections(recipe: Recipe) -> Iterator[Objection]:
    """Yield what of a recipe's assistants names nothing, or does not go together."""
    for variant in recipe.variants:
        yield from _draft_objections(recipe, variant)
    always = [name for name, adapter in recipe.adapters.items() if adapter.always]
    for name in always[1:]:
        reason = f"'{always[0]}' is always used already; one at a time"
        yield Objection(("adapters", name, "always"), reason)


def _draft_objections(recipe: Recipe, name: str) -> Iterator[Objection]:
    draft, own = recipe.draft_of(name), recipe.variants[name].draft
    where = () if own is None else ("variants", name)
    if own is not None and own.recipe == f"{recipe.name}:{name}":
        yield Objection((*where, "draft"), "a model cannot write ahead of itself")
    if draft is None:
        return
    of, _, variant = draft.recipe.partition(":")
    if of == recipe.name and variant not in recipe.variants:
        yield Objection((*where, "draft", "recipe"), f"there is no variant '{variant}'")
    if recipe.generation_of(name).samples:
        reason = "GenAI fails to sample beside a draft model; add generation: {do_sample: false}"
        yield Objection((*where, "draft"), reason)
    if recipe.prompt_lookup_of(name):
        place = () if recipe.prompt_lookup else ("variants", name)
        reason = f"stands beside a draft model ({draft.recipe}); keep one of the two"
        yield Objection((*place, "prompt_lookup"), reason)
