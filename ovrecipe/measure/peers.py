"""Other programs that run the same model, measured beside ovrecipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from ovrecipe.errors import RunError
from ovrecipe.measure.engines import Engine, Host, Ids, Times, check_count, times_of
from ovrecipe.measure.subject import Subject, usable_cores
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import split_target
from ovrecipe.run.artifact import find_artifact

#: The peer that runs the recipe's source, not its variants.
LLAMA_CPP = "llama-cpp"


class Peer(NamedTuple):
    """Another program for the same model, and what installs it."""

    module: str
    install: str
    packages: tuple[str, ...]
    open: Callable[[Subject, Host], Engine]


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
        from transformers import GenerationConfig

        began = time.perf_counter()
        self._model = load()
        self.load_time_ms = (time.perf_counter() - began) * 1000
        # What is not asked for is taken from the model's own: its end tokens, its stop texts.
        self._model.generation_config = GenerationConfig()
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
    name, variant = split_target(subject.target)
    artifact = find_artifact(host.project, load_recipe(host.project, name), variant)

    from optimum.intel import OVModelForCausalLM

    load = OVModelForCausalLM.from_pretrained
    return Torchlike(partial(load, artifact.model_dir, device=subject.device))


#: Names of `--peer`.
PEERS = {
    LLAMA_CPP: Peer("llama_cpp", "pip install llama-cpp-python", ("llama-cpp-python",), LlamaCpp),
    "optimum": Peer(
        "optimum.intel",
        "pip install 'ovrecipe[build]'",
        ("optimum-intel", "transformers", "torch", "openvino"),
        _optimum,
    ),
}


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
