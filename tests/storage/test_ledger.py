import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.storage.errors import ConservationError, NotFoundError, StorageError
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.records import read_record
from evenly.storage.samples import Samples, wide_table

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UIDS = ["a", "b", "c", "d"]


def spec(name: str = "step", **changes: object) -> StepSpec:
    return StepSpec(**({"name": name, "version": 1, "rule": {"t": 1}, "inputs": {}} | changes))


def decisions(uids=UIDS, verdicts=("kept", "dropped", "merged", "failed"), **columns) -> pa.Table:
    verdicts = list(verdicts)
    reasons = {"kept": "", "dropped": "low", "merged": "twin", "failed": "http_404"}
    table = {
        "uid": pa.array(list(uids), pa.string()),
        "verdict": pa.array(verdicts, pa.string()),
        "reason": pa.array([reasons.get(verdict, "odd") for verdict in verdicts], pa.string()),
        "value": pa.array([0.5] * len(verdicts), pa.float64()),
        "into": pa.array(["a" if verdict == "merged" else None for verdict in verdicts], pa.string()),
    }
    return pa.table(table | columns)


def test_a_committed_step_is_found_by_its_key_with_counts_and_reasons(workspace):
    ledger = Ledger(workspace)
    record = ledger.commit(spec(), StepOutput(decisions=decisions()), uids=pa.array(UIDS), started=NOW)
    assert ledger.find(spec().key) == record
    assert record.counts == {"kept": 1, "dropped": 1, "failed": 1, "merged": 1}
    assert record.reasons == {"low": 1, "twin": 1, "http_404": 1}
    assert record.rows_in == 4


def test_a_table_that_runs_of_a_step_share_is_stored_once(workspace):
    ledger, shared = Ledger(workspace), pa.table({"entry": ["cat", "dog"]})
    records = []
    for number in range(2):
        output = StepOutput(decisions=decisions(value=pa.array([number / 2] * 4)), tables={"concepts": shared})
        records.append(ledger.commit(spec(seed=number), output, uids=pa.array(UIDS), started=NOW))
    assert sorted(path.name.partition("-")[0] for path in (workspace.ledger / "step").iterdir()) == [
        "concepts", "decisions", "decisions",
    ]  # fmt: skip
    assert all(ledger.table(record, "concepts").equals(shared) for record in records)


def test_a_step_whose_table_was_lost_is_run_again(workspace):
    ledger = Ledger(workspace)
    for number in range(3):
        assert ledger.find(spec().key) is None
        assert ledger.records("step") == []
        found = decisions(value=pa.array([number // 2] * 4, pa.float64()))
        record = ledger.commit(spec(), StepOutput(decisions=found), uids=pa.array(UIDS), started=NOW)
        assert ledger.decisions(record).equals(found)
        assert ledger.find(spec().key) == record
        assert ledger.records("step") == ledger.records() == [record]
        (file,) = (workspace.ledger / "step").iterdir()
        file.unlink()


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"version": 2}, {"rule": {"t": 2}}, {"inputs": {"x": "1"}}, {"model": "m"}, {"seed": 1}],
)
def test_anything_a_result_depends_on_changes_the_key(change):
    assert spec(**change).key != spec().key


@pytest.mark.parametrize(
    "bad",
    [
        decisions(UIDS[:3], ["kept"] * 3),
        decisions([*UIDS, "e"], ["kept"] * 5),
        decisions(["a", "a", "c", "d"], ["kept"] * 4),
        decisions(["b", "a", "c", "d"], ["kept"] * 4),
        decisions(UIDS, ["kept", "kept", "kept", "lost"]),
    ],
    ids=["skipped row", "invented row", "doubled row", "other order", "unknown verdict"],
)
def test_a_step_that_does_not_add_up_is_not_committed(workspace, bad):
    ledger = Ledger(workspace)
    with pytest.raises(ConservationError, match="Nothing was committed"):
        ledger.commit(spec(), StepOutput(decisions=bad), uids=pa.array(UIDS), started=NOW)
    assert ledger.find(spec().key) is None


def test_a_row_that_goes_without_a_reason_is_refused(workspace):
    silent = decisions().set_column(2, "reason", pa.array([""] * 4))
    with pytest.raises(ConservationError, match="3 rows without a reason"):
        Ledger(workspace).commit(spec(), StepOutput(decisions=silent), uids=pa.array(UIDS), started=NOW)


