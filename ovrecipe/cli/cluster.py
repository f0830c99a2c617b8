"""`--ray ADDRESS` of `batch` and `build`: the work is done on a cluster, which a plugin knows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Option

from ovrecipe.cli.output import announce

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.cli.session import Session
    from ovrecipe.hooks.roles import Nodes
    from ovrecipe.run.batch.work import Asks
    from ovrecipe.run.batching import Room

RayAddress = Annotated[
    str | None,
    Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster (needs ovrecipe-ray): auto, local, or HOST:PORT.",
    ),
]


@contextmanager
def connected(session: Session, address: str) -> Iterator[Nodes]:
    """Return the Ray cluster at an address, for as long as it is used.

    Raises:
        ProviderUnknown: ovrecipe-ray is not installed; the remedy says how to.
        ClusterUnreachable: nobody answers there.
    """
    cluster = session.plugins.provider("cluster", "ray").provider
    with cluster.connect(address, announce) as nodes:
        yield nodes


def engine_on(
    nodes: Nodes,
    session: Session,
    target: str,
    *,
    device: str,
    generation: Mapping[str, Any],
    adapter: str | None,
    room: Room,
) -> Asks:
    """Return what a batch asks: an engine on each node of a cluster.

    Raises:
        OvrecipeError: the model is not built, has no such adapter, or cannot be loaded anywhere.
    """
    from ovrecipe.hooks.roles import EngineJob
    from ovrecipe.recipe.tasks import GENERATION
    from ovrecipe.run.load import check_batches, find, fixed_adapter

    found = find(
        target,
        project=session.project,
        plugins=session.plugins,
        announce=announce,
        generation=generation,
        task=GENERATION,
    )
    check_batches(target, found.artifact)
    fixed_adapter(found.artifact, adapter)
    remote = session.defaults.remote
    job = EngineJob(
        model=found,
        device=device,
        generation=generation,
        adapter=adapter,
        room=room,
        remote_url=None if remote is None else remote.value,
        announce=announce,
    )
    return cast("Asks", nodes.open_engine(job))


def build_on(nodes: Nodes, context: BuildContext, *, jobs: int) -> None:
    """Let a build run its stages on a cluster, which knows for which of them it has memory.

    Raises:
        StoreError: a node does not see the store.
    """
    from ovrecipe.build.memory import MemoryBudget

    context.store.root.mkdir(parents=True, exist_ok=True)
    nodes.check_store(context.store.root)
    context.nodes, context.jobs = nodes, jobs
    context.memory = MemoryBudget(available=lambda: sys.maxsize)
