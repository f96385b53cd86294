"""A trace as text for a terminal, and as a Mermaid diagram: what comes from the web is shown, and acts in neither."""

from collections.abc import Iterator, Mapping

from evenly.audit.lineage.graph import LineageNode
from evenly.audit.lineage.things import Trace
from evenly.audit.safe_text import visible

_PLAIN = frozenset(" .,_/()-=+")


def to_text(trace: Trace) -> str:
    """A line per node, the nearest first, each with what it went into, or what it was made of."""
    return "\n".join(_lines(trace))


def _lines(trace: Trace) -> Iterator[str]:
    nodes = trace.graph.nodes
    for key in trace.starts:
        yield f"{nodes[key].kind} {visible(nodes[key].label)}"
    for title, keys, neighbours, arrow in (
        ("made of", trace.above, trace.graph.targets, "->"),
        ("gone into", trace.below, trace.graph.sources, "<-"),
    ):
        if keys:
            yield f"\n{title} ({len(keys):,})"
        for key in keys:
            yield f"  {nodes[key].kind:<9} {visible(nodes[key].label)}"
            yield from _neighbours(trace, neighbours(key), arrow)
    if not trace.above and not trace.below:
        yield "\nnothing else is recorded of it"


def _neighbours(trace: Trace, neighbours: Mapping[str, str], arrow: str) -> Iterator[str]:
    """The things beside one, those for the same reason in a line."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in neighbours.items():
        node = trace.graph.nodes[key]
        by_reason.setdefault(reason, []).append(f"{node.kind} {_short(node)}")
    for reason, names in by_reason.items():
        yield f"            {arrow} {', '.join(names)}: {reason}"


def _short(node: LineageNode) -> str:
    """The first words of a label."""
    return visible(node.label.partition("  ")[0].partition(": ")[0])


def to_mermaid(trace: Trace) -> str:
    """A flowchart from what it was made of, on the left, to what was made of it."""
    numbers = {node.id: number for number, (_, node) in enumerate(trace.nodes)}
    lines = ["flowchart LR"]
    for side, node in trace.nodes:
        mark = ":::thing" if side == "thing" else ""
        lines.append(f'  n{numbers[node.id]}["{mermaid_text(f"{node.kind} {node.label}")}"]{mark}')
    edges = [(numbers[edge.source], mermaid_text(edge.reason), numbers[edge.target]) for edge in trace.graph.edges]
    lines += [f'  n{source} -->|"{reason}"| n{target}' for source, reason, target in edges]
    return "\n".join([*lines, "  classDef thing stroke-width:3px"])


def mermaid_text(text: str) -> str:
    """A text for a quoted label of Mermaid: all but letters, digits and plain marks by number, so that none acts."""
    shown = visible(text)
    return "".join(letter if letter.isalnum() or letter in _PLAIN else f"#{ord(letter)};" for letter in shown)
