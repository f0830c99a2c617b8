"""The application of ovrecipe-serve under Ray Serve: `ovrecipe_ray.serving:app`.

    serve run ovrecipe_ray.serving:app target=smollm2-135m:int4 replicas=2

Each replica is the whole server, with its models in processes of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.cli.output import announce
from ovrecipe.cli.session import Session

if TYPE_CHECKING:
    from starlette.applications import Starlette

#: What of the environment goes to the replicas.
ALONG = "OVRECIPE_"


def app(arguments: Mapping[str, str]) -> Any:
    """Return what `serve run` deploys.

    `target` is whom to serve, several with commas; `replicas` how many servers, `processors` how
    many of Ray's processors each has, `device` as of `ovrecipe serve`. The nodes see the project
    under the same path: OVRECIPE_PROJECT, or the working folder.
    """
    from ray import serve

    env = {name: text for name, text in os.environ.items() if name.startswith(ALONG)}
    env.setdefault("OVRECIPE_PROJECT", str(Path.cwd()))
    targets = arguments["target"].split(",")
    device = arguments.get("device", "CPU")

    # Ray takes a function without arguments for what makes an application.
    def made() -> Starlette:
        return make_served(targets, device=device, env=env)

    deployment: Any = serve.deployment(serve.ingress(made)())
    options = {"num_cpus": float(arguments.get("processors", "1"))}
    replicas = int(arguments.get("replicas", "1"))
    return deployment.options(num_replicas=replicas, ray_actor_options=options).bind()


def make_served(targets: Sequence[str], *, device: str, env: Mapping[str, str]) -> Starlette:
    """Return the application of one replica; keys are those of OVRECIPE_API_KEYS.

    Raises:
        OvrecipeError: a model is not built, or takes one prompt at a time.
    """
    from ovrecipe_serve.app import make_app
    from ovrecipe_serve.command import KEYS, api_keys, engine_jobs
    from ovrecipe_serve.guard import LOOPBACK, Limits
    from ovrecipe_serve.metrics import Metrics
    from ovrecipe_serve.models import Models
    from ovrecipe_serve.process import EngineProcess

    own = {**os.environ, **env}
    session = Session(env=own, cwd=Path(env["OVRECIPE_PROJECT"]))
    jobs, facts = engine_jobs(
        session,
        targets,
        device=device,
        plugin_options=(),
        cache_gb=1,
        most_at_once=256,
        most_waiting=256,
    )
    metrics = Metrics()
    engines = {
        name: EngineProcess(job, env=own, announce=announce, metrics=metrics)
        for name, job in jobs.items()
    }
    # Without keys only this machine's own names are answered to, as by `ovrecipe serve`.
    keys = api_keys(None, own.get(KEYS, ""))
    limits = Limits(keys, () if keys else LOOPBACK)
    return make_app(Models(engines, facts=facts), metrics=metrics, limits=limits)
