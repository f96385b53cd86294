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
def ray_nodes(count: int, *, gpus: int = 0) -> Iterator[Any]:
    """A cluster of `count` nodes, the last of which has `gpus`, if only by name. Its workers find the tests."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        try:
            for number in range(1, count):
                cluster.add_node(**NODE, num_gpus=gpus if number == count - 1 else 0)
            yield cluster
        finally:
            cluster.shutdown()
