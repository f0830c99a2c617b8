"""A Ray cluster of two nodes on this machine, and the real model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray's own is 15, with which stages wait for all else that a machine does.
os.environ.setdefault("RAY_worker_niceness", "0")
SMALL = {"object_store_memory": 100_000_000, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one processor and 2 GB; the head, where the commands run, takes no work."""
    from ray._private.utils import get_ray_address_file
    from ray.cluster_utils import Cluster

    # Ray writes down there where its last cluster is, in a folder that it takes for granted.
    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    # The paths of sockets may have 107 characters, fewer than a folder of pytest's needs.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    found = Cluster()
    try:
        found.add_node(num_cpus=0, temp_dir=folder, **SMALL)
        for _ in range(2):
            found.add_node(num_cpus=1, memory=2_000_000_000, **SMALL)
        found.wait_for_nodes()
        yield found
    finally:
        found.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nodes(cluster: Any) -> Iterator[Any]:
    """What ovrecipe has of it."""
    from ovrecipe_ray.cluster import RayCluster

    said: list[str] = []
    with RayCluster().connect(cluster.address, said.append) as found:
        yield found
