"""What docs/serving.md shows is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from ovrecipe.run.batch.lines import read_line
from ovrecipe.run.openai.requests import REFUSED, WITHOUT_EFFECT, ChatRequest
from tests.conftest import REPOSITORY
from tests.run.fakes import recipe, template_of

TEXT = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks(language):
    """Return the code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_each_line_that_it_shows_can_be_answered():
    """A reader copies them."""
    (text,) = blocks("json")
    for number, line in enumerate(text.splitlines(), start=1):
        read = read_line(line, number, template=template_of(recipe()), generation={}, own={})
        assert read.row is None


def test_every_field_of_a_request_is_documented():
    """One that is not does not exist for users."""
    section = TEXT.split("### What a request may say")[1].split("###")[0]
    named = set(re.findall(r"`([a-z_]+)[`.:]", section))
    fields = set(ChatRequest.model_fields) - {"model", "messages", "parallel_tool_calls"}
    assert fields <= named
    assert set(WITHOUT_EFFECT) <= named
    assert {"logit_bias", "echo", "best_of", "suffix"} <= named & set(REFUSED)


@pytest.mark.model
def test_the_python_example_answers(smollm2_project):
    """The last one, which needs no server."""
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[-1]],
        cwd=smollm2_project.root,
        env={**os.environ, "OVRECIPE_STORE": str(smollm2_project.store_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) >= 2
