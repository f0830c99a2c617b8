"""A runner around a pipeline without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrecipe.build.stages.assemble import plain_to_jinja
from ovrecipe.errors import EngineFailed, RunError
from ovrecipe.hooks.loading import object_source
from ovrecipe.hooks.provided import Provided
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.chain import ChosenFilter
from ovrecipe.run.engine import Engine
from ovrecipe.run.pipeline import Generated, Tokens
from ovrecipe.run.prompt import ChatTemplate, PromptSettings
from ovrecipe.run.runner import Runner
from ovrecipe.testing import FakePipeline
from ovrecipe.version import package_version


def recipe(**sections: Any) -> Recipe:
    """Return a recipe with one int4 variant; sections replace its own."""
    return Recipe.model_validate(
        {
            "name": "fake",
            "path": Path("recipes/fake.yaml"),
            "model": {"id": "org/fake"},
            "prompt": {"template": "Q: {instruction}\nA:"},
            "variants": {"int4": {}},
            **sections,
        }
    )


def theirs() -> None:
    """Stand for a plugin."""


def plugin_filter(provider: Any) -> ChosenFilter:
    """Return a filter of a plugin, as a recipe chooses it."""
    return ChosenFilter(Provided(provider, "mine", object_source(theirs), {}, package_version))


def template_of(given: Recipe) -> ChatTemplate:
    """Return what a build makes of the recipe's plain template."""
    prompt = given.prompt
    text = plain_to_jinja(prompt.template or "{instruction}", system=prompt.system or "")
    settings = PromptSettings(
        add_special_tokens=prompt.add_special_tokens, system=prompt.system or ""
    )
    return ChatTemplate(text, settings=settings)


def runner(pipeline: FakePipeline | None = None, **options: Any) -> Runner:
    """Return a runner; `recipe` and all of Runner's own options may be given."""
    given = options.pop("recipe", None) or recipe()
    return Runner(
        pipeline or FakePipeline(),
        recipe=given,
        variant="int4",
        template=options.pop("template", None) or template_of(given),
        **options,
    )


@dataclass
class FakeAnswering:
    """Says a text, a character a step."""

    text: str
    limit: int
    read_ready: bool = False
    said: int = 0
    cancelled: bool = False

    @property
    def over(self) -> bool:
        return self.cancelled or self.said == min(len(self.text), self.limit)

    def read(self) -> Generated | None:
        if not self.read_ready:
            return None
        self.read_ready = False
        reason: Any = None
        if self.over:
            reason = "stop" if self.said == len(self.text) else "length"
        return Generated([ord(self.text[self.said - 1])], [-0.5], reason, None)

    def cancel(self) -> None:
        self.cancelled = True


class Config(dict):
    """Parameters of a request, and what an engine adds to them."""


class FakeBatching(FakePipeline):
    """Says `answer` to every prompt; a prompt with "poison" in it ends it for good.

    With `gate` each step waits for a `release()` of the semaphore. `most` is how many answers grew
    at the same time.
    """

    def __init__(self, answer: str = "yes", *, blocks: int = 100, **more: Any) -> None:
        super().__init__(**more)
        self.answer, self.blocks, self.block_size, self.most_at_once = answer, blocks, 4, 8
        self.live: list[tuple[str, FakeAnswering]] = []
        self.most = 0

    def configure(self, parameters: Any) -> Config:
        return Config(super().configure(parameters))

    def max_new_tokens(self, config: Any, prompt_tokens: int) -> int:
        return int(config.get("max_new_tokens", 8))

    def add(self, tokens: Tokens, config: Any) -> FakeAnswering:
        if "refused" in tokens.ids:
            raise RunError("GenAI does not take the request: no")
        answering = FakeAnswering(self.answer, self.max_new_tokens(config, 0))
        self.prompts.append(tokens.ids)
        self.configs.append(config)
        self.live.append((tokens.ids, answering))
        self.most = max(self.most, len(self.live))
        return answering

    def step(self) -> None:
        if self.gate is not None:
            self.gate.acquire()
        for prompt, answering in self.live:
            if "poison" in prompt:
                raise EngineFailed("the model failed on FAKE: poison")
            if not answering.over:
                answering.said += 1
                answering.read_ready = True
        self.live = [(prompt, one) for prompt, one in self.live if not one.over]

    def decode(self, rows: Sequence[Sequence[int]], *, special: bool = False) -> list[str]:
        return ["".join(map(chr, row)) for row in rows]


def engine(pipeline: FakeBatching | None = None, **options: Any) -> Engine:
    """Return an engine; `recipe` and all of Engine's own options may be given."""
    given = options.pop("recipe", None) or recipe()
    return Engine(
        pipeline or FakeBatching(),
        recipe=given,
        variant="int4",
        template=options.pop("template", None) or template_of(given),
        **options,
    )
