"""`ovrecipe serve`: models behind OpenAI's interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.output import announce
from ovrecipe.cli.session import session_of
from ovrecipe.errors import OvrecipeError, ProjectError, RunError

if TYPE_CHECKING:
    from ovrecipe.cli.session import Session
    from ovrecipe.run.artifact import Artifact

LOOPBACK = "127.0.0.1"
KEYS = "OVRECIPE_API_KEYS"


def command(
    ctx: typer.Context,
    targets: Annotated[
        list[str],
        recipe_argument(
            "NAME[:VARIANT]...",
            "What to serve; these are the models' names. ./DIR is the folder of an export.",
        ),
    ],
    *,
    host: Annotated[
        str, Option(help="Address to listen on; another than this machine's needs a key.")
    ] = LOOPBACK,
    port: Annotated[int, Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    device: Annotated[
        str | None, Option(help="See 'ovrecipe devices'; CPU unless configured.")
    ] = None,
    api_keys_file: Annotated[
        Path | None,
        Option(help=f"Keys that clients must have, one a line; so does {KEYS}, with commas."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None, Option(help="A site whose pages may ask; repeatable, '*' is any.")
    ] = None,
    cache_gb: Annotated[int, Option(min=1, help="Memory of each model for answers, in GB.")] = 1,
    at_once: Annotated[int, Option(min=1, max=4096, help="Answers at once, at most.")] = 256,
    max_waiting: Annotated[
        int, Option(min=1, help="Requests that may wait; more are told to come back.")
    ] = 256,
    max_body_mb: Annotated[float, Option(min=0.001, help="Largest body of a request.")] = 4.0,
    timeout: Annotated[float, Option(min=1, help="Longest time for an answer, in seconds.")] = 600,
    drain_timeout: Annotated[
        float, Option(min=0, help="Time to finish answers when told to end, in seconds.")
    ] = 30,
    max_memory_gb: Annotated[
        float | None,
        Option(min=0.001, help="Memory of all models' processes; others are loaded when asked."),
    ] = None,
    max_loaded: Annotated[
        int | None, Option(min=1, help="Models in memory at once; others are loaded when asked.")
    ] = None,
    idle_unload: Annotated[
        float | None, Option(min=0.1, help="Let go of a model nobody asked for so many seconds.")
    ] = None,
) -> None:
    """Serve models with OpenAI's interface, and a page at /; Ctrl-C or SIGTERM ends it in order.

    Many answers grow at once. Each model runs in a process of its own, which is started again when
    it dies. A LoRA adapter of a recipe is the model NAME:VARIANT@ADAPTER. Recipes of embeddings and
    rerankers answer /v1/embeddings and /v1/rerank. Nobody but this machine can ask unless --host
    and a key say so.

    Example: ovrecipe serve smollm2-135m:int4

    Then: curl 127.0.0.1:8000/v1/models
    """
    from ovrecipe_serve.guard import LOOPBACK as LOCAL
    from ovrecipe_serve.guard import Limits

    session = session_of(ctx)
    keys = api_keys(api_keys_file, session.env.get(KEYS, ""))
    is_local = host in LOCAL
    if not is_local and not keys:
        raise typer.BadParameter(
            f"{host} is open to others, so it needs keys: --api-keys-file, or {KEYS}",
            param_hint="--host",
        )
    default = session.defaults.device
    on = device or (default.value if default else "CPU")
    jobs, facts = engine_jobs(
        session,
        targets,
        device=on,
        plugin_options=session.plugin_options,
        cache_gb=cache_gb,
        most_at_once=at_once,
        most_waiting=max_waiting,
    )
    limits = Limits(keys, LOCAL if is_local else (), int(max_body_mb * 1e6), timeout)
    kept = {
        "most_loaded": max_loaded,
        "most_bytes": None if max_memory_gb is None else int(max_memory_gb * 1e9),
        "idle_seconds": idle_unload,
    }
    origins = tuple(cors_origin or ())
    with _bound(host, port) as listening:
        asyncio.run(
            _serve(
                session,
                jobs,
                facts,
                limits=limits,
                origins=origins,
                drain=drain_timeout,
                listening=listening,
                **kept,
            )
        )


def api_keys(path: Path | None, listed: str) -> tuple[str, ...]:
    """Return the keys of a file and of the environment.

    Raises:
        ProjectError: the file cannot be read, or has none.
    """
    found = [key.strip() for key in listed.split(",")]
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ProjectError(f"{path}: cannot be read: {error}") from error
        of_file = [line.strip() for line in lines if not line.startswith("#")]
        if not any(of_file):
            raise ProjectError(f"{path}: has no key", remedy="write one on each line")
        found += of_file
    return tuple(key for key in found if key)


def engine_jobs(
    session: Session, targets: Sequence[str], **options: Any
) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """Return what each engine is told, and what is known of each model; refuses what cannot be."""
    from ovrecipe.recipe.tasks import GENERATION
    from ovrecipe.run.exported import export_folder
    from ovrecipe.run.load import check_batches, find
    from ovrecipe_serve.facts import model_facts
    from ovrecipe_serve.process import Job

    jobs: dict[str, Any] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for target in dict.fromkeys(targets):
        folder = export_folder(target)
        project = session.project if folder is None else None
        found = find(target, project=project, plugins=session.plugins, announce=announce)
        name = f"{found.recipe.name}:{found.artifact.variant}"
        if name in jobs and (folder is not None or jobs[name].target != name):
            raise RunError(
                f"{target}: there is another {name} already", remedy="serve one of the two"
            )
        known = model_facts(session, found)
        opened = name if folder is None else str(folder.absolute())
        job = partial(Job, opened, task=found.recipe.task, **options)
        if found.recipe.task != GENERATION:
            jobs[name], facts[name] = job(name=name), known
            continue
        check_batches(name, found.artifact)
        for called, adapter in named_adapters(name, found.artifact):
            parent = {"parent": name} if called != name else {}
            jobs[called] = job(name=called, adapter=adapter, lazy=bool(parent))
            facts[called] = {**known, "adapter": adapter or None, **parent}
    return jobs, facts


def named_adapters(name: str, artifact: Artifact) -> Iterator[tuple[str, str]]:
    """Yield a model's names, each with the adapter of its answers; the first is the model itself.

    That has the adapter which is always on, if there is one, and `NAME@` is then without any.
    """
    from ovrecipe.run.load import own_assistants
    from ovrecipe_serve.models import ADAPTER

    own = own_assistants(artifact, None)
    always = own.always or ""
    yield name, always
    for adapter in ("", *own.adapters):
        if adapter != always:
            yield f"{name}{ADAPTER}{adapter}", adapter


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, before anything is loaded.

    Raises:
        RunError: the port is taken, or the host is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise RunError(
            f"{host} port {port}: cannot be listened on: {error.strerror}",
            remedy="choose another --port or --host",
        ) from error
    return found


async def _serve(
    session: Session,
    jobs: Mapping[str, Any],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    limits: Any,
    origins: tuple[str, ...],
    drain: float,
    listening: socket.socket,
    **kept: Any,
) -> None:
    from ovrecipe.run.exported import export_folder
    from ovrecipe_serve.app import make_app
    from ovrecipe_serve.metrics import Metrics
    from ovrecipe_serve.models import Models
    from ovrecipe_serve.process import EngineProcess
    from ovrecipe_serve.protocol import http_server

    metrics = Metrics()
    env = dict(session.env)
    if any(export_folder(job.target) is None for job in jobs.values()):
        env["OVRECIPE_PROJECT"] = str(session.project.root)
    engines = {
        name: EngineProcess(job, env=env, announce=announce, metrics=metrics)
        for name, job in jobs.items()
    }
    models = Models(engines, facts=facts, **kept)
    app = make_app(models, metrics=metrics, limits=limits, origins=origins)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    def started() -> None:
        announce(f"serving {', '.join(jobs)} at http://{shown}:{port}  (Ctrl-C ends it)")

    announce(f"loading {', '.join(name for name, job in jobs.items() if not job.lazy)}")
    try:
        await models.start()
        server = http_server(app, host=host, port=port, drain_seconds=drain, on_started=started)
        await server.serve(sockets=[listening])
        announce("closed")
    except OvrecipeError:
        await models.close()
        raise
