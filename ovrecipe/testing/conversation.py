"""A model without weights, for tests of frontends that hold the whole conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.prompt import PlainTemplate
from ovrecipe.run.runner import Runner
from ovrecipe.run.variants import Variants
from ovrecipe.testing.pipeline import FakePipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovrecipe.run.chat import Chat

#: What a fake variant weighs.
SIZE_BYTES = 86_000_000


def fake_chat(
    pipeline: FakePipeline | None = None,
    *,
    others: Mapping[str, Callable[[], FakePipeline]] | None = None,
) -> Chat:
    """Return a conversation with a fake model, whose prompt is `User: ...` and a new line.

    `others` are variants beside `int4` to which it can switch; each makes its pipeline when it
    is loaded, and may raise instead. The recipe has a variant `fp16` too, which is not built.
    """
    first = pipeline or FakePipeline()
    makers = {"int4": lambda: FakePipeline(first.pieces), **(others or {})}
    return _runner(first, "int4", makers).chat()


def _runner(
    pipeline: FakePipeline, variant: str, makers: Mapping[str, Callable[[], FakePipeline]]
) -> Runner:
    return Runner(
        pipeline,
        recipe=_recipe("fp16", *makers),
        variant=variant,
        template=PlainTemplate("User: {instruction}\n"),
        variants=Variants(
            lambda: dict.fromkeys(makers, SIZE_BYTES),
            lambda name: _runner(makers[name](), name, makers),
        ),
    )


def _recipe(*variants: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "sample",
            "path": Path("sample.yaml"),
            "model": {"id": "example/model"},
            "variants": {each: {} for each in variants},
        }
    )
