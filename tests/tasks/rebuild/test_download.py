"""What was observed of each URL decides its pairs, once for all captions; the key is what was observed and no more."""

import io
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.curation.decisions import Decisions
from evenly.curation.reservations.rule import DownloadRule
from evenly.curation.step import NoRule
from evenly.storage.errors import DamagedError, StorageError
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.local_rows import LOCAL
from evenly.storage.pools.source import PoolSource
from evenly.storage.records import content_hash
from evenly.storage.web.rule import RIGHTS
from evenly.storage.web.shards import RECORDS, URLS, publish_shard, shard_name, url_key
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.rebuild.filters import CHECK_IMAGES
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from tests.picture_pool import commit, plain_step
from tests.step_outputs import output_of
from tests.tasks.whole_rebuild import RED, ColourWords, Row, open_run, picture

RULE = asdict(DownloadRule()) | {"respect": ["robots"], "tolerate": []}


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3, processes=1)


def collected(run, urls):
    uids = pa.array([f"{number:032x}" for number in range(len(urls))])
    decisions = Decisions.keep_all(len(urls)).to_table(uids).append_column("url", pa.array(urls, pa.string()))
    step = plain_step("collect", lambda *_: StepOutput(decisions=decisions))
    return [commit(run, step, [], {"urls": content_hash(urls)})]


def observe(run, *observations: dict):
    """Record observations as a download run does, in a shard of their own."""
    rows = [dict.fromkeys(RECORDS.names) | {"attempt": 1} | one for one in observations]
    urls = [row["url"] for row in rows]
    attempts = [row["attempt"] for row in rows]
    name = shard_name(pa.table([urls, [url_key(url) for url in urls], attempts], schema=URLS))
    run.workspace.downloads.mkdir(parents=True, exist_ok=True)
    path = run.workspace.downloads / "records"
    pq.write_table(pa.Table.from_pylist(rows, RECORDS), path)
    publish_shard(run.workspace.downloads, name, tar=None, records=path)


def seen(url: str, outcome: str = "success", verdict: str = "kept", **more) -> dict:
    return {"url": url, "outcome": outcome, "verdict": verdict, "http_status": 200, "evidence": f"saw {outcome}"} | more


A, B, C = "http://a.test/1.png", "http://b.test/2.png", "http://c.test/3.png"


def judged(run, records):
    return output_of(DOWNLOAD, run, records, DOWNLOAD.read(RULE)).decisions.to_pylist()


def test_each_outcome_has_its_verdict_reason_and_evidence(run):
    observe(run, seen(A, image_id="i1"), seen(B, "robots", "dropped"), seen(C, "http_404", "failed", http_status=404))
    rows = judged(run, collected(run, [A, B, C]))
    assert [(row["verdict"], row["reason"], row["evidence"]) for row in rows] == [
        ("kept", "", "saw success"),
        ("dropped", "robots", "saw robots"),
        ("failed", "http_404", "saw http_404"),
    ]
    assert [row["value"] for row in rows] == [200.0, 200.0, 404.0]
    assert [row["image_id"] for row in rows] == ["i1", None, None]


def test_pairs_of_one_url_share_its_observation(run):
    observe(run, seen(A, image_id="i1"), seen(B, "dns", "failed", http_status=None))
    rows = judged(run, collected(run, [A, B, A, B, A]))
    assert [row["verdict"] for row in rows] == ["kept", "failed", "kept", "failed", "kept"]
    assert {row["image_id"] for row in rows if row["verdict"] == "kept"} == {"i1"}


def test_the_last_attempt_counts(run):
    observe(run, seen(A, "timeout", "failed"))
    observe(run, seen(A, image_id="i1", attempt=2))
    assert [row["verdict"] for row in judged(run, collected(run, [A]))] == ["kept"]


def test_the_key_follows_what_was_observed_of_these_pairs_alone(run):
    records = collected(run, [A, B])
    observe(run, seen(A, image_id="i1"), seen(B, "timeout", "failed"))
    first = DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE)).key
    observe(run, seen(C, image_id="i3"))
    assert DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE)).key == first
    observe(run, seen(B, image_id="i2", attempt=2))
    assert DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE)).key != first


@pytest.mark.parametrize(("field", "value"), [("image_id", "i9"), ("final_url", "http://moved.test"), ("width", 9)])
def test_any_observed_value_is_part_of_the_key(run, field, value):
    records = collected(run, [A])
    observe(run, seen(A, image_id="i1"))
    first = DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE)).key
    observe(run, seen(A, image_id="i1", attempt=2))
    assert DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE)).key == first
    observe(run, seen(A, image_id="i1", attempt=3) | {field: value})
    assert DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE)).key != first


