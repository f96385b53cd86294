"""What becomes of every row, to the bit; labels from a file or from columns of the pool itself."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenly.storage.pools.source import LabelFile, PoolError, PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.collect import COLLECT, CollectRule, hash_sources
from evenly.tasks.run import LabelColumns, Run
from evenly.tasks.stage import run_steps
from tests.curation.test_uids import uid as uid_of
from tests.step_outputs import output_of

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
    rows = output_of(COLLECT, run, (), CollectRule()).decisions
    return {row["url"][-5]: (row["label"], row["group"] == row["uid"] or row["group"]) for row in rows.to_pylist()}


def test_columns_of_the_pool_give_label_and_group(run):
    assert collected(run(LabelColumns(label="species", group="photographer"))) == {
        "1": ("robin", "ann"),
        "2": ("wren", "ann"),
        "3": (None, "bob"),
    }


@pytest.mark.parametrize("bits", [0, 2])
def test_files_of_each_source_are_noted_by_name_without_their_folders(run, tmp_path, bits):
    """Where there are many, some, and how many there are."""
    for number in range(25):
        (tmp_path / f"more{number:02}.csv").write_text(f"url,caption\nhttp://b.test/{number},a robin\n")
    more = PoolSource(kind="csv", path=str(tmp_path / "more*.csv"), name="more")
    chosen = run(None)
    chosen = replace(chosen, sources=(*chosen.sources, more), bits=bits)
    (record,) = run_steps(chosen, [(COLLECT, CollectRule())], InProcess(run=chosen))
    one, many = record.notes["pools"]
    assert (one["kind"], one["files"], one["names"]) == ("csv", 1, ["pool.csv"])
    assert (many["source"], many["files"]) == ("more", 25)
    assert many["names"] == [f"more{number:02}.csv" for number in range(20)]


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
    output = output_of(COLLECT, Run(workspace=Workspace.at(tmp_path / "w"), seed=1, sources=sources), (), CollectRule())
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
        found = output_of(COLLECT, run, (), CollectRule(limit=limit))
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
        uid = uid_of("pair", row["url"], row["caption"]) if web and row["caption"] is not None else None
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


@pytest.fixture
def folder_run(tmp_path):
    """A folder of two pictures, and a file of labels that knows one of them by its file name."""
    for number, name in enumerate(("birds/a.png", "b.png")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture %d" % number)
        path.with_suffix(".txt").write_text("a robin")

    def make(key, bits=0):
        (tmp_path / "labels.csv").write_text(f"file_name,label\n{key},robin\n")
        sources = (PoolSource(kind="folder", path=str(tmp_path / "pictures")),)
        labels = LabelFile(file=str(tmp_path / "labels.csv"), key="file_name", group=None)
        return Run(
            workspace=Workspace.at(tmp_path / "w"), seed=1, sources=sources, labels=labels, bits=bits,
            progress=Progress(quiet=True),
        )  # fmt: skip

    return make


def test_pictures_at_hand_are_labelled_by_file_name_as_well(folder_run):
    rows = output_of(COLLECT, folder_run("birds/a.png"), (), CollectRule()).decisions.to_pylist()
    assert {row["file_name"]: row["label"] for row in rows} == {"birds/a.png": "robin", "b.png": None}
    (path,) = [row["url"] for row in rows if row["label"]]
    rows = output_of(COLLECT, folder_run(path), (), CollectRule()).decisions.to_pylist()
    assert {row["file_name"]: row["label"] for row in rows} == {"birds/a.png": "robin", "b.png": None}


@pytest.mark.parametrize("bits", [0, 1])
def test_a_file_that_labels_no_pair_stops_the_run_after_collecting(folder_run, bits):
    message = (
        r"`labels.key` .*; got `file_name` of `.*labels.csv`: 0 of 2 pairs have a label; keys begin with `pics/a.png`; "
        r"file names of the pool begin with `(birds/a|b).png`, `(birds/a|b).png`\. Correct"
    )
    run = folder_run("pics/a.png", bits)
    with pytest.raises(PoolError, match=message):
        run_steps(run, [(COLLECT, CollectRule())], InProcess(run=run))
    trial = [(COLLECT, CollectRule(limit=1))]
    assert run_steps(run, trial, InProcess(run=run))[0].counts["kept"] == 1


def test_how_many_pairs_have_a_label_is_said(folder_run, capsys):
    run = replace(folder_run("b.png"), progress=Progress())
    run_steps(run, [(COLLECT, CollectRule())], InProcess(run=run))
    assert "1 of 2 pairs have a label" in capsys.readouterr().err
