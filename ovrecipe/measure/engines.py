"""Who answers while it is measured: what an engine is, and ovrecipe as it runs.

Every engine reads the same token ids, generates exactly as many tokens as it is asked for, takes
the likeliest each time, and starts from an empty cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ovrecipe.errors import OvrecipeError, RunError
from ovrecipe.json_files import read_object
from ovrecipe.measure.subject import Subject
from ovrecipe.recipe.project import Project
from ovrecipe.run.artifact import ONE_PROMPT, STEPS, Artifact, find_artifact
from ovrecipe.store.store import Store

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.run.pipeline import Pipeline

Ids = Sequence[int]


class Times(NamedTuple):
    """How long one answer took: to its first token, and for each one after it."""

    ttft_ms: float
    tpot_ms: float


class Engine(Protocol):
    """A loaded model; token ids are below `vocabulary`."""

    load_time_ms: float
    vocabulary: int

    def answer(self, prompt: Ids, new_tokens: int) -> Times:
        """Generate exactly so many tokens.

        Raises:
            RunError: it cannot, or came to another number.
        """

    def throughput(self, prompts: Sequence[Ids], new_tokens: int) -> float | None:
        """Return tokens a second over all prompts at once; None where it takes one at a time.

        `answer` is not called any more after the first call.
        """


class Host(NamedTuple):
    """Where an engine looks for what it loads."""

    project: Project
    plugins: Plugins
    announce: Callable[[str], None]
    #: The positions that a model needs room for.
    positions: int


class Ours:
    """The pipeline of `ovrecipe run`, and GenAI's for several requests at once."""

    def __init__(self, subject: Subject, host: Host) -> None:
        import openvino_genai  # noqa: F401 - what a program imports once is no part of loading

        opening = _open_named if subject.path is None else _open_unnamed
        began = time.perf_counter()
        self._pipeline, artifact = opening(subject, host)
        self.load_time_ms = (time.perf_counter() - began) * 1000
        self._batching: Any = None
        self._target, self._artifact, self._announce = subject.target, artifact, host.announce
        self.vocabulary = vocabulary_of(artifact.model_dir)

    def answer(self, prompt: Ids, new_tokens: int) -> Times:
        """Generate as `ovrecipe run` does; the figures are GenAI's."""
        from numpy import ones
        from openvino import Tensor
        from openvino_genai import TokenizedInputs

        from ovrecipe.run.pipeline import Tokens

        mask = Tensor(ones((1, len(prompt)), "int64"))
        tokens = Tokens(len(prompt), TokenizedInputs(_row(prompt), mask))
        ended = self._pipeline.generate(tokens, self._exactly(new_tokens), lambda _: True)
        check_count(ended.generated_tokens, new_tokens)
        assert ended.metrics.tpot_ms is not None, "two tokens and more have a time between them"
        return Times(ended.metrics.ttft_ms, ended.metrics.tpot_ms)

    def throughput(self, prompts: Sequence[Ids], new_tokens: int) -> float | None:
        """Generate for all at once by continuous batching; prompts are read within the time.

        There is no figure, and it is said, of a model that GenAI computes wrongly so.

        Raises:
            RunError: the device runs no batches.
        """
        from openvino_genai import ContinuousBatchingPipeline, SchedulerConfig

        backend = self._artifact.attention_backend()
        if backend in ONE_PROMPT:
            what = "OpenVINO GenAI" if backend == STEPS else "paged attention"
            self._announce(f"{self._target}: no batches, for {what} is wrong for it")
            return None
        if self._batching is None:
            self._config = self._exactly(new_tokens)
            device = self._pipeline.device
            self._pipeline.close()
            try:
                self._batching = ContinuousBatchingPipeline(
                    self._artifact.model_dir, SchedulerConfig(), device
                )
            except RuntimeError as exc:
                from ovrecipe.wording import last_line

                raise RunError(
                    f"batches cannot be run on {device}: {last_line(exc)}",
                    remedy="leave them out with --batch ''",
                ) from exc
        self._config.max_new_tokens = new_tokens
        inputs = [_row(prompt) for prompt in prompts]
        began = time.perf_counter()
        results = self._batching.generate(inputs, [self._config] * len(inputs))
        seconds = time.perf_counter() - began
        for result in results:
            check_count(len(result.m_generation_ids[0]), new_tokens)
        return len(prompts) * new_tokens / seconds

    def _exactly(self, new_tokens: int) -> Any:
        asked = {"max_new_tokens": new_tokens, "ignore_eos": True, "do_sample": False}
        return self._pipeline.configure({**asked, "stop_strings": []})


def _open_named(subject: Subject, host: Host) -> tuple[Pipeline, Artifact]:
    """Load what has a name as `ovrecipe run` does."""
    from ovrecipe.run.load import load

    runner = load(
        subject.target,
        subject.device,
        project=host.project,
        plugins=host.plugins,
        announce=host.announce,
    )
    artifact = find_artifact(host.project, runner.recipe, runner.variant)
    return runner.pipeline, artifact


def _open_unnamed(subject: Subject, host: Host) -> tuple[Pipeline, Artifact]:
    """Load an artifact of the store, in the same way but for what a name leads to."""
    from ovrecipe.run.load import open_artifact

    model_dir = Path(str(subject.path))
    cache_dir = Store(host.project.store_dir).cache_dir(model_dir.name)
    artifact = Artifact(subject.target.partition(":")[2], model_dir, cache_dir)
    pipeline = open_artifact(artifact, subject.device, properties={}, announce=host.announce)
    return pipeline, artifact


def _row(prompt: Ids) -> Any:
    from numpy import array
    from openvino import Tensor

    return Tensor(array([prompt], "int64"))


def check_count(came: int, asked: int) -> None:
    """Compare numbers of tokens; a figure of fewer would look better than it is.

    Raises:
        RunError: they differ.
    """
    if came != asked:
        raise RunError(f"{asked} tokens were asked for, and {came} came")


def times_of(stamps: Sequence[float]) -> Times:
    """Return the times of an answer: when it was asked for, then when each token came."""
    asked, first, *_, last = stamps
    return Times((first - asked) * 1000, (last - first) * 1000 / (len(stamps) - 2))


def vocabulary_of(model_dir: Path) -> int:
    """Return how many tokens a model's embedding has."""
    config = read_object(model_dir / "config.json", error=OvrecipeError)
    found = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if not isinstance(found, int):
        raise RunError(f"{model_dir / 'config.json'}: does not say vocab_size")
    return found
