"""What docs/store.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.store.making import key_of

if TYPE_CHECKING:
    from ovrecipe.store.store import Store

DOCUMENT = Path(__file__).parents[2] / "docs" / "store.md"


def test_the_example_publishes_an_artifact(store: Store) -> None:
    """It is the first thing that the author of a stage copies."""
    [example] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    exec(example, {"store": store, "key": key_of("weights")})
    manifest = store.manifest(key_of("weights"))
    assert (manifest.tools, manifest.facts) == ({"nncf": "3.4.0"}, {"layers": 30})
