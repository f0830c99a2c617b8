"""Peers are asked for the same, and give exactly that."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.measure.engines import Host
from ovrecipe.measure.peers import LLAMA_CPP, PEERS, Torchlike
from ovrecipe.measure.subject import Subject, usable_cores
from ovrecipe.recipe.project import Project
from tests.twins import make_checkpoint

#: As much of llama-cpp-python as is called; it says what it was told, in the order of the calls.
BINDING = """
class Llama:
    told = []

    def __init__(self, **settings):
        self.told.append(settings)

    def n_vocab(self):
        return 100

    def reset(self):
        self.told.append("reset")

    def eval(self, tokens):
        self.told.append(tokens)

    def sample(self, temp):
        self.told.append(temp)
        return 7
"""


def test_llama_cpp_reads_the_prompt_once_and_each_token_after_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an empty cache, greedily, on all cores that we may use."""
    binding = ModuleType("llama_cpp")
    exec(BINDING, vars(binding))
    monkeypatch.setitem(sys.modules, "llama_cpp", binding)
    subject = Subject("tiny", "a" * 64, "CPU", LLAMA_CPP, {}, "tiny.gguf")
    host = Host(project, load_plugins(env={}), print, positions=96)
    engine = PEERS[LLAMA_CPP].open(subject, host)
    assert engine.vocabulary == 100
    engine.answer([1, 2, 3], 3)
    [settings, *calls] = binding.Llama.told
    assert calls == ["reset", [1, 2, 3], 0.0, [7], 0.0, [7], 0.0]
    assert (settings["model_path"], settings["n_ctx"]) == ("tiny.gguf", 96)
    assert settings["n_threads"] == settings["n_threads_batch"] == usable_cores()
    assert engine.throughput([[1], [2]], 3) is None
    assert (engine.throughput([[1]], 3) or 0) > 0


@pytest.mark.model
def test_answers_are_as_long_as_asked_whatever_the_model_would_end_with(tmp_path: Path) -> None:
    """A model's own end tokens and stop texts would cut them, and make them look fast."""
    from transformers import AutoModelForCausalLM

    checkpoint_dir = make_checkpoint(tmp_path / "twin", "qwen2", dtype="float32")
    path = checkpoint_dir / "generation_config.json"
    own = {"eos_token_id": list(range(600)), "stop_strings": ["a"], "max_length": 20}
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    engine = Torchlike(lambda: AutoModelForCausalLM.from_pretrained(checkpoint_dir))
    times = engine.answer([1, 2, 3, 4], 24)
    assert times.ttft_ms > 0
    assert times.tpot_ms > 0
    assert engine.throughput([[1, 2, 3, 4], [5, 6, 7, 8]], 24) > 0
