"""Components of twins, and the strongest links that hold each together.

Of all measured twins only a minimum spanning forest is held, so that memory grows with the rows and not with the pairs:
10,000 near-copies of one picture leave 9,999 edges, not 50 million. With ties broken by the rows' numbers the forest is
the only one: it depends on neither the order in which twins were found nor on other components.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evenly.curation.duplicates.lsh import Ints

Floats = npt.NDArray[np.float64]
_HELD = 1 << 20  # edges held before they are thinned


@dataclass
class Forest:
    """A minimum spanning forest over `n` rows, to which edges are added; a small `weight` is a strong link."""

    n: int
    left: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    right: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    weight: Floats = field(default_factory=lambda: np.empty(0))
    _component: Ints | None = None
    _worst: Ints | None = None  # the weakest edge of each component

    def add(self, left: Ints, right: Ints, weight: Floats) -> None:
        """Add edges (i, j), i < j; one that cannot be in the forest is not held."""
        if self._component is not None and self._worst is not None:
            # The weakest edge of a cycle is in no minimum spanning forest.
            component = self._component[left]
            worst = self._worst[component]
            new = (component != self._component[right]) | (weight < self.weight[worst])
            equal = weight == self.weight[worst]
            new |= equal & ((left < self.left[worst]) | ((left == self.left[worst]) & (right < self.right[worst])))
            left, right, weight = left[new], right[new], weight[new]
        self.left = np.concatenate([self.left, left])
        self.right = np.concatenate([self.right, right])
        self.weight = np.concatenate([self.weight, weight])
        if len(self.left) > _HELD + self.n:
            self._thin()

    def edges(self) -> tuple[Ints, Ints]:
        """The edges (i, j) of the forest, sorted."""
        self._thin()
        order = np.lexsort((self.right, self.left))
        return self.left[order], self.right[order]

    def _thin(self) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        order = np.lexsort((self.right, self.left, self.weight))
        left, right = self.left[order], self.right[order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = (np.diff(left) != 0) | (np.diff(right) != 0)
        order, left, right = order[new], left[new], right[new]
        rank = np.arange(1, len(order) + 1, dtype=np.float64)
        tree = minimum_spanning_tree(coo_array((rank, (left, right)), shape=(self.n, self.n)).tocsr())
        order = order[tree.data.astype(np.int64) - 1]
        self.left, self.right, self.weight = self.left[order], self.right[order], self.weight[order]
        self._component = components(self.n, self.left, self.right)
        self._worst = np.zeros(self.n, dtype=np.int64)
        order = np.lexsort((self.right, self.left, self.weight))
        self._worst[self._component[self.left[order]]] = order  # the last one stays


def components(n: int, left: Ints, right: Ints) -> Ints:
    """Return the number (n,) of the component of each row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(left), dtype=np.int8)
    _, labels = connected_components(coo_array((ones, (left, right)), shape=(n, n)).tocsr(), directed=False)
    return np.asarray(labels, dtype=np.int64)
