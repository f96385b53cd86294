"""How a merged pair hangs together with the one that stands for it: a path over recorded duplicate edges."""

from collections import deque
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def path_between(edges: pa.Table, uid: str, into: str) -> list[dict[str, Any]]:
    """Return the fewest edges that lead from `uid` to `into`, in order: from, to, kind and distance of each.

    `edges` has the columns uid_a, uid_b, kind and distance and no direction. [] where no path is recorded.
    """
    came_from: dict[str, tuple[str, dict[str, Any]]] = {}
    seen, waiting = {uid}, deque([uid])
    while waiting and into not in seen:
        here = waiting.popleft()
        touching = edges.filter(pc.or_(pc.equal(edges["uid_a"], here), pc.equal(edges["uid_b"], here)))
        for edge in touching.to_pylist():
            there = edge["uid_b"] if edge["uid_a"] == here else edge["uid_a"]
            if there not in seen:
                seen.add(there)
                came_from[there] = (here, {"kind": edge.get("kind"), "distance": edge.get("distance")})
                waiting.append(there)
    path: list[dict[str, Any]] = []
    while into in came_from:
        here, measured = came_from[into]
        path.insert(0, {"from": here, "to": into, **measured})
        into = here
    return path if path and path[0]["from"] == uid else []
