"""A Ray cluster of several nodes on this machine, for tests: as many raylets, each with a worker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


@contextmanager
def ray_nodes(count: int, *, gpus: int = 0, client_port: int | None = None) -> Iterator[Any]:
    """A cluster of `count` nodes, the last of which has `gpus`, if only by name. Its workers find the tests.

    client_port: where the first is reached by `ray://127.0.0.1:PORT`.
    """
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
        cluster = Cluster()
        try:
            add_node(cluster, include_dashboard=False, ray_client_server_port=client_port)
            for number in range(1, count):
                add_node(cluster, num_gpus=gpus if number == count - 1 else 0)
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Any, **options: Any) -> Any:  # noqa: ANN401 - Ray's
    """Start a node; again where it is not up within the 30 s that Ray gives it, on a busy machine."""
    for last in (*[False] * 4, True):
        try:
            return cluster.add_node(**NODE, **options)
        except Exception:
            if last:
                raise
    return None