@pytest.mark.parametrize("change", [{"timeout_s": 0}, {"respect": ["manners"]}, {"patience": 3}])
def test_a_stored_rule_that_makes_no_sense_is_refused(change):
    with pytest.raises(DamagedError, match="the rule of step `download` must be one that this version knows"):
        DOWNLOAD.read(RULE | change)


# Pictures at hand are taken, once, with their bytes as they are.


def fox(number: int, **changes) -> Row:
    return Row(f"fox{number}", f"fox number {number}", picture(RED, pattern=number, **changes))


def taken(run):
    first = run_step(run, COLLECT, (), COLLECT.read({"limit": None}))
    return run_step(run, DOWNLOAD, (first,), DOWNLOAD.read(RULE))


def test_a_picture_of_two_captions_is_taken_once_and_a_second_run_takes_nothing(tmp_path):
    run = open_run(tmp_path / "w", [fox(1), Row("again", "the same", fox(1).content), fox(2)], processes=1)
    record = taken(run)
    assert record.counts["kept"] == 3
    (tar,) = run.workspace.downloads.glob("*.tar")
    before = tar.stat().st_mtime_ns
    assert tar.read_bytes().count(fox(1).content) == 1
    assert taken(run) == record
    assert tar.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"max_bytes": 100}, "too_many_bytes"), ({"max_pixels": 100}, "too_many_pixels")],
)
def test_limits_hold_for_pictures_at_hand_too(tmp_path, change, reason):
    small = Row("small", "a small one", picture(RED, size=(4, 4)))
    run = open_run(tmp_path / "w", [fox(1), small], processes=1)
    first = run_step(run, COLLECT, (), COLLECT.read({"limit": None}))
    limit = {"max_bytes": len(small.content)} if "max_bytes" in change else {"max_pixels": 16}
    record = run_step(run, DOWNLOAD, (first,), DOWNLOAD.read(RULE | limit))
    assert record.reasons == {reason: 1}
    assert record.counts == {"kept": 1, "dropped": 1, "failed": 0, "merged": 0}


def test_a_picture_that_changes_while_a_run_goes_on_is_refused(tmp_path):
    run = open_run(tmp_path / "w", [fox(1), fox(2)], processes=1)
    first = run_step(run, COLLECT, (), COLLECT.read({"limit": None}))
    path = tmp_path / "w" / "pool" / "fox1.png"
    path.write_bytes(fox(3).content)
    with pytest.raises(StorageError, match="must stay as they are while a rebuild runs; 1 are gone"):
        DOWNLOAD.observe(run, (first,), DOWNLOAD.read(RULE), InProcess(run=run))
    path.write_bytes(fox(1).content)
    assert taken(run).counts["kept"] == 2


def test_addresses_of_pictures_are_hashes_and_why_they_failed_is_said(tmp_path):
    run = open_run(tmp_path / "w", [fox(1), Row("text", "no picture", b"just text")], processes=1)
    record = taken(run)
    first = run.ledger.records("collect")[0]
    urls = run.ledger.decisions(first, ["url"])["url"].to_pylist()
    assert all(url.startswith(LOCAL) and len(url) == len(LOCAL) + 64 for url in urls)
    assert record.reasons == {"not_an_image": 1}
    assert record.counts["failed"] == 1


# Pools of features have vectors instead of pictures.


@pytest.fixture
def features(tmp_path, colour_words):  # noqa: ARG001 - the run's encoder
    """A pool of five captions with features, of which one has none that is usable."""
    vectors = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]] * 3
    vectors[4] = 0
    table = pa.table(
        {
            "caption": [f"caption {number}" for number in range(5)],
            "vector": pa.array(vectors.tolist(), pa.list_(pa.float32())),
            "width": [10, 20, None, 40, 50],
            "height": [1, 2, 3, 4, 5],
        }
    )
    pq.write_table(table, tmp_path / "pool.parquet")
    source = PoolSource(kind="features", path=str(tmp_path / "pool.parquet"), vector="vector")
    return lambda workspace: Run(workspace=workspace, seed=3, sources=(source,), processes=1)


def test_features_are_taken_with_the_sizes_that_the_pool_tells(features, workspace):
    run = features(workspace)
    record = taken(run)
    rows = run.ledger.decisions(record, ["verdict", "width", "height", "n_bytes"]).to_pylist()
    assert record.counts["kept"] == 4
    assert sorted((row["width"] or 0, row["height"]) for row in rows) == [(0, 3), (10, 1), (20, 2), (40, 4)]
    assert {row["n_bytes"] for row in rows} == {None}
    first = run.ledger.records("collect")[0]
    assert first.reasons == {"bad_features": 1}


