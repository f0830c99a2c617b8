"""What ovrecipe asks for with `--ray ADDRESS`: a Ray cluster, for as long as it is used."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ovrecipe.errors import ClusterUnreachable, StoreError
from ovrecipe.hooks.roles import EngineJob, RemoteStage, StageEnded
from ovrecipe.store.disk import random_name
from ovrecipe.wording import one_line

#: The object store of a cluster that is started for one command: prompts and answers are small.
OBJECT_STORE_BYTES = 100_000_000
#: How long a node may take to say whether it sees a file, in seconds.
ANSWER = 60.0


class RayCluster:
    """Ray, by the address of one of its clusters: `auto`, `local` or `HOST:PORT`."""

    @contextmanager
    def connect(self, address: str, announce: Callable[[str], None]) -> Iterator[RayNodes]:
        """Return the cluster at an address; a `local` one is started, and ended afterwards.

        Raises:
            ClusterUnreachable: there is none, or none of its nodes has a processor.
        """
        # Nothing is told to Ray's makers unless somebody wants it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # It would make a new environment on each node where uv started us.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        import ray

        from ovrecipe_ray.pool import living_nodes

        # A program of Ray's own that calls us stays connected.
        with nullcontext() if ray.is_initialized() else _connection(address):
            nodes = RayNodes(announce)
            if not living_nodes():
                raise ClusterUnreachable(
                    f"the Ray cluster at '{address}' has no node with a processor",
                    remedy="'ray start --address HOST:PORT' adds this machine to it",
                )
            yield nodes


@contextmanager
def _connection(address: str) -> Iterator[None]:
    """Be connected to a cluster, without what Ray would print of it.

    To standard output, where answers and documents are ours, go the last lines of a lost node's
    log, and no option says otherwise. That a node was lost is told by whoever had work there.
    """
    import ray
    from ray._private import worker

    printing: Any = worker.print_to_stdstream
    try:
        worker.print_to_stdstream = lambda *_, **__: None
        _init(address)
        yield
    finally:
        ray.shutdown()
        worker.print_to_stdstream = printing


def _init(address: str) -> None:
    import ray

    local: dict[str, Any] = {}
    if address == "local":
        local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    in_main = threading.current_thread() is threading.main_thread()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterUnreachable(
            f"no Ray cluster answers at '{address}': {one_line(error)}",
            remedy="start one with 'ray start --head', name its HOST:PORT, or take 'local'",
        ) from error
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, on_sigterm)


class RayNodes:
    """A Ray cluster that is connected to (`ovrecipe.hooks.roles.Nodes`)."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce

    @property
    def count(self) -> int:
        """The number of nodes with a processor."""
        from ovrecipe_ray.pool import living_nodes

        return max(1, len(living_nodes()))

    @property
    def memory_bytes(self) -> int:
        """What the largest node gives to tasks."""
        from ovrecipe_ray.pool import all_nodes

        memory = (node["Resources"].get("memory", 0) for node in all_nodes() if node["Alive"])
        return int(max(memory, default=0))

    def open_engine(self, job: EngineJob) -> Any:
        """Return an engine on each node, as one that is asked.

        Raises:
            OvrecipeError: no node can load the model.
        """
        from ovrecipe_ray.answering import Opening
        from ovrecipe_ray.pool import Node, Pool
        from ovrecipe_ray.shipment import shipment_of

        shipment = shipment_of(job.model, job.remote_url)

        def opening(node: Node) -> Opening:
            return Opening(
                shipment=shipment,
                device=job.device,
                generation=dict(job.generation),
                adapter=job.adapter,
                room=job.room,
                plugin_options=job.model.plugins.options,
                processors=node.processors,
            )

        pool = Pool(
            opening,
            template=job.model.given["template"],
            parameters=job.model.given["parameters"],
            at_once=job.room.most_at_once,
            announce=job.announce,
        )
        return pool.open()

    def check_store(self, store_dir: Path) -> None:
        """Refuse a store that a node does not see: ask each for a file that is new.

        Raises:
            StoreError: with the nodes.
        """
        import ray
        from ray.exceptions import RayError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from ovrecipe_ray.pool import living_nodes
        from ovrecipe_ray.stages import COMMON, sees

        mark = store_dir.resolve() / f".ray-{random_name()}"
        mark.touch()
        blind = []
        try:
            asked = {}
            for node in living_nodes():
                there = NodeAffinitySchedulingStrategy(node.id, soft=False)
                task = ray.remote(sees).options(num_cpus=0, scheduling_strategy=there)
                asked[node.name, node.id] = task.remote(str(mark))
            for (name, _), call in asked.items():
                try:
                    if not ray.get(call, timeout=ANSWER):
                        blind.append(name)
                except RayError as error:
                    blind.append(f"{name} ({one_line(error)})")
        finally:
            mark.unlink()
        if blind:
            message = f"the store {store_dir} is not seen by {', '.join(blind)}"
            raise StoreError(message, remedy=COMMON)

    def run_stage(self, stage: RemoteStage, hear: Callable[[dict[str, Any]], None]) -> StageEnded:
        """Run a stage's process where its memory fits, and tell what it says.

        Raises:
            NodeLost: the node is gone, and the process with it.
            StoreError: the node does not see the store.
            KeyboardInterrupt: the build was cancelled; the process is gone.
        """
        from ovrecipe_ray.stages import run_stage

        return run_stage(stage, hear)
