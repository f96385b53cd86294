from pathlib import Path

import pyarrow as pa

from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.tables.recent import RecentTables
from tests.storage.test_ledger import NOW

TABLE = pa.table({"uid": ["a", "b"], "value": [1.0, 2.0]})


def test_the_oldest_tables_go_first_and_a_large_one_is_not_held():
    tables = RecentTables(max_bytes=2 * TABLE.nbytes)
    for name in "ab":
        tables.add(Path(name), TABLE)
    assert tables.get(Path("a"), ["value"]).equals(TABLE.select(["value"]))
    tables.add(Path("c"), TABLE)
    assert [tables.get(Path(name)) is not None for name in "abc"] == [True, False, True]
    tables.add(Path("d"), pa.concat_tables([TABLE] * 3))
    assert [tables.get(Path(name)) is not None for name in "abcd"] == [True, False, True, False]


def test_a_ledger_reads_what_it_wrote_without_the_disk_and_another_from_there(workspace):
    ledger = Ledger(workspace, recent=RecentTables())
    spec = StepSpec(name="step", version=1, rule={}, inputs={})
    record = ledger.commit(spec, StepOutput(tables={"some": TABLE}), uids=None, started=NOW)
    assert ledger.table(record, "some", ["value"]).equals(Ledger(workspace).table(record, "some", ["value"]))
    (file,) = (workspace.ledger / "step").iterdir()
    file.write_bytes(b"")
    assert ledger.table(record, "some").equals(TABLE)
