"""A thing, named as people name it, and its trace: of what it was made, and what was made of it."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evenly.audit.errors import UnknownSampleError
from evenly.audit.lineage.graph import Graph, LineageNode
from evenly.audit.lineage.pairs import add_pairs, add_pool_file, add_pool_files, add_request
from evenly.audit.lineage.stored import StoredGraph, class_node
from evenly.audit.safe_text import visible
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.errors import ClassListError
from evenly.storage.builds import LATEST, Builds
from evenly.storage.errors import DamagedError
from evenly.storage.exports.export import MANIFEST
from evenly.storage.records import read_record
from evenly.storage.tables.hashing import file_hash
from evenly.storage.workspace import Workspace

_LEAST = 6  # digits of an identity that name it
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The trace of a thing: its nodes, those above (of which it was made) and below (made of it), the nearest first."""

    thing: str
    starts: Sequence[str]
    above: Sequence[str]
    below: Sequence[str]
    graph: Graph

    @property
    def nodes(self) -> Iterator[tuple[str, LineageNode]]:
        """Each node with its side: thing, above or below."""
        for side, keys in (("thing", self.starts), ("above", self.above), ("below", self.below)):
            yield from ((side, self.graph.nodes[key]) for key in keys)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        nodes = [{"side": side, **asdict(node)} for side, node in self.nodes]
        return {"thing": self.thing, "nodes": nodes, "edges": [asdict(edge) for edge in self.graph.edges]}


def trace_thing(workspace: Workspace, thing: str, *, upstream: bool = True, downstream: bool = True) -> Trace:
    """The trace of a pool file, URL, uid, picture, step, build, class list, request, feature set, artifact or export.

    Raises UnknownSampleError where the workspace knows no such thing, or several by that name.
    """
    stored = StoredGraph(workspace)
    starts = _resolved(stored, thing.strip())
    above, below = (stored.graph.reached(starts, upstream=side) for side in (True, False))
    for key in [key for key in (*above, *starts) if upstream and key.startswith("step:")]:
        add_pool_files(stored, key)
    above = stored.graph.reached(starts, upstream=True) if upstream else []
    part = stored.graph.part({*starts, *above, *(below if downstream else ())})
    above, below = (list(part.reached(starts, upstream=side)) for side in (True, False))
    return Trace(thing=thing, starts=starts, above=above, below=below, graph=part)


def _resolved(stored: StoredGraph, thing: str) -> list[str]:
    ways: Sequence[Callable[[StoredGraph, str], list[str]]] = (
        _node,
        _build,
        _step_of_build,
        _file,
        _named,
        _request,
        add_pool_file,
        add_pairs,
    )
    for way in ways if thing else ():
        if keys := way(stored, thing):
            return keys
    if thing:
        Builds(stored.workspace).refuse_buried(thing)
    raise UnknownSampleError(
        f"`thing` must be something that workspace `{stored.workspace.root}` holds or has read; it knows no "
        f"`{visible(thing)}`. Name a build, BUILD:STEP, a step's key, a class list, an adapter, a refined encoder, a "
        "feature set, a request, a report or export, a file, or a pair by uid, URL, file name or picture."
    )


def _request(stored: StoredGraph, thing: str) -> list[str]:
    key = add_request(stored, thing)
    return [] if key is None else [key]


def _node(stored: StoredGraph, thing: str) -> list[str]:
    return [thing] if thing in stored.graph.nodes else []


def _build(stored: StoredGraph, thing: str) -> list[str]:
    """A build as every command takes it. Raises NotFoundError for a name of several."""
    recipes = {str(manifest["recipe_name"]) for manifest in stored.manifests.values()}
    is_named = thing == LATEST or {thing, thing.removesuffix(f"-{LATEST}")} & recipes
    if not is_named and not any(name.startswith(thing) for name in stored.manifests):
        return []
    return [f"build:{Builds(stored.workspace).read(thing)['build']}"]


