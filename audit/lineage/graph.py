"""The graph of a workspace: things as nodes, and an edge from each thing to what was made of it, with the reason."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_PAIR = "pair:"


@dataclass(frozen=True, kw_only=True)
class LineageNode:
    """A thing. id: its kind and its name, as in `build:birds-3fa9c2d4e5f6`. label: for people. facts: JSON values."""

    id: str
    kind: str
    label: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, order=True)
class Edge:
    """`target` was made of `source`; reason: in words."""

    source: str
    target: str
    reason: str


class Graph:
    """Nodes by id in the order in which they came, and edges between them."""

    def __init__(self) -> None:
        self.nodes = dict[str, LineageNode]()
        self._edges_up = dict[str, dict[str, str]]()
        self._edges_down = dict[str, dict[str, str]]()

    def add(self, kind: str, name: str, label: str = "", **facts: Any) -> str:  # noqa: ANN401 - JSON values
        """The id of a node, which is there then; facts of a node that was there are added to."""
        key = f"{kind}:{name}"
        earlier = self.nodes.get(key)
        earlier_facts = {} if earlier is None else earlier.facts
        stated = {fact: value for fact, value in facts.items() if value is not None}
        label = label or (earlier.label if earlier else name)
        self.nodes[key] = LineageNode(
            id=key, kind=kind.replace("_", " "), label=label, facts={**earlier_facts, **stated}
        )
        return key

    def link(self, source: str, target: str, reason: str) -> None:
        """An edge between two nodes; the first reason stays."""
        if source != target:
            self._edges_up.setdefault(target, {}).setdefault(source, reason)
            self._edges_down.setdefault(source, {}).setdefault(target, reason)

    @property
    def edges(self) -> list[Edge]:
        """All edges, sorted."""
        return sorted(
            Edge(source=source, target=target, reason=reason)
            for source, targets in self._edges_down.items()
            for target, reason in targets.items()
        )

    def sources(self, key: str) -> Mapping[str, str]:
        """The nodes of which one was made, each with the reason."""
        return self._edges_up.get(key, {})

    def targets(self, key: str) -> Mapping[str, str]:
        """The nodes that were made of one, each with the reason."""
        return self._edges_down.get(key, {})

    def reached(self, start: Iterable[str], *, upstream: bool) -> list[str]:
        """The nodes that lead to these, or that these lead to, the nearest first; without themselves."""
        step = self.sources if upstream else self.targets
        distance = dict.fromkeys(start, 0)
        waiting = list(distance)
        while waiting:
            key = waiting.pop(0)
            for further in step(key):
                if further not in distance:
                    distance[further] = distance[key] + 1
                    waiting.append(further)
        return [key for key, far in distance.items() if far]

    def part(self, keys: Collection[str]) -> "Graph":
        """The nodes of these ids and the edges between them, but for edges that a longer way between them implies.

        Those of pairs stay, which say more: in which part of an evaluation a pair is.
        """
        part = Graph()
        part.nodes = {key: node for key, node in self.nodes.items() if key in keys}
        for target in part.nodes:
            sources = {source: reason for source, reason in self.sources(target).items() if source in part.nodes}
            for source, reason in sources.items():
                rivals = [] if source.startswith(_PAIR) else [key for key in sources if key != source]
                if not any(self._leads(source, key, part.nodes) for key in rivals):
                    part.link(source, target, reason)
        return part

    def _leads(self, source: str, target: str, nodes: Collection[str]) -> bool:
        """Whether a way leads from one node to another."""
        waiting, visited = [source], {source}
        while waiting:
            for further in self.targets(waiting.pop()):
                if further == target:
                    return True
                if further in nodes and further not in visited:
                    visited.add(further)
                    waiting.append(further)
        return False
