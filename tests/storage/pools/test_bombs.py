"""Small files that stand for much, by every reader: less than 300 MB above idle, and what is left out is said."""

import pytest

from evenly.storage.pools.source import LOCAL_READERS, READERS
from tests.bombs import BOMBS, rows_of

MOST_MB = 300
SILENT = {"", "pairs"}


def test_every_kind_of_source_has_five_bombs():
    assert BOMBS.keys() == {*READERS, *LOCAL_READERS}
    assert all(len(bombs) >= 5 for bombs in BOMBS.values())


# Of some kinds those that are made and read within a second or two.
QUICK = {
    "csv": ("many columns",),
    "features": ("a header that lies",),
    "wat": ("one record",),
}


@pytest.mark.parametrize(
    ("kind", "names"), [*QUICK.items(), *(pytest.param(k, (*BOMBS[k],), marks=pytest.mark.slow) for k in BOMBS)]
)
def test_a_bomb_takes_little_memory_and_says_what_becomes_of_it(kind, names):
    measured = list(rows_of(kind, *names))
    assert tuple(name for name, *_ in measured) == names
    assert {name: peak for name, _, peak, *_ in measured if peak >= MOST_MB} == {}
    assert [name for name, *_, outcome in measured if outcome in SILENT or outcome.startswith("MemoryError")] == []
