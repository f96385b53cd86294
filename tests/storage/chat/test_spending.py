import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.errors import DamagedError
from evenly.storage.workspace import Workspace


@pytest.fixture
def journal(tmp_path):
    return SpendingJournal(Workspace(tmp_path), "birds")


def again(journal):
    return SpendingJournal(Workspace(journal.path.parents[1]), journal.account)


def test_what_is_set_aside_counts_until_it_is_settled(journal):
    assert journal.reserve("a", 2.0)
    assert journal.reserve("b", 3.0)
    journal.settle("a", 0.5)
    for one in (journal, again(journal)):
        assert one.total() == pytest.approx(3.5)
        assert one.lost() == [("b", 3.0)]


def test_a_reservation_past_the_limit_changes_nothing(journal):
    assert journal.reserve("a", 2.0, limit_usd=2.0)
    assert not journal.reserve("b", 0.001, limit_usd=2.0)
    assert again(journal).lost() == [("a", 2.0)]
    journal.settle("a", 1.0)
    assert journal.reserve("b", 1.0, limit_usd=2.0)


def test_an_entry_is_reserved_once_and_settled_once(journal):
    assert journal.reserve("a", 2.0)
    assert journal.reserve("a", 5.0, limit_usd=2.0)
    journal.settle("a", 1.0)
    journal.settle("a", 2.0)
    assert journal.total() == 1.0
    with pytest.raises(ValueError, match="settled"):
        journal.reserve("a", 1.0)
    with pytest.raises(ValueError, match="reserved before"):
        journal.settle("b", 1.0)


def test_an_account_that_was_never_used_has_no_file(journal):
    assert journal.total() == 0
    assert journal.lost() == []
    assert not journal.path.parent.exists()


def test_accounts_with_names_that_no_file_could_have_are_apart(tmp_path):
    workspace = Workspace(tmp_path)
    names = ["../../etc", "a/b", "a" * 5_000, "\n", ""]
    for number, name in enumerate(names):
        assert SpendingJournal(workspace, name).reserve("x", float(number))
    assert [SpendingJournal(workspace, name).total() for name in names] == [0, 1, 2, 3, 4]
    assert all(path.parent == workspace.spending for path in tmp_path.rglob("*.jsonl"))
    first = json.loads(SpendingJournal(workspace, "a/b").path.read_text().splitlines()[0])
    assert first["account"] == "a/b"


@given(cut=st.integers(1, 80))
def test_a_line_cut_off_by_a_crash_was_never_acknowledged_and_goes(tmp_path_factory, cut):
    journal = SpendingJournal(Workspace(tmp_path_factory.mktemp("w")), "birds")
    assert journal.reserve("a", 1.0)
    whole = journal.path.read_bytes()
    assert journal.reserve("b", 2.0)
    longer = journal.path.read_bytes()
    journal.path.write_bytes(longer[: max(len(whole), len(longer) - cut)])
    fresh = again(journal)
    assert fresh.lost() == [("a", 1.0)]
    assert fresh.reserve("c", 4.0)
    assert again(journal).total() == 5.0


@pytest.mark.parametrize("line", ["{", "[]", '{"settle": "zzz", "usd": 1}', '{"reserve": "x", "usd": -1}', "null"])
def test_a_line_that_cannot_be_is_damage(journal, line):
    journal.reserve("a", 1.0)
    with journal.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DamagedError, match=r"byte \d+"):
        again(journal).total()


def test_a_journal_that_shrinks_is_damage(journal):
    journal.reserve("a", 1.0)
    journal.path.write_text("")
    with pytest.raises(DamagedError, match="grow"):
        journal.total()


def _spend_in_process(root, process, results):
    journal = SpendingJournal(Workspace(root), "birds")
    results.put(sum(journal.reserve(f"{process}-{i}", 1.0, limit_usd=25.0) for i in range(20)))


def test_two_processes_keep_one_limit(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_spend_in_process, args=(tmp_path, number, results)) for number in range(2)]
    for worker in workers:
        worker.start()
    granted = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(granted) == 25
    assert SpendingJournal(Workspace(tmp_path), "birds").total() == 25.0


def test_threads_keep_one_limit(journal):
    start = threading.Barrier(6)

    def work(thread):
        start.wait()
        return sum(journal.reserve(f"{thread}-{i}", 1.0, limit_usd=40.0) for i in range(10))

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(work, range(6))) == 40
    assert again(journal).total() == 40.0


def test_any_flipped_bit_in_a_journal_is_damage(journal):
    journal.reserve("a", 2.0)
    journal.settle("a", 0.5)
    journal.reserve("b", 1.0)
    content = journal.path.read_bytes()
    for at in range(len(content)):
        for bit in range(8):
            journal.path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            with pytest.raises(DamagedError):
                again(journal).total()


def test_a_line_that_is_lost_between_others_is_damage(journal):
    for name in "abc":
        journal.reserve(name, 1.0)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with pytest.raises(DamagedError):
        again(journal).total()


def test_a_journal_from_before_there_were_checksums_goes_on(journal):
    journal.path.parent.mkdir(parents=True)
    journal.path.write_text('{"account":"birds","time":"t"}\n{"reserve":"a","usd":2.0,"time":"t"}\n')
    assert journal.total() == pytest.approx(2.0)
    journal.settle("a", 0.5)
    journal.reserve("b", 1.0)
    assert again(journal).total() == pytest.approx(1.5)
