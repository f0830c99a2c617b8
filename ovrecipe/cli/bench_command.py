"""`ovrecipe bench`: how fast variants answer, on which device, and what became slower."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.output import AsJson, announce, status
from ovrecipe.cli.session import session_of
from ovrecipe.wording import counted, perhaps

if TYPE_CHECKING:
    from ovrecipe.cli.session import Session
    from ovrecipe.measure.history import History
    from ovrecipe.measure.speed import Settings
    from ovrecipe.measure.turns import Turn


def command(
    ctx: typer.Context,
    targets: Annotated[
        list[str],
        recipe_argument("NAME[:VARIANT]...", "What to measure; a bare NAME is all that is built."),
    ],
    *,
    prompt_tokens: Annotated[
        str, Option(help="Lengths of prompts, in tokens, for the time to the first token.")
    ] = "32,512",
    batch: Annotated[
        str, Option(help="How many prompts at once, for tokens a second; '' measures none.")
    ] = "1,4",
    max_new_tokens: Annotated[int, Option(min=2, help="Tokens of each answer, exactly.")] = 64,
    repeats: Annotated[int, Option(min=1, help="Runs of each model, each in a new process.")] = 5,
    warm_up: Annotated[
        int, Option(min=0, help="Answers before each figure that do not count; 0 measures cold.")
    ] = 1,
    device: Annotated[
        list[str] | None, Option(help="See 'ovrecipe devices'; several may be given.")
    ] = None,
    peer: Annotated[
        list[str] | None,
        Option(help="Also measure llama-cpp (on the recipe's GGUF) or optimum (on the variants)."),
    ] = None,
    again: Annotated[
        bool, Option("--again", help="Measure anew what the history has already.")
    ] = False,
    compare: Annotated[
        bool,
        Option("--compare", help="Compare with the last and the best record; 8 if slower."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure load time, first token, time a token, tokens a second and memory of variants.

    Models take turns, each run in a process of its own; figures are medians with the median
    absolute deviation. Runs are kept in bench.sqlite: Ctrl-C loses none that is finished, and the
    same command goes on with what is missing.

    Example: ovrecipe bench smollm2-135m --repeats 3

    After an upgrade: ovrecipe bench smollm2-135m:int4 --compare
    """
    from ovrecipe.cli.bench_report import row_of, show
    from ovrecipe.measure import history as records
    from ovrecipe.measure.speed import Settings
    from ovrecipe.measure.subject import machine_name
    from ovrecipe.measure.targets import subjects_of
    from ovrecipe.measure.turns import missing_turns
    from ovrecipe.run.genai import check_device, list_devices

    session = session_of(ctx)
    lengths = _numbers(prompt_tokens, "--prompt-tokens")
    settings = Settings(
        lengths, _numbers(batch, "--batch", may_be_empty=True), max_new_tokens, warm_up
    )
    default = session.defaults.device
    wanted_devices = tuple(dict.fromkeys(device or [default.value if default else "CPU"]))
    devices = list_devices()
    for name in wanted_devices:
        check_device(name, [found.name for found in devices])
    subjects = subjects_of(
        targets,
        settings,
        project=session.project,
        read=session.recipe,
        devices=wanted_devices,
        peers=_peers(peer or ()),
    )
    machine = machine_name(devices)
    with records.opened(session.project.history_path, machine) as history:
        turns = missing_turns(subjects, settings, repeats=repeats, history=history, again=again)
        if not turns:
            announce("nothing to measure: the history has it; --again measures anew")
        _measure(session, turns, settings, history)
        rows = [row_of(subject, settings, history) for subject in subjects]
    show(rows, settings, machine, compare=compare, as_json=as_json)


def _numbers(text: str, option: str, *, may_be_empty: bool = False) -> tuple[int, ...]:
    """Return the numbers of a list as `32,512`, each once, in rising order."""
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if not all(word.isdecimal() and int(word) for word in words) or not (words or may_be_empty):
        message = f"{text!r} is no list of numbers above 0, as 32,512"
        raise typer.BadParameter(message, param_hint=option)
    return tuple(sorted(set(map(int, words))))


def _peers(names: Sequence[str]) -> tuple[str, ...]:
    from ovrecipe.measure.peers import PEERS, check_installed

    for name in names:
        if name not in PEERS:
            known = f"there are {' and '.join(PEERS)}{perhaps(name, PEERS)}"
            raise typer.BadParameter(f"no peer is called {name!r}; {known}", param_hint="--peer")
        check_installed(name)
    return tuple(dict.fromkeys(names))


def _measure(session: Session, turns: Sequence[Turn], settings: Settings, history: History) -> None:
    """Make the runs that are missing, and say how far it is."""
    from ovrecipe.cli.progress import clock_face
    from ovrecipe.measure.timing import timed
    from ovrecipe.measure.turns import take_turns

    began, done = time.monotonic(), 0
    # Each run loads the model anew and has the same to say of it.
    announce_once = cache(announce)
    with status("measuring") as shown:

        def measure(turn: Turn) -> Mapping[str, float]:
            def progress(message: str) -> None:
                left = (time.monotonic() - began) / done * (len(turns) - done) if done else None
                more = "" if left is None else f", about {clock_face(left)} left"
                shown.update(
                    f"run {done + 1} of {len(turns)}: {turn.subject.title}: {message}{more}"
                )

            return timed(
                turn.subject,
                settings,
                seed=turn.seed,
                env=session.env,
                plugin_options=session.plugin_options,
                progress=progress,
                announce=announce_once,
            )

        try:
            for turn in take_turns(turns, settings, history=history, measure=measure):
                done += 1
                if not sys.stderr.isatty():
                    announce(f"{done} of {len(turns)}: {turn.subject.title}")
        except KeyboardInterrupt:
            kept = f"{counted(done, 'run')} of {len(turns)} kept"
            announce(f"stopped; {kept}, the same command goes on")
            raise
