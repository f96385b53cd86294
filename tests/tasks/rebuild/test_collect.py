"""What becomes of every row, to the bit; labels from a file or from columns of the pool itself."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.curation.uids import pair_uid
from evenly.storage.pools.source import LabelFile, PoolError, PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks.rebuild.collect import COLLECT, CollectRule, hash_sources
from evenly.tasks.run import LabelColumns, Run

POOL = """url,caption,species,photographer
http://a.test/1.png,a robin,robin,ann
http://a.test/2.png,a wren,wren,ann
http://a.test/3.png,no label,,bob
"""
LABELS = "url,label,group\nhttp://a.test/2.png,bird,g1\n"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "pool.csv").write_text(POOL)
    (tmp_path / "labels.csv").write_text(LABELS)

    def make(labels):
        sources = (PoolSource(kind="csv", path=str(tmp_path / "pool.csv")),)
        return Run(workspace=Workspace.at(tmp_path / "w"), seed=1, sources=sources, labels=labels)

    return make


def collected(run):
    rows = COLLECT.compute(run, (), CollectRule()).decisions
    return {row["url"][-5]: (row["label"], row["group"] == row["uid"] or row["group"]) for row in rows.to_pylist()}


def test_columns_of_the_pool_give_label_and_group(run):
    assert collected(run(LabelColumns(label="species", group="photographer"))) == {
        "1": ("robin", "ann"),
        "2": ("wren", "ann"),
        "3": (None, "bob"),
    }


def test_labels_may_be_numbers_of_the_pool_and_nothing_else_but_text(tmp_path):
    urls = [f"http://a.test/{number}.png" for number in (1, 2)]
    table = pa.table({"url": urls, "caption": ["a", "b"], "class": [7, None], "tags": [["x"], None]})
    pq.write_table(table, tmp_path / "p.parquet")
    sources = (PoolSource(kind="parquet", path=str(tmp_path / "p.parquet")),)
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, sources=sources, labels=LabelColumns(label="class"))
    assert collected(run) == {"1": ("7", True), "2": (None, True)}
    with pytest.raises(PoolError, match=r"`labels.column` must name a column of text or numbers; got `tags` of type"):
        collected(replace(run, labels=LabelColumns(label="tags")))


def test_without_a_group_column_a_pair_is_a_group_of_its_own(run):
    assert collected(run(LabelColumns(label="species"))) == {
        "1": ("robin", True),
        "2": ("wren", True),
        "3": (None, True),
    }


def test_a_label_file_gives_label_and_group(run, tmp_path):
    found = collected(run(LabelFile(file=str(tmp_path / "labels.csv"))))
    assert found == {"1": (None, True), "2": ("bird", "g1"), "3": (None, True)}


def test_a_column_that_is_not_there_is_named_with_those_that_are(run):
    with pytest.raises(PoolError, match=r"`labels.column` must be a column of the pool; got `kind`. It has .*species"):
        collected(run(LabelColumns(label="kind")))


def test_a_row_that_is_no_pair_of_its_own_keeps_its_id(tmp_path):
    rows = "id,url,caption\nc1,http://a.test/1,a\nc2,http://a.test/1,a\nc3,no-url,a\nc4,,b\n"
    (tmp_path / "pool.csv").write_text(rows)
    sources = (PoolSource(kind="csv", path=str(tmp_path / "pool.csv"), id="id"),)
    output = COLLECT.compute(Run(workspace=Workspace.at(tmp_path / "w"), seed=1, sources=sources), (), CollectRule())
    ids = {(row["reason"], row["source_id"]) for row in output.tables["arrivals"].to_pylist()}
    assert ids == {("", None), ("same_pair", "c2"), ("bad_url", "c3"), ("missing_url", "c4")}


def test_other_label_columns_make_another_key(run):
    keys = [
        hash_sources(run(labels), (), {})
        for labels in (None, LabelColumns(label="species"), LabelColumns(label="species", group="photographer"))
    ]
    assert len({str(sorted(key.items())) for key in keys}) == 3


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["http://a.test/1", "http://a.test/2", "https://\u00fc.test", None, "", "ftp://x", "http://"]),
        st.sampled_from(["a fox", "", None, "\U0001f98a", "a cat"]),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(ROWS, min_size=1, max_size=2), limit=st.sampled_from([None, 1, 2, 50]))
def test_every_row_is_kept_merged_or_refused_as_a_loop_over_rows_would(tmp_path, files, limit):
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    for number, rows in enumerate(files):
        columns = {name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(("url", "caption"))}
        pq.write_table(pa.table(columns), tmp_path / f"{number}.parquet")
    source = PoolSource(kind="parquet", path=str(tmp_path / "*.parquet"))
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, sources=(source,))
    try:
        found = COLLECT.compute(run, (), CollectRule(limit=limit))
    except PoolError:
        return
    arrivals = found.tables["arrivals"].to_pylist()
    assert len(arrivals) == sum(map(len, files))
    pairs = {row["uid"]: {"url": row["url"], "caption": row["caption"]} for row in found.decisions.to_pylist()}
    for row in arrivals:
        if row["reason"] in ("", "same_pair"):
            assert (row["url"], row["caption"]) == (None, None)
            row.update(pairs[row["uid"]])
    seen: list[str] = []
    for row in arrivals:
        web = row["url"] is not None and row["url"].startswith("http") and len(row["url"]) > len("https://")
        uid = pair_uid(row["url"], row["caption"]) if web and row["caption"] is not None else None
        assert row["uid"] == uid
        if uid is None:
            assert (row["verdict"], bool(row["reason"]), row["into"]) == ("failed", True, None)
            continue
        is_first = uid not in seen
        seen += [uid] if is_first else []
        over = limit is not None and len(seen) > limit
        expected = (
            ("dropped", "limit", None) if over else ("kept", "", None) if is_first else ("merged", "same_pair", uid)
        )
        assert (row["verdict"], row["reason"], row["into"]) == expected
    order = [(row["uid"] is None, row["uid"], row["source"], row["row"]) for row in arrivals if row["uid"]]
    assert order == sorted(order)
