"""Servers with the real model, each in a process of its own, and clients of others' making."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import psutil
import pytest

MODEL = "smollm2-135m:int4"
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

    def http(self) -> httpx.Client:
        """Return a client that sends what it is told."""
        return httpx.Client(base_url=self.url, timeout=HANGS_SECONDS)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def serve(smollm2_project) -> Iterator[Callable[..., Served]]:
    """Start servers: `serve("--max-waiting", "1", KEY="...")`."""
    started: list[Served] = []

    def start(*options: str, **env: str) -> Served:
        own = {
            "OVRECIPE_STORE": str(smollm2_project.store_dir),
            "OVRECIPE_CONFIG": os.devnull,
            "OVRECIPE_DEVICE": "",
        }
        command = [Path(sys.executable).with_name("ovrecipe"), "--project"]
        command += [str(smollm2_project.root), "serve", *(options or (MODEL,)), "--port", "0"]
        process = subprocess.Popen(
            command,
            env={**smollm2_project.env, **own, **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        said: list[str] = []
        while not (address := re.search(r"at (http://\S+)", "".join(said[-1:]))):
            said.append(process.stderr.readline())
            assert said[-1], said
        started.append(Served(address[1], process, said))
        return started[-1]

    yield start
    for served in started:
        for client in served.clients.values():
            client.close()
        served.process.terminate()
        served.process.communicate()


@pytest.fixture(scope="session")
def server(serve) -> Served:
    """The server that most tests share."""
    return serve()


@pytest.fixture(scope="session")
def client(server) -> openai.OpenAI:
    """OpenAI's client of it."""
    return server.client()