def test_alive_are_the_rows_that_every_step_kept_with_the_last_value_of_each_column(workspace):
    ledger = Ledger(workspace)
    first = ledger.commit(
        spec("first"),
        StepOutput(
            decisions=decisions(verdicts=["kept", "kept", "dropped", "kept"], url=pa.array(["u", "v", "w", "x"]))
        ),
        uids=pa.array(UIDS),
        started=NOW,
    )
    second = ledger.commit(
        spec("second"),
        StepOutput(decisions=decisions(["a", "b", "d"], ["kept", "dropped", "kept"], size=pa.array([1, 2, 3]))),
        uids=pa.array(["a", "b", "d"]),
        started=NOW,
    )
    assert ledger.alive([first, second], ["url", "size"]).to_pylist() == [
        {"uid": "a", "url": "u", "size": 1},
        {"uid": "d", "url": "x", "size": 3},
    ]
    third = ledger.commit(
        spec("third"),
        StepOutput(decisions=decisions(["a", "d"], ["dropped", "kept"], name=pa.array(["y", "z"]))),
        uids=pa.array(["a", "d"]),
        started=NOW,
    )
    again = ledger.commit(  # judges the pairs that `third` judged
        spec("again"),
        StepOutput(decisions=decisions(["a", "d"], size=pa.array([4, 5]), verdicts=["kept", "kept"])),
        uids=None,
        started=NOW,
    )
    assert ledger.alive([first, second, third], ["name", "url"]).to_pylist() == [{"uid": "d", "name": "z", "url": "x"}]
    rows = [{"uid": "a", "name": "y", "size": 4, "url": "u"}, {"uid": "d", "name": "z", "size": 5, "url": "x"}]
    assert ledger.alive([first, second, third, again], ["name", "size", "url"]).to_pylist() == rows
    only = Ledger(workspace, only=pa.array(["d", "e"]))
    assert only.alive([first, second, third, again], ["name", "size", "url"]).to_pylist() == rows[1:]
    with pytest.raises(KeyError, match="absent"):
        ledger.alive([first, second], ["absent"])


def test_an_interrupted_commit_leaves_nothing_and_can_be_repeated(workspace, monkeypatch):
    ledger = Ledger(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(
            "evenly.storage.ledger.create_record", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        with pytest.raises(OSError, match="No space left"):
            ledger.commit(spec(), StepOutput(decisions=decisions()), uids=pa.array(UIDS), started=NOW)
    assert ledger.find(spec().key) is None
    assert ledger.commit(spec(), StepOutput(decisions=decisions()), uids=pa.array(UIDS), started=NOW).rows_in == 4


@given(st.lists(st.sampled_from(["kept", "dropped", "failed", "merged"]), min_size=1, max_size=20))
def test_counts_add_up_to_the_rows(tmp_path_factory, verdicts):
    from evenly.storage.workspace import Workspace

    uids = [f"{number:04}" for number in range(len(verdicts))]
    ledger = Ledger(Workspace.at(tmp_path_factory.mktemp("w")))
    record = ledger.commit(spec(), StepOutput(decisions=decisions(uids, verdicts)), uids=pa.array(uids), started=NOW)
    assert sum(record.counts.values()) == record.rows_in == len(verdicts)
    assert sum(record.reasons.values()) == record.rows_in - record.counts["kept"]


def test_each_version_of_the_sample_table_stays_readable(workspace):
    ledger = Ledger(workspace)
    record = ledger.commit(spec("collect"), StepOutput(decisions=decisions()), uids=pa.array(UIDS), started=NOW)
    samples = Samples(workspace, "birds")
    first = samples.write(wide_table(ledger, [record]))
    second = samples.write(wide_table(ledger, [record]).slice(0, 2))
    assert samples.read(first).num_rows == 4
    assert samples.read(second).num_rows == 2
    row = samples.read(first, where="uid = 'b'").to_pylist()[0]
    assert row["collect_verdict"] == "dropped"
    assert row["collect_step_id"] == record.key


def test_a_record_of_a_newer_version_is_read(workspace):
    ledger = Ledger(workspace)
    record = ledger.commit(spec(), StepOutput(decisions=decisions()), uids=pa.array(UIDS), started=NOW)
    path = workspace.steps / f"{record.key}.json"
    path.write_text(json.dumps(read_record(path) | {"added_later": [1]}))
    assert ledger.find(record.key) == record


def test_of_two_writers_of_one_step_both_get_the_record_of_the_first(workspace):
    def commit(number):
        output = StepOutput(decisions=decisions(), notes={"writer": number})
        return Ledger(workspace).commit(spec(), output, uids=pa.array(UIDS), started=NOW)

    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(commit, range(8)))
    assert all(record == records[0] for record in records)
    assert Ledger(workspace).find(spec().key) == records[0]
    assert len(list((workspace.ledger / "step").iterdir())) == 1


def test_a_ledger_whose_folder_is_a_file_says_so_and_commits_nothing(workspace):
    workspace.root.mkdir()
    workspace.ledger.write_text("in the way")
    with pytest.raises(StorageError, match=r"table `.*` must be writable; .*Nothing was committed"):
        Ledger(workspace).commit(spec(), StepOutput(decisions=decisions()), uids=pa.array(UIDS), started=NOW)
    assert Ledger(workspace).find(spec().key) is None


def test_a_step_that_is_not_in_the_ledger_is_named_with_what_to_do(workspace):
    with pytest.raises(NotFoundError, match=r"step `abc` must be in the ledger; it is not\. Run it again\."):
        Ledger(workspace).get("abc", remedy="Run it again.")


def test_a_table_of_a_step_that_judges_no_pairs_keeps_its_order(workspace):
    ledger, ranking = Ledger(workspace), pa.table({"uid": ["c", "a", "b"], "score": [0.9, 0.5, 0.1]})
    record = ledger.commit(spec(), StepOutput(tables={"candidates": ranking}), uids=None, started=NOW)
    assert ledger.table(record, "candidates").equals(ranking)
