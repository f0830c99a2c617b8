"""The chat with the real small model."""

from __future__ import annotations

import pytest

import ovrecipe

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


def test_a_real_model_answers_is_stopped_and_switched(at_the_screen, smollm2_project):
    """Once through everything that needs GenAI."""
    model = ovrecipe.load("smollm2-135m:int4", project=smollm2_project)
    chat = model.chat(greedy=True)

    async def steps(user):
        await user.asks("What is the capital of France?")
        await user.sees_figures("tokens/s")
        assert "Paris" in user.answers[0]
        chat.generation.update(ignore_eos=True, max_new_tokens=4000)
        await user.asks("Tell me a story.")
        await user.sees(lambda: len(user.answers) == 2 and len(user.answers[1]) > 20)
        await user.pilot.press("escape")
        await user.sees_figures("stopped")
        chat.generation.update(ignore_eos=False, max_new_tokens=20)
        await user.pilot.press("ctrl+o", "up", "enter")
        await user.sees(lambda: user.model == "smollm2-135m:int8 on CPU")
        await user.asks("And of Italy?")
        await user.sees_figures("tokens/s", 2)

    at_the_screen(chat, steps)
    assert len(chat.history) == 6
