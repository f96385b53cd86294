"""The nodes of a Ray cluster: what they have together, and whether each can work on a run."""

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenly.storage.step_records import code_version
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.exchange import exchange_folder, remove_exchange
from evenly.tasks.engine import EngineError
from evenly.tasks.run import EXCHANGE_VARIABLE, Run
from evenly.tasks.server.api import in_run

_LOOK_S, _ANSWER_S = 300.0, 10.0
_MOST_SHARE = 8
"""More threads than these encode no faster: evenly.features.torch_session."""
_FOR_WORKERS = ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")
"""What of this process's environment workers elsewhere are given; nothing secret: Ray logs it."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The resources of the living nodes of a cluster.

    gpus: as far as a node has a processor for each. share: the processors that each of them is given on its node.
    """

    processors: int
    gpus: int = 0
    share: int = 1


def capacity() -> Capacity:
    """The capacity of the cluster that this process is connected to."""
    nodes = _processors_and_gpus()
    usable = [(processors, min(processors, gpus)) for processors, gpus in nodes if processors and gpus]
    share = min((processors // gpus for processors, gpus in usable), default=1)
    return Capacity(
        processors=sum(processors for processors, _ in nodes),
        gpus=sum(gpus for _, gpus in usable),
        share=min(share, _MOST_SHARE),
    )


def free_processors() -> int:
    """The number of processors of the cluster that are not at work."""
    import ray

    return int(ray.available_resources().get("CPU", 0))


def has_gpu(processors: int) -> bool:
    """Whether a living node has a GPU and so many processors."""
    return any(gpus and here >= processors for here, gpus in _processors_and_gpus())


def _processors_and_gpus() -> list[tuple[int, int]]:
    import ray

    living = (node["Resources"] for node in ray.nodes() if node["Alive"])
    return [(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in living]


def environment() -> dict[str, str]:
    """The environment of workers: in a run they report to this process's Prefect API, and start none of their own."""
    values = {name: os.environ[name] for name in _FOR_WORKERS if name in os.environ}
    if not in_run():
        return values
    from prefect.settings import PREFECT_API_URL

    return values | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}


def check_nodes(run: Run) -> None:
    """Look at the run's folders and its Prefect API from every node. Raises EngineError for one that misses some."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    shared = {run.exchange}
    if not isinstance(run.workspace.root, ObjectPath):
        shared.add(run.workspace.exchange)
    marks = [exchange_folder(folder, "seen") for folder in sorted(shared)]
    try:
        looks = {}
        for node in ray.nodes():
            if node["Alive"]:
                where = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
                look = ray.remote(look_from_node).options(num_cpus=0, max_retries=1, scheduling_strategy=where)
                looks[look.remote(marks, environment().get("PREFECT_API_URL"))] = node["NodeManagerAddress"]
        for reference, host in looks.items():
            try:
                seen = ray.get(reference, timeout=_LOOK_S)
            except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
                continue  # it has just been lost: no work is given to it
            except Exception as error:  # noqa: BLE001 - what a node lacks can raise anything
                cause = str(error).strip().splitlines()[-1]
                raise EngineError(
                    f"Ray's node {host} must be able to run evenly; {cause}. Install there what is installed here."
                ) from None
            _check_node(host, seen, run)
    finally:
        for mark in marks:
            remove_exchange(mark)


def look_from_node(marks: Sequence[Path], api_url: str | None) -> dict[str, Any]:
    """The view of a node: which of the folders `marks` it lacks, whether the API answers, the version of its code."""
    missing = [str(mark.parent) for mark in marks if not mark.is_dir()]
    return {"missing": missing, "api": _answers(api_url), "code": code_version(), "machine": platform.node()}


def _check_node(host: str, seen: Mapping[str, Any], run: Run) -> None:
    for folder in seen["missing"]:
        is_exchange = isinstance(run.workspace.root, ObjectPath) or Path(folder) != run.workspace.exchange
        remedy = f"Set {EXCHANGE_VARIABLE} to a folder that all nodes share." if is_exchange else "Move --root."
        raise EngineError(f"Ray's node {host} must see `{folder}`; it does not. {remedy}")
    if not seen["api"]:
        raise EngineError(
            f"Ray's node {host} must reach the Prefect API at `{environment().get('PREFECT_API_URL')}`; it does not. "
            "Start `prefect server start --host 0.0.0.0` where all nodes reach it, and set PREFECT_API_URL."
        )
    here, there = ({name: code[name] for name in ("version", "git_sha")} for code in (code_version(), seen["code"]))
    if here != there:
        raise EngineError(
            f"Ray's node {host} must run the code of this machine, {here}; got {there}. Install it there."
        )


def _answers(url: str | None) -> bool:
    """Whether anything answers at a URL."""
    if url is None:
        return True
    import httpx

    with suppress(httpx.HTTPError):
        httpx.get(f"{url}/health", timeout=_ANSWER_S)
        return True
    return False
