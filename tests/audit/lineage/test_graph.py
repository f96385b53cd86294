"""Graphs: what leads where, and which edges a longer way implies."""

from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.lineage.graph import Graph
from evenly.audit.lineage.render import mermaid_text

EDGES = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda edge: edge[0] < edge[1]), max_size=20)


def graph_of(edges):
    graph = Graph()
    for number in range(8):
        graph.add("n", str(number))
    for source, target in sorted(edges):
        graph.link(f"n:{source}", f"n:{target}", "why")
    return graph


@given(edges=EDGES, start=st.integers(0, 7))
def test_edges_that_are_left_out_change_nothing_of_what_leads_where(edges, start):
    graph = graph_of(edges)
    part = graph.part(graph.nodes)
    for up in (True, False):
        assert {*part.reached([f"n:{start}"], upstream=up)} == {*graph.reached([f"n:{start}"], upstream=up)}
    assert {*part.edges} <= {*graph.edges}


@given(edges=EDGES)
def test_no_edge_stands_beside_a_longer_way(edges):
    graph = graph_of(edges)
    part = graph.part(graph.nodes)
    for edge in part.edges:
        others = [one.target for one in part.edges if one.source == edge.source and one.target != edge.target]
        assert edge.target not in part.reached(others, upstream=False)


def test_facts_of_a_node_are_added_to_and_its_label_stays():
    graph = Graph()
    graph.add("file", "a", "pool.csv", rows=3)
    graph.add("file", "a", size=9)
    assert graph.nodes["file:a"].label == "pool.csv"
    assert graph.nodes["file:a"].facts == {"rows": 3, "size": 9}


@given(text=st.text())
def test_nothing_in_a_label_of_mermaid_can_end_it_or_act(text):
    shown = mermaid_text(text)
    assert not {*shown} & {*"\"`<>[]{}|%\n\r\\&'"}
    assert shown.isprintable()
    assert all(part.partition(";")[0].isdigit() for part in shown.split("#")[1:])
