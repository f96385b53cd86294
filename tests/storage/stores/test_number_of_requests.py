"""How often a store is asked: what a process wrote or read is not asked for again, and many objects are listed."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from evenly.storage.chat.spending import SpendingJournal
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.samples import Samples
from evenly.storage.workspace import Workspace
from tests.chaos.store import StoreRelay
from tests.object_store_server import make_bucket, reaching

ROWS = pa.table({"uid": [f"{number:032x}" for number in range(1000)], "value": np.arange(1000.0)})
TABLES = {name: pa.table({"number": [number]}) for number, name in enumerate("abcdef")}


@pytest.fixture
def asked(s3_server):
    """What the store was asked for since this list was last cleared: methods and paths."""
    requests: list[str] = []
    relay = StoreRelay(s3_server)
    relay.trouble = lambda method, path: requests.append(f"{method} {path}")
    relay.come()
    make_bucket(s3_server, "counted")
    with reaching(relay.address):
        yield requests
    relay.go()


@pytest.fixture
def workspace(asked, request):
    workspace = Workspace.at(f"s3://counted/{request.node.name}")
    (workspace.root / "first").write_bytes(b"")  # the store shows that it honours conditions
    asked.clear()
    return workspace


def spec(number):
    return StepSpec(name="step", version=1, rule={"number": number}, inputs={}, model=None, seed=None)


def test_a_step_is_found_by_its_record_and_one_listing_of_its_tables(workspace, asked):
    ledger, started = Ledger(workspace), datetime.now(UTC)
    assert ledger.find(spec(1).key) is None
    assert len(asked) == 1
    records = [ledger.commit(spec(number), StepOutput(tables=TABLES), uids=None, started=started) for number in (1, 2)]
    asked.clear()
    assert ledger.find(spec(1).key) == records[0]
    assert len(asked) == 2
    asked.clear()
    assert ledger.find_all([spec(2).key, spec(1).key, spec(3).key]) == [records[1], records[0], None]
    assert len(asked) == 4
    asked.clear()
    assert len(ledger.records()) == 2
    assert len(asked) == 4


def test_a_step_without_one_of_many_tables_is_not_finished(workspace):
    ledger = Ledger(workspace)
    record = ledger.commit(spec(1), StepOutput(tables=TABLES), uids=None, started=datetime.now(UTC))
    ledger.files(record)[3].unlink()
    assert ledger.find(spec(1).key) is None


def test_what_a_process_has_read_of_a_version_is_compared_once(workspace, asked):
    samples = Samples(workspace, "birds")
    version = samples.write(ROWS)
    where = f"uid = '{ROWS['uid'][7]}'"
    assert samples.read(version, where=where).num_rows == 1
    asked.clear()
    assert samples.read(version, where=where).num_rows == 1
    assert len(asked) <= 4
    assert not [path for path in asked if "_sums/data" in path or "bytes=-" in path]


@pytest.mark.slow  # on a busy machine its server once gave no answer in four tries
def test_features_are_added_without_looking_at_what_was_added_before(workspace, asked):
    store = FeatureStore(workspace, "encoder", "texts")
    numbers = []
    for name in "abcdefgh":
        asked.clear()
        assert store.missing([name]) == [name]
        store.append([name], np.ones((1, 4), np.float16), np.ones(1, np.float32))
        numbers.append(len(asked))
    assert max(numbers[2:]) - min(numbers[2:]) <= 7  # each file before is looked at for the name, no more
    assert max(numbers) <= 35


def test_a_line_of_a_journal_is_one_request(workspace, asked):
    journal = SpendingJournal(workspace, "birds")
    assert journal.reserve("a", 1.0, limit_usd=3.0)
    asked.clear()
    assert journal.reserve("b", 1.0, limit_usd=3.0)
    journal.settle("a", 0.5)
    assert len(asked) == 2


def test_a_journal_is_read_again_ahead_of_a_refusal(workspace):
    journal, other = SpendingJournal(workspace, "birds"), SpendingJournal(workspace, "birds")
    assert journal.reserve("a", 2.0, limit_usd=3.0)
    assert not other.reserve("b", 2.0, limit_usd=3.0)
    journal.settle("a", 0.5)
    assert other.reserve("b", 2.0, limit_usd=3.0)
    journal.settle("b", 1.0)
    with pytest.raises(ValueError, match="must be reserved before it is settled"):
        journal.settle("c", 1.0)
