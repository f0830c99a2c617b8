"""Who answers while it is measured: ovrecipe as it runs, and its peers on the same model.

Every engine reads the same token ids, generates exactly as many tokens as it is asked for, takes
the likeliest each time, and starts from an empty cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ovrecipe.errors import OvrecipeError, RunError
from ovrecipe.json_files import read_object
from ovrecipe.measure.subject import Subject, usable_cores
from ovrecipe.recipe.project import Project
from ovrecipe.run.artifact import find_artifact

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins

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


class Peer(NamedTuple):
    """Another program for the same model, and what installs it."""

    module: str
    install: str
    packages: tuple[str, ...]
    open: Callable[[Subject, Host], Engine]


class Ours:
    """The pipeline of `ovrecipe run`, and GenAI's for several requests at once."""

    def __init__(self, subject: Subject, host: Host) -> None:
        import openvino_genai  # noqa: F401 - what a program imports once is no part of loading

        from ovrecipe.run.load import load

        began = time.perf_counter()
        self._runner = load(
            subject.target,
            subject.device,
            project=host.project,
            plugins=host.plugins,
            announce=host.announce,
        )
        self.load_time_ms = (time.perf_counter() - began) * 1000
        artifact = find_artifact(host.project, self._runner.recipe, self._runner.variant)
        self._model_dir = artifact.model_dir
        self._batching: Any = None
        self.vocabulary = vocabulary_of(artifact.model_dir)

    def answer(self, prompt: Ids, new_tokens: int) -> Times:
        """Generate as `ovrecipe run` does; the figures are GenAI's."""
        from numpy import ones
        from openvino import Tensor
        from openvino_genai import TokenizedInputs

        from ovrecipe.run.pipeline import Tokens

        mask = Tensor(ones((1, len(prompt)), "int64"))
        tokens = Tokens(len(prompt), TokenizedInputs(_row(prompt), mask))
        ended = self._runner.pipeline.generate(tokens, self._exactly(new_tokens), lambda _: True)
        check_count(ended.generated_tokens, new_tokens)
        assert ended.metrics.tpot_ms is not None, "two tokens and more have a time between them"
        return Times(ended.metrics.ttft_ms, ended.metrics.tpot_ms)

    def throughput(self, prompts: Sequence[Ids], new_tokens: int) -> float:
        """Generate for all at once by continuous batching; prompts are read within the time."""
        from openvino_genai import ContinuousBatchingPipeline, SchedulerConfig

        if self._batching is None:
            self._config = self._exactly(new_tokens)
            device = self._runner.device
            self._runner.close()
            try:
                self._batching = ContinuousBatchingPipeline(
                    self._model_dir, SchedulerConfig(), device
                )
            except RuntimeError as exc:
                from ovrecipe.run.genai import last_line

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
        return self._runner.pipeline.configure({**asked, "stop_strings": []})


def _row(prompt: Ids) -> Any:
    from numpy import array
    from openvino import Tensor

    return Tensor(array([prompt], "int64"))


class LlamaCpp:
    """llama.cpp on the GGUF that the recipe was made from, on all cores of the CPU."""

    def __init__(self, subject: Subject, host: Host) -> None:
        # Not imported by name: it is no dependency of ours, and mostly not there.
        binding = import_module(PEERS[subject.engine].module)
        cores = usable_cores()
        began = time.perf_counter()
        self._model = binding.Llama(
            model_path=str(subject.path),
            n_ctx=host.positions,
            n_threads=cores,
            n_threads_batch=cores,
            verbose=False,
        )
        self.load_time_ms = (time.perf_counter() - began) * 1000
        self.vocabulary = int(self._model.n_vocab())

    def answer(self, prompt: Ids, new_tokens: int) -> Times:
        """Read the prompt, then take the likeliest token again and again."""
        self._model.reset()
        stamps = [time.perf_counter()]
        tokens = list(prompt)
        for _ in range(new_tokens):
            self._model.eval(tokens)
            tokens = [self._model.sample(temp=0.0)]
            stamps.append(time.perf_counter())
        return times_of(stamps)

    def throughput(self, prompts: Sequence[Ids], new_tokens: int) -> float | None:
        """Its Python binding answers one prompt at a time."""
        if len(prompts) > 1:
            return None
        began = time.perf_counter()
        self.answer(prompts[0], new_tokens)
        return new_tokens / (time.perf_counter() - began)


class Torchlike:
    """A model with transformers' `generate`, whichever library computes it."""

    def __init__(self, load: Callable[[], Any]) -> None:
        began = time.perf_counter()
        self._model = load()
        self.load_time_ms = (time.perf_counter() - began) * 1000
        self.vocabulary = int(self._model.config.get_text_config().vocab_size)

    def answer(self, prompt: Ids, new_tokens: int) -> Times:
        """Generate with a streamer that only looks at the clock."""
        stamps = _Stamps()
        self._generate([prompt], new_tokens, streamer=stamps)
        # The first stamp is of the prompt itself, which is handed to the streamer as well.
        return times_of([stamps.began, *stamps.seen[1:]])

    def throughput(self, prompts: Sequence[Ids], new_tokens: int) -> float:
        """Generate for all prompts, which are equally long, as one batch."""
        began = time.perf_counter()
        self._generate(prompts, new_tokens)
        return len(prompts) * new_tokens / (time.perf_counter() - began)

    def _generate(self, prompts: Sequence[Ids], new_tokens: int, **more: Any) -> None:
        from torch import ones_like, tensor
        from transformers import GenerationConfig

        ids = tensor([list(prompt) for prompt in prompts])
        # Without an end token none of them ends early.
        config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, pad_token_id=0)
        found = self._model.generate(
            input_ids=ids, attention_mask=ones_like(ids), generation_config=config, **more
        )
        check_count(found.shape[1] - ids.shape[1], new_tokens)


class _Stamps:
    """A streamer that notes when something came."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.began = time.perf_counter()

    def put(self, _: Any) -> None:
        """Note the time."""
        self.seen.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is held back."""


def _optimum(subject: Subject, host: Host) -> Engine:
    from ovrecipe.recipe.load import load_recipe
    from ovrecipe.recipe.project import split_target

    name, variant = split_target(subject.target)
    artifact = find_artifact(host.project, load_recipe(host.project, name), variant)

    from optimum.intel import OVModelForCausalLM

    load = OVModelForCausalLM.from_pretrained
    return Torchlike(partial(load, artifact.model_dir, device=subject.device))


#: Names of `--peer`.
PEERS = {
    "llama-cpp": Peer("llama_cpp", "pip install llama-cpp-python", ("llama-cpp-python",), LlamaCpp),
    "optimum": Peer(
        "optimum.intel",
        "pip install 'ovrecipe[build]'",
        ("optimum-intel", "transformers", "torch", "openvino"),
        _optimum,
    ),
}


def open_engine(subject: Subject, host: Host) -> Engine:
    """Load what the subject names."""
    if subject.engine in PEERS:
        return PEERS[subject.engine].open(subject, host)
    return Ours(subject, host)


def check_installed(name: str) -> None:
    """Look for a peer's package, without importing it.

    Raises:
        RunError: it is not installed; the message has the command that installs it.
    """
    if not is_installed(PEERS[name].module):
        raise RunError(f"--peer {name}: it is not installed", remedy=PEERS[name].install)


def is_installed(module: str) -> bool:
    """Return whether a module, perhaps one inside a package, could be imported."""
    parent = module.rpartition(".")[0]
    return (not parent or is_installed(parent)) and find_spec(module) is not None


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
