"""The sample table beside the ledger it is made from: every pair once, and for each step what it said."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.errors import NotFoundError
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.samples import Samples, wide_table
from evenly.storage.workspace import Workspace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CAPTIONS = pa.schema([("uid", pa.string()), ("caption", pa.string())])


def commit(ledger, name, verdicts, tables=None, **columns):
    """The record of a step with a verdict, kept or dropped, for each uid."""
    uids = sorted(verdicts)
    words = [verdicts[uid] for uid in uids]
    decisions = {
        "uid": pa.array(uids, pa.string()),
        "verdict": pa.array(words, pa.string()),
        "reason": pa.array(["" if word == "kept" else "low" for word in words], pa.string()),
        "value": pa.array(range(len(uids)), pa.float64()),
        "into": pa.nulls(len(uids), pa.string()),
    }
    spec = StepSpec(name=name, version=1, rule={}, inputs={})
    output = StepOutput(decisions=pa.table(decisions | columns), tables=tables or {})
    return ledger.commit(spec, output, uids=decisions["uid"], started=NOW)


@settings(max_examples=20)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_a_pair_that_a_step_never_saw_holds_null_for_it(tmp_path_factory, fates):
    ledger = Ledger(Workspace.at(tmp_path_factory.mktemp("samples")))
    first = {uid: "kept" if keep else "dropped" for uid, (keep, _) in fates.items()}
    second = {uid: "kept" if keep else "dropped" for uid, (seen, keep) in fates.items() if seen}
    records = [commit(ledger, "collect", first), commit(ledger, "filter", second)]
    table = wide_table(ledger, records)
    assert table["uid"].to_pylist() == sorted(fates)
    for row in table.to_pylist():
        assert row["collect_verdict"] == first[row["uid"]]
        assert row["collect_step_id"] == records[0].key
        assert row["filter_verdict"] == second.get(row["uid"])
        assert row["filter_step_id"] == (records[1].key if row["uid"] in second else None)


def test_captions_that_a_pair_took_over_stand_once_in_order_and_without_its_own(workspace):
    ledger = Ledger(workspace)
    rows = [("a", "own"), ("a", "z"), ("a", "é"), ("a", "z"), ("c", "x")]
    merged = pa.table({"uid": [uid for uid, _ in rows], "caption": [text for _, text in rows]}, schema=CAPTIONS)
    verdicts = dict.fromkeys("abc", "kept")
    records = [
        commit(ledger, "collect", verdicts, caption=pa.array(["own", "b", None])),
        commit(ledger, "merge", verdicts, tables={"captions": merged}),
        commit(ledger, "merge_again", verdicts, tables={"captions": CAPTIONS.empty_table()}),
    ]
    assert wide_table(ledger, records)["merged_captions"].to_pylist() == [["z", "é"], [], ["x"]]
    assert "merged_captions" not in wide_table(ledger, records[:1]).column_names


def test_a_recipe_without_a_table_is_named_with_its_place(workspace):
    with pytest.raises(NotFoundError, match=r"sample table `.*birds\.lance` must exist"):
        Samples(workspace, "birds").read(1)


def test_a_build_without_a_pair_has_a_table_too(workspace):
    table = wide_table(Ledger(workspace), [commit(Ledger(workspace), "collect", {})])
    samples = Samples(workspace, "empty")
    version = samples.write(table)
    assert samples.read(version).schema.names == table.schema.names
    assert samples.read(version, where="collect_verdict = 'kept'").num_rows == 0
    samples.check(version)


def rows_from(first: int, **values: str) -> pa.Table:
    uids = [f"{first + number:032x}" for number in range(3)]
    return pa.table({"uid": uids} | {name: [value] * len(uids) for name, value in values.items()})


@pytest.mark.parametrize("first_is_cut", [True, False])
def test_partitions_of_a_build_with_other_columns_than_the_last_keep_their_values(workspace, first_is_cut):
    samples = Samples(workspace, "little")
    old = [rows_from(0, gone="x", caption="a fox", label="old"), rows_from(16, gone="x", caption="a fox", label="old")]
    if first_is_cut:
        before = samples.commit([samples.write_part(table) for table in old])
    else:
        before = samples.write(pa.concat_tables(old))
    new = [rows_from(0, caption="a cat", label="new"), rows_from(16, caption="a cat", label="new")]
    after = samples.commit([samples.write_part(table) for table in new])
    assert samples.read(after).to_pylist() == pa.concat_tables(new).to_pylist()
    assert samples.read(before).to_pylist() == pa.concat_tables(old).to_pylist()
