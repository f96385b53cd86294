import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest

from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.errors import DamagedError
from evenly.storage.workspace import Workspace


@pytest.fixture
def journal(stored_workspace):
    return SpendingJournal(stored_workspace, "birds")


def again(journal):
    return SpendingJournal(Workspace.at(journal.path.parents[1]), journal.account)


def test_what_is_set_aside_counts_until_it_is_settled(journal):
    assert (journal.total(), journal.lost(), journal.path.exists()) == (0, [], False)
    other = again(journal)
    assert journal.reserve("a", 2.0)
    assert other.reserve("b", 3.0)
    assert not other.reserve("c", 0.1, limit_usd=5.0)
    journal.settle("a", 0.5)
    journal.settle("a", 7.0)
    for one in (journal, other, again(journal)):
        assert one.total() == pytest.approx(3.5)
        assert one.lost() == [("b", 3.0)]
    with pytest.raises(ValueError, match="settled"):
        other.reserve("a", 1.0)
    with pytest.raises(ValueError, match="reserved before"):
        other.settle("x", 1.0)
    assert sum(1 for _ in journal.path.objects()) == 4  # the account, two reservations, a settlement


def reserve_many(root, name):
    journal = SpendingJournal(Workspace.at(root), "birds")
    return sum(journal.reserve(f"{name}-{number}", 1.0, limit_usd=10.0) for number in range(10))


def test_two_processes_and_their_threads_keep_one_limit(journal):
    root = str(journal.path.parents[1])
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        counts = processes.starmap(reserve_many, [(root, "a"), (root, "b")])
    assert sum(counts) == 10
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda number: again(journal).reserve(f"t{number}", 0.5, limit_usd=12.0), range(16))) == 4
    assert again(journal).total() == 12.0


def test_a_line_that_has_changed_or_is_gone_is_damage(journal):
    for entry in "abc":
        journal.reserve(entry, 1.0)
    place = journal.path / "0000000003.json"
    content = place.read_bytes()
    place.write_bytes(content.replace(b"1.0", b"2.0"))
    with pytest.raises(DamagedError, match="in `0000000003"):
        again(journal).total()
    place.unlink()
    with pytest.raises(DamagedError, match=r"must only grow; .*0000000003[.]json is gone"):
        again(journal).total()
