"""Servers with the real model, each in a process of its own, and clients of others' making."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openai
import psutil
import pytest

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project

# Tiny checkpoints are those of the repository's own tests; at the end, for this folder is first.
sys.path.append(str(Path(__file__).parents[3]))

MODEL = "smollm2-135m:int4"
#: A model with an adapter that is always on and another one, an embedder and a reranker.
TWIN, BERT, CROSS = "twin:fp16", "bert:int8", "cross:int8"
KEY = "a-key-of-the-tests"
#: Only so that a test of a server that does not end does end.
HANGS_SECONDS = 120


@dataclass
class Served:
    """A server that runs: where, its process, and what it said."""

    url: str
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    clients: dict[str, openai.OpenAI] = field(default_factory=dict)

    @property
    def engine(self) -> psutil.Process:
        """The process of the engine."""
        (found,) = psutil.Process(self.process.pid).children()
        return found

    def client(self, api_key: str = KEY) -> openai.OpenAI:
        """Return OpenAI's client of it, which tries nothing twice."""
        if api_key not in self.clients:
            self.clients[api_key] = openai.OpenAI(
                base_url=f"{self.url}/v1", api_key=api_key, max_retries=0
            )
        return self.clients[api_key]

    def states(self) -> dict[str, str]:
        """Return which models are loaded."""
        return httpx.get(f"{self.url}/health").json()["models"]

    def http(self) -> httpx.Client:
        """Return a client that sends what it is told."""
        return httpx.Client(base_url=self.url, timeout=HANGS_SECONDS)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def serve(request) -> Iterator[Callable[..., Served]]:
    """Start servers: `serve("--max-waiting", "1", KEY="...")`, of the real model unless told."""
    started: list[Served] = []

    def start(*options: str, project: Project | None = None, **env: str) -> Served:
        of = project or request.getfixturevalue("smollm2_project")
        own = {
            "OVRECIPE_PROJECT": str(of.root),
            "OVRECIPE_STORE": str(of.store_dir),
            "OVRECIPE_CONFIG": os.devnull,
            "OVRECIPE_DEVICE": "",
        }
        command = [Path(sys.executable).with_name("ovrecipe"), "serve"]
        process = subprocess.Popen(
            [*command, *(options or (MODEL,)), "--port", "0"],
            env={**of.env, **own, **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        said: list[str] = []
        started.append(Served("", process, said))
        while not (address := re.search(r"at (http://\S+)", "".join(said[-1:]))):
            said.append(process.stderr.readline())
            assert said[-1], said
        started[-1].url = address[1]
        return started[-1]

    yield start
    for served in started:
        for client in served.clients.values():
            client.close()
        served.process.terminate()
        served.process.communicate()


@pytest.fixture(scope="session")
def tiny_project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project with TWIN, BERT and CROSS; what they are built of is the same each time."""
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.events import Lines
    from ovrecipe.build.run import Target, try_to_build
    from ovrecipe.recipe.project import find_project
    from tests.build.making import write_recipe
    from tests.twins import make_checkpoint
    from tests.vectors.making import make_bert, write_sentence_files

    root = tmp_path_factory.mktemp("tiny")
    recipes = root / "recipes"
    make_checkpoint(recipes / "twin-checkpoint", "llama")
    make_bert(recipes / "bert-checkpoint")
    prompts = {"prompts": {"query": "find: ", "passage": ""}}
    write_sentence_files(recipes / "bert-checkpoint", config_sentence_transformers=prompts)
    make_bert(recipes / "cross-checkpoint", labels=1)
    write_adapter(recipes / "loud.safetensors")
    adapters = {
        "loud": {"path": "loud.safetensors", "always": True},
        "louder": {"path": "loud.safetensors", "alpha": 2.0},
    }
    store = request.config.cache.mkdir("ovrecipe-tiny-store")
    project = find_project(root, {**os.environ, "OVRECIPE_STORE": str(store)})
    recipe = {"variants": {"fp16": {}}, "adapters": adapters}
    write_recipe(project, "twin", {"model": {"id": "./twin-checkpoint"}, **recipe})
    for name, task in (("bert", "text-embedding"), ("cross", "text-rerank")):
        recipe = {"model": {"id": f"./{name}-checkpoint"}, "variants": {"int8": {}}}
        write_recipe(project, name, {"task": task, **recipe})
    targets = [Target(*target.split(":")) for target in (TWIN, BERT, CROSS)]
    report = try_to_build(BuildContext(project), targets, watch=Lines(io.StringIO()))
    report.check_success()
    return project


def write_adapter(path: Path, size: int = 64) -> None:
    """Write a random adapter of the tiny Llama's queries, as PEFT names its tensors."""
    import numpy as np
    from safetensors.numpy import save_file

    rng, rank = np.random.default_rng(1), 4
    tensors = {}
    for layer in range(2):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        for side, shape in (("lora_A", (rank, size)), ("lora_B", (size, rank))):
            values = rng.standard_normal(shape, np.float32) * np.float32(0.5)
            tensors[f"{name}.{side}.weight"] = values
    save_file(tensors, path)


@pytest.fixture(scope="session")
def tiny(serve, tiny_project) -> Served:
    """A server of all that the tiny project has."""
    return serve(TWIN, BERT, CROSS, "--max-body-mb", "1", project=tiny_project)


@pytest.fixture(scope="session")
def server(serve) -> Served:
    """The server that most tests share."""
    return serve()


@pytest.fixture(scope="session")
def client(server) -> openai.OpenAI:
    """OpenAI's client of it."""
    return server.client()