def _step_of_build(stored: StoredGraph, thing: str) -> list[str]:
    build, _, step = thing.rpartition(":")
    if not build or not (keys := _build(stored, build)):
        return []
    steps = stored.manifests[keys[0].partition(":")[2]]["steps"]
    return [
        f"step:{entry['key']}"
        for entry in steps
        if entry["name"] == step and f"step:{entry['key']}" in stored.graph.nodes
    ]


def _file(stored: StoredGraph, thing: str) -> list[str]:
    """A path: an export, a report, a card of the workspace, a class list, or a file of a pool or with a picture."""
    path, nodes = Path(thing), stored.graph.nodes
    try:
        folder = path if path.is_dir() else path.parent
        manifest = folder / MANIFEST
        content = read_record(manifest)["content_hash"] if manifest.is_file() else None
        digest = file_hash(path) if path.is_file() else None
    except (OSError, ValueError, DamagedError, KeyError):
        return []
    written = [key for key, node in nodes.items() if content and _is_written(node, key, content)]
    written += [key for key, node in nodes.items() if digest and _is_written(node, key, digest)]
    if written or digest is None:
        return written
    card = path.absolute()
    if card.is_relative_to(stored.workspace.root):
        kind, *below = card.relative_to(stored.workspace.root).with_suffix("").parts
        if (key := f"{kind.removesuffix('s')}:{'/'.join(below)}") in nodes:
            return [key]
    return _class_list(stored, path) or add_pool_file(stored, digest) or add_pairs(stored, digest)


def _is_written(node: LineageNode, key: str, content: str) -> bool:
    return node.facts.get("content") == content or key == f"export:{content[:32]}"


def _class_list(stored: StoredGraph, path: Path) -> list[str]:
    """A class list by its file, whatever it is called."""
    try:
        classes = parse_class_list(path.read_text(encoding="utf-8"), path.stem).classes
    except (OSError, UnicodeDecodeError, ClassListError):
        return []
    digest = class_node(Graph(), "", classes).rpartition("-")[2]
    return [key for key in stored.graph.nodes if key.startswith("classes:") and key.endswith(f"-{digest}")]


def _named(stored: StoredGraph, thing: str) -> list[str]:
    """Nodes by their name, or the beginning of an identity. Raises UnknownSampleError for things of several kinds."""
    keys = [key for key in stored.graph.nodes if _name(key) == thing or _is_called(stored.graph.nodes[key], key, thing)]
    if not keys and len(thing) >= _LEAST and _HEX.fullmatch(thing):
        keys = [key for key in stored.graph.nodes if _name(key).startswith(thing) and not key.startswith("build:")]
    keys = [key for key in keys if key.startswith("features:")] or keys  # rather than the model that made them
    if all(key.startswith("adapter:") for key in keys):
        keys = sorted(keys, key=partial(_age, list(stored.manifests)))[:1]
    if len({key.partition(":")[0] for key in keys}) > 1 or len(keys) > _MOST:
        raise UnknownSampleError(
            f"`thing` must be one thing; {', '.join(f'`{visible(key)}`' for key in keys[:_MOST])} are called "
            f"`{visible(thing)}`. Name one of them."
        )
    return keys


_MOST = 5


def _name(key: str) -> str:
    return key.partition(":")[2]


def _age(builds: list[str], key: str) -> int:
    """How many builds are newer than that of an adapter; one that is gone is older than all."""
    build = _name(key).partition("/")[0]
    return len(builds) - builds.index(build) if build in builds else len(builds) + 1


def _is_called(node: LineageNode, key: str, thing: str) -> bool:
    """Whether people call a thing so: a list by its name, an adapter without its build, an export by its place."""
    kind = key.partition(":")[0]
    return (
        (kind == "classes" and node.facts.get("list") == thing)
        or (kind == "adapter" and key.endswith(f"/{thing}"))
        or (kind in ("report", "export", "diff") and node.facts.get("place") == thing.rstrip("/"))
        or (kind == "model" and node.label.partition(" ")[0] == thing)
    )
