"""The prompt that the gates ask the model with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ovrecipe.run.prompt import prompt_template

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.run.chat_template import Message

PROBE = "What is the capital of France?"
#: Templates that print the date get this one, so that a gate's result does not depend on the day.
PROBE_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def probe_prompt(recipe: Recipe, model_dir: Path) -> str:
    """Return the recipe's prompt for one fixed instruction, as `rendered` does."""
    return rendered(recipe, model_dir, PROBE)


def rendered(recipe: Recipe, model_dir: Path, instruction: str) -> str:
    """Return the recipe's prompt for an instruction, on a fixed day.

    Raises:
        PromptRefused: neither the recipe nor the checkpoint says how a prompt is written.
    """
    messages: list[Message] = []
    if recipe.prompt.system:
        messages.append({"role": "system", "content": recipe.prompt.system})
    messages.append({"role": "user", "content": instruction})
    return prompt_template(recipe, model_dir, clock=lambda: PROBE_TIME).render(messages)
