"""One run: a model is loaded in a process of its own, measured, and let go.

`python -m ovrecipe.measure.timing JOB` is that process; `timed` starts it and listens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from ovrecipe.errors import OvrecipeError, RunError
from ovrecipe.libraries import prepare_libraries
from ovrecipe.measure.engines import Engine, Host, Ours
from ovrecipe.measure.peers import PEERS
from ovrecipe.measure.speed import BATCH_PROMPT_TOKENS, Figure, Settings
from ovrecipe.measure.subject import Subject
from ovrecipe.processes import (
    Events,
    end_with_parent,
    heard_error,
    peak_memory_bytes,
    started,
)
from ovrecipe.recipe.project import find_project
from ovrecipe.types import Progress

#: How many tokens are generated to warm up: the first and one after it take different paths.
WARM_UP_TOKENS = 2
#: How often a process is looked at while it works, in seconds.
TICK = 0.1


def figures_of(
    engine: Engine, settings: Settings, *, seed: int, progress: Progress
) -> dict[str, float]:
    """Return one sample of every figure, by its key.

    No prompt begins as another one: GenAI keeps what it computed for a prompt, and would be
    measured at finding it again.
    """
    draw = Random(seed)  # noqa: S311 - prompts, not secrets

    def prompt(length: int) -> list[int]:
        return [draw.randrange(engine.vocabulary) for _ in range(length)]

    found = {Figure("load_time_ms"): engine.load_time_ms}
    for length in settings.prompt_tokens:
        progress(f"first token of {length}-token prompts")
        for _ in range(settings.warm_up):
            engine.answer(prompt(length), WARM_UP_TOKENS)
        times = engine.answer(prompt(length), settings.new_tokens)
        found[Figure("ttft_ms", length)] = times.ttft_ms
        found[Figure("tpot_ms", length)] = times.tpot_ms
    found[Figure("peak_memory_bytes")] = peak_memory_bytes()
    for size in settings.batch:
        progress(f"tokens a second in batches of {size}")

        def speed(new_tokens: int, size: int = size) -> float | None:
            prompts = [prompt(BATCH_PROMPT_TOKENS) for _ in range(size)]
            return engine.throughput(prompts, new_tokens)

        for _ in range(settings.warm_up):
            speed(WARM_UP_TOKENS)
        if (throughput := speed(settings.new_tokens)) is not None:
            found[Figure("throughput", size)] = throughput
    return {figure.key: value for figure, value in found.items()}


def timed(
    subject: Subject,
    settings: Settings,
    *,
    seed: int,
    env: Mapping[str, str],
    plugin_options: Sequence[str],
    progress: Callable[[str], None],
    announce: Callable[[str], None],
) -> dict[str, float]:
    """Measure a subject once, in a process of its own, and return its figures.

    Raises:
        OvrecipeError: what went wrong there, as it was raised.
        RunError: the process ended without a word; the message has the end of what it printed.
    """
    job = {
        "subject": asdict(subject),
        "settings": settings.as_json(),
        "seed": seed,
        "plugin_options": list(plugin_options),
    }
    command = [sys.executable, "-m", __name__, json.dumps(job)]
    last: dict[str, Any] = {}

    def hear(event: dict[str, Any]) -> None:
        match event.pop("event"):
            case "progress":
                progress(event["message"])
            case "announce":
                announce(event["message"])
            case _:
                last.update(event)

    with tempfile.TemporaryFile() as log:
        with started(command, env=env, log=log, hear=hear) as process:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TICK)
        log.seek(0)
        printed = log.read().decode(errors="replace")
    if "kind" in last:
        raise heard_error(subject.title, last, RunError)
    if "figures" not in last:
        tail = "\n  | ".join(["", *printed.splitlines()[-12:]])
        message = f"{subject.title}: its process ended with exit code {process.returncode}{tail}"
        raise RunError(message, remedy="-9 mostly means that memory ran out")
    return dict(last["figures"])


def _main(job: Mapping[str, Any], events: Events) -> int:
    """Measure, tell the figures, and return the exit code."""
    from ovrecipe.hooks.plugins import load_plugins

    subject, settings = Subject(**job["subject"]), Settings.of(job["settings"])
    env = dict(os.environ)
    try:
        host = Host(
            find_project(Path.cwd(), env),
            load_plugins(env=env, options=job["plugin_options"]),
            lambda message: events.send("announce", message=message),
            settings.longest(),
        )
        events("loading")
        opening = PEERS[subject.engine].open if subject.engine in PEERS else Ours
        engine = opening(subject, host)
        figures = figures_of(engine, settings, seed=job["seed"], progress=events)
    except OvrecipeError as error:
        events.send_error(error)
        return error.exit_code
    events.send("done", figures=figures)
    return 0


if __name__ == "__main__":
    to_parent = Events()
    end_with_parent()
    prepare_libraries(sys.modules, os.environ)
    code = _main(json.loads(sys.argv[1]), to_parent)
    sys.stderr.flush()
    # Tearing down torch and OpenVINO takes up to a second and changes nothing: all is said.
    os._exit(code)
