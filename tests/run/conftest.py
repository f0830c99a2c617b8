"""The real model, loaded once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import ovrecipe
from ovrecipe.recipe.project import Project


@pytest.fixture(scope="session")
def smollm2(smollm2_project: Project) -> Iterator[ovrecipe.Runner]:
    """SmolLM2 in INT4 on the CPU."""
    with ovrecipe.load("smollm2-135m:int4", project=smollm2_project, warm_up=True) as model:
        yield model
