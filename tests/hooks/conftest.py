from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.hooks.listing import sample_recipe
from tests.hooks.installed import Site

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder of distributions that is on the import path."""
    made = Site(tmp_path / "site")
    sys.path.insert(0, str(made.root))
    yield made
    sys.path.remove(str(made.root))


@pytest.fixture
def recipe() -> Recipe:
    return sample_recipe()
