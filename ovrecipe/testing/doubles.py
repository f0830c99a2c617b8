"""A model without weights, for tests of frontends that hold the whole conversation."""

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ovrecipe.errors import GenerationParameterRefused
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import Console, Frontend, ShownGeneration
from ovrecipe.run.pipeline import Ended, OnText, Tokens
from ovrecipe.run.prompt import ChatTemplate
from ovrecipe.run.runner import Chat, Runner, Variants
from ovrecipe.types import FinishReason, Metrics

METRICS = Metrics(ttft_ms=20.0, tpot_ms=7.0, throughput=142.0, load_time_ms=900.0)


@dataclass
class FakePipeline:
    """Says `pieces`, one a token, for every prompt; a token of a prompt is one character.

    With `gate` each piece waits for a `release()` of the semaphore, so a test decides when text
    comes and never sleeps. `fail` is raised after the pieces. `prompts` and `configs` record what
    was asked.
    """

    pieces: Sequence[str] = ("The ", "answer", ".")
    device: str = "FAKE"
    bos_token_id: int | None = None
    gate: threading.Semaphore | None = None
    fail: BaseException | None = None
    prompts: list[str] = field(default_factory=list)
    configs: list[dict[str, Any]] = field(default_factory=list)
    #: Generations that run at the same time; more than one would be a defect of the runner.
    most_at_once: int = 0
    closed: bool = False
    _at_once: int = 0

    def encode(self, text: str, *, add_special_tokens: bool, cuts: Sequence[int] = ()) -> Tokens:  # noqa: ARG002
        """Return one token a character, which no cut divides, and BOS as the first if wanted."""
        first = [self.bos_token_id] if add_special_tokens and self.bos_token_id is not None else []
        ids = [*first, *map(ord, text)]
        return Tokens(count=len(ids), ids=text, first=tuple(ids[:2]))

    def tokens_of(self, ids: Sequence[int]) -> Tokens:
        """Return these tokens, each of which is a character."""
        return Tokens(count=len(ids), ids="".join(map(chr, ids)), first=tuple(ids[:2]))

    def configure(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters.

        Raises:
            GenerationParameterRefused: of `unknown`, which stands for any that GenAI has not.
        """
        if "unknown" in parameters:
            raise GenerationParameterRefused("unknown: the installed GenAI has no such parameter")
        return dict(parameters)

    def max_new_tokens(self, config: Any, prompt_tokens: int) -> int:  # noqa: ARG002
        """Return `max_new_tokens`, or as many as there are pieces."""
        return int(config.get("max_new_tokens", len(self.pieces)))

    def generate(self, tokens: Tokens, config: Any, on_text: OnText) -> Ended:
        """Say the pieces until told to stop.

        Raises:
            BaseException: `fail`, behind them.
        """
        self.prompts.append(tokens.ids)
        self.configs.append(config)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        limit = self.max_new_tokens(config, 0)
        try:
            for count, piece in enumerate(self.pieces[:limit], start=1):
                if self.gate is not None:
                    self.gate.acquire()
                if not on_text(piece):
                    return Ended("cancelled", count, METRICS)
            if self.fail is not None:
                raise self.fail
        finally:
            self._at_once -= 1
        cut = limit < len(self.pieces)
        reason: FinishReason = "length" if cut else "stop"
        return Ended(reason, min(limit, len(self.pieces)), METRICS, by_the_model=not cut)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


class Shown(NamedTuple):
    """What a frontend wrote to its two streams."""

    out: str
    err: str


def shown(
    frontend: Frontend, generation: ShownGeneration | None = None, *, stats: bool = False
) -> Shown:
    """Return what a frontend writes for an answer, as of `fake_chat(pipeline).stream(prompt)`."""
    out, err = io.StringIO(), io.StringIO()
    answer = generation or fake_chat().stream("What is it?")
    frontend.show(answer, Console(out=out, err=err, stats=stats))
    return Shown(out.getvalue(), err.getvalue())


#: `User: ...` and a new line for each prompt, an answer and a new line behind it.
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'user' %}User: {% endif %}"
    "{{ message.content }}{{ '\n' }}{% endfor %}"
)


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
    recipe, template = sample_recipe(variants=("fp16", *makers)), ChatTemplate(TEMPLATE)
    variants = Variants(
        lambda: dict.fromkeys(makers, 86_000_000), lambda name: runner(name, makers[name]())
    )

    def runner(name: str, pipeline: FakePipeline) -> Runner:
        return Runner(pipeline, recipe=recipe, variant=name, template=template, variants=variants)

    return runner("int4", first).chat()