def test_features_without_pictures_have_no_fingerprints_and_pass_the_checks_of_their_sizes(features, workspace):
    run = features(workspace)
    first = run_step(run, COLLECT, (), COLLECT.read({"limit": None}))
    records = (first, run_step(run, DOWNLOAD, (first,), DOWNLOAD.read(RULE)))
    rule = CHECK_IMAGES.read({"image_size": {"min_side": 2}})
    checked = run.ledger.decisions(run_step(run, CHECK_IMAGES, records, rule), ["verdict", "phash"]).to_pylist()
    assert {row["phash"] for row in checked} == {None}
    assert sorted(row["verdict"] for row in checked) == ["dropped", "failed", "kept", "kept"]


def test_stored_features_are_the_pools_own_as_unit_rows(features, workspace):
    run = features(workspace)
    first = run_step(run, COLLECT, (), COLLECT.read({"limit": None}))
    records = (first, run_step(run, DOWNLOAD, (first,), DOWNLOAD.read(RULE)))
    embedded = run_step(run, EMBED_IMAGES, records, NoRule())
    table = run.ledger.table(embedded, "features").to_pylist()
    assert len(table) == 3  # equal vectors are one picture
    assert {row["norm"] for row in table} == {3.0}
    assert len({row["digest"] for row in table}) == 3


def test_features_of_another_length_than_the_encoders_are_refused(features, workspace, monkeypatch):
    run = features(workspace)
    first = run_step(run, COLLECT, (), COLLECT.read({"limit": None}))
    records = (first, run_step(run, DOWNLOAD, (first,), DOWNLOAD.read(RULE)))
    monkeypatch.setattr(ColourWords, "dimension", 4)
    with pytest.raises(ValueError, match=r"`vector` must be features of the recipe's encoder, of 4 numbers; got 3"):
        run_step(run, EMBED_IMAGES, records, NoRule())


def test_a_file_of_arrays_beside_the_pool_is_read_the_same(features, workspace, tmp_path):
    by_column = taken(features(workspace)).counts
    table = pq.read_table(tmp_path / "pool.parquet")
    stream = io.BytesIO()
    np.savez(stream, vector=np.array(table["vector"].to_pylist(), np.float32))
    other = tmp_path / "other"
    other.mkdir()
    (other / "pool.npz").write_bytes(stream.getvalue())
    pq.write_table(table.drop(["vector"]), other / "pool.parquet")
    source = PoolSource(kind="features", path=str(other / "pool.parquet"), vector="vector")
    run = Run(workspace=type(workspace).at(tmp_path / "w2"), seed=3, sources=(source,), processes=1)
    assert taken(run).counts == by_column


def test_what_was_reserved_is_a_column_and_a_reason_where_the_rule_asks(run):
    records = collected(run, [A, B, C])
    rights = {"reservation": "iptc", "reservation_evidence": "2026-11-30T22:00:00Z plus:DataMining DMI-PROHIBITED"}
    observe(run, seen(A, image_id="i1", **rights), seen(B, image_id="i2", reservation=""), seen(C, image_id="i3"))
    assert "reservation" not in judged(run, records)[0]
    rows = output_of(DOWNLOAD, run, records, DOWNLOAD.read(RULE | {"store_reservations": True})).decisions.to_pylist()
    assert [(row["reason"], row["reservation"]) for row in rows] == [("", "iptc"), ("", ""), ("", None)]
    assert rows[0]["reservation_evidence"] == rights["reservation_evidence"]
    rows = output_of(DOWNLOAD, run, records, DOWNLOAD.read(RULE | {"respect": ["iptc"]})).decisions.to_pylist()
    assert [(row["verdict"], row["reason"]) for row in rows] == [("dropped", "iptc"), ("kept", ""), ("kept", "")]
    keys = [DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE | more)).key for more in ({}, {"store_reservations": True})]
    observe(run, seen(A, image_id="i1", attempt=2, reservation="noml"))
    later = [DOWNLOAD.spec(run, records, DOWNLOAD.read(RULE | more)).key for more in ({}, {"store_reservations": True})]
    assert keys[0] == later[0]
    assert keys[1] != later[1]


def test_records_of_earlier_versions_have_no_reservations(run):
    observe(run, seen(A, image_id="i1"))
    (path,) = run.workspace.downloads.glob("*.parquet")
    old = pq.read_table(path)
    pq.write_table(old.drop_columns([*RIGHTS]).replace_schema_metadata(None), path)
    rows = output_of(DOWNLOAD, run, collected(run, [A]), DOWNLOAD.read(RULE | {"store_reservations": True}))
    assert rows.decisions.select(["reason", *RIGHTS]).to_pylist() == [{"reason": ""} | dict.fromkeys(RIGHTS)]
