import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.duplicates.merging import Forest, NumberedForest, components

EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1)), max_size=15).map(
    lambda edges: [(min(a, b), max(a, b), weight) for a, b, weight in edges if a != b]
)


def arrays(edges):
    left, right, weight = zip(*edges, strict=True) if edges else ((), (), ())
    return np.array(left, np.int64), np.array(right, np.int64), np.array(weight, np.float64)


def by_union_find(n, edges):
    """Kruskal's algorithm as textbooks have it: the component of each row, and the edges taken."""
    parent = list(range(n))

    def root(row):
        while parent[row] != row:
            row = parent[row]
        return row

    taken = []
    for weight, a, b in sorted((weight, a, b) for a, b, weight in edges):
        if root(a) != root(b):
            parent[max(root(a), root(b))] = min(root(a), root(b))
            taken.append((a, b, weight))
    return [root(row) for row in range(n)], taken


def unique(edges):
    """Each pair of rows has one distance."""
    return [(a, b, weight) for (a, b), weight in {(a, b): weight for a, b, weight in edges}.items()]


@settings(deadline=None)
@given(EDGES)
def test_components_are_those_of_union_find(edges):
    left, right, _ = arrays(edges)
    found = components(10, left, right)
    roots, _ = by_union_find(10, edges)
    assert [found.tolist().index(number) for number in found] == [roots.index(root) for root in roots]


@settings(deadline=None)
@given(EDGES.map(unique), st.randoms(use_true_random=False), st.integers(1, 5))
def test_the_forest_is_kruskals_whatever_the_order_and_the_parts(edges, chance, parts):
    import evenly.curation.duplicates.merging as module

    chance.shuffle(edges)
    before, module._HELD = module._HELD, -100  # thinned each time
    try:
        forest = Forest(10)
        for part in range(parts):
            forest.add(*arrays(edges[part::parts]))
            forest.add(*arrays(edges[part::parts]))
        left, right = forest.edges()
    finally:
        module._HELD = before
    _, taken = by_union_find(10, edges)
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == sorted((a, b) for a, b, _ in taken)


@settings(deadline=None)
@given(EDGES.map(unique), st.randoms(use_true_random=False), st.integers(1, 5))
def test_a_forest_over_numbers_is_that_over_places_in_parts_of_parts_too(edges, chance, parts):
    """Each part gives its forest, and the forest of these is that of all edges."""
    import evenly.curation.duplicates.merging as module

    chance.shuffle(edges)
    numbers = np.array([0, 5, 2**40, 2**63, 2**63 + 1, 2**64 - 1], np.uint64)
    before, module._HELD = module._HELD, -100  # thinned each time
    try:
        total = NumberedForest()
        for part in range(parts):
            forest = NumberedForest()
            for edge in edges[part::parts]:
                left, right, weight = arrays([edge])
                forest.add(numbers[left], numbers[right], weight)
            total.add(*forest.edges())
        found = total.edges()
    finally:
        module._HELD = before
    _, taken = by_union_find(10, edges)
    expected = sorted((int(numbers[a]), int(numbers[b]), weight) for a, b, weight in taken)
    assert list(zip(*(side.tolist() for side in found), strict=True)) == expected
