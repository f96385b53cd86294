"""Matching a pool by files: the same rows however it is cut, resumed or spread over threads, and counts that add up."""

import itertools
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.concepts.matching import Matcher
from evenly.curation.errors import RuleError
from evenly.storage.errors import DamagedError, InputError
from evenly.storage.files.concept_lists import identity_of
from evenly.storage.matches import matches as pool_matches
from evenly.storage.matches.matches import MatchFile, counts_path, entries_path, texts_hash
from evenly.storage.matches.stamped import parts_beside
from evenly.storage.pools import rows as pool_rows
from evenly.storage.pools.captions import CaptionColumns
from evenly.storage.tables.block_sums import append_sums
from evenly.storage.tables.hashing import file_hash
from evenly.tasks.pools import match as module
from evenly.tasks.pools.match import MatchJob
from evenly.tasks.pools.work import PoolWork
from tests.curation.test_uids import uid as uid_of

QUIET = PoolWork(quiet=True)
ENTRIES = ["dog", "black dog", "chat", "cat", "never"]
BY_UID = CaptionColumns(caption="text", uid="uid")
WORDS = st.sampled_from(["a", "black", "dog", "cat", "chat", "Dog", "."])
CAPTIONS = st.lists(st.none() | st.lists(WORDS, max_size=5).map(" ".join), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_text("\n".join(ENTRIES))
    return str(path)


def write_pool(folder: Path, captions, cuts=()) -> str:
    """Files of a pool, cut at rows, with uids."""
    folder.mkdir(exist_ok=True)
    table = pa.table({"uid": [f"{i:032x}" for i in range(len(captions))], "text": pa.array(captions, pa.string())})
    bounds = [0, *sorted(cuts), len(captions)]
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        pq.write_table(table.slice(start, stop - start), folder / f"{number:03}.parquet")
    return str(folder)


def match(pool, metadata, out, *, workers=2, overwrite=False, columns=BY_UID, work=QUIET, **rule):
    of_work = {"work": replace(work, threads=workers), "overwrite": overwrite}
    return MatchJob(pool=pool, metadata=metadata, out=out, columns=columns, **of_work, **rule).run()


def test_every_row_is_there_with_what_it_names_and_the_counts_add_up(tmp_path, metadata):
    pool = write_pool(tmp_path / "pool", ["a black dog", None, "nothing", "cat dog", "dog"], cuts=[2])
    facts = match(pool, metadata, tmp_path / "m.parquet")
    table = pq.read_table(tmp_path / "m.parquet")
    assert table["entries"].to_pylist() == [[0, 1], [], [], [0, 3], [0]]
    assert table["reason"].to_pylist() == ["", "missing_caption", "no_concept", "", ""]
    assert table["row"].to_pylist() == [0, 1, 0, 1, 2]
    hashes = [file_hash(Path(pool) / f"00{i}.parquet")[:32] for i in (0, 1)]
    assert table["file"].to_pylist() == [hashes[0]] * 2 + [hashes[1]] * 3
    told = {"rows": 5, "matched": 3, "unmatched": 2, "matches": 5, "entries_hit": 3, "entries_never_hit": 2}
    assert told.items() <= facts.items()
    assert facts["reasons"] == {"missing_caption": 1, "no_concept": 1}
    assert facts["list"] == {"identity": identity_of(ENTRIES), "entries": 5, "texts": texts_hash(pa.array(ENTRIES))}
    assert pq.read_table(entries_path(tmp_path / "m.parquet"))["captions"].to_pylist() == [3, 1, 0, 1, 0]
    per_file = pq.read_table(counts_path(tmp_path / "m.parquet")).select(["file", "entry", "captions"]).to_pylist()
    assert [tuple(row.values()) for row in per_file] == [
        (hashes[0], 0, 1),
        (hashes[0], 1, 1),
        (hashes[1], 0, 2),
        (hashes[1], 3, 1),
    ]


@settings(max_examples=25, deadline=None)
@given(captions=CAPTIONS, cuts=st.sets(st.integers(0, 29), max_size=4), workers=st.integers(1, 3))
def test_files_and_workers_change_nothing_but_where_a_row_lies(tmp_path_factory, metadata, captions, cuts, workers):
    folder = tmp_path_factory.mktemp("match")
    pool = write_pool(folder / "pool", captions, {cut for cut in cuts if cut < len(captions)})
    match(pool, metadata, folder / "m.parquet", workers=workers)
    table = pq.read_table(folder / "m.parquet")
    wanted = Matcher(ENTRIES).match(pa.array(captions, pa.string())).to_pylist()
    assert table["uid"].to_pylist() == [f"{i:032x}" for i in range(len(captions))]
    assert table["entries"].to_pylist() == wanted
    counts = np.bincount([entry for row in wanted for entry in row], minlength=len(ENTRIES))
    assert pq.read_table(entries_path(folder / "m.parquet"))["captions"].to_pylist() == counts.tolist()


def test_two_runs_give_the_same_bytes_and_a_finished_one_is_kept(tmp_path, metadata, monkeypatch):
    monkeypatch.setattr(pool_matches, "ROWS", 7)
    pool = write_pool(tmp_path / "pool", ["a dog", "black dog", "cat"] * 20, cuts=[1, 30, 31])
    assert not match(pool, metadata, tmp_path / "m.parquet")["reused"]
    assert pq.read_metadata(tmp_path / "m.parquet").num_row_groups == 9
    again = tmp_path / "again"
    match(pool, metadata, again / "m.parquet", workers=1)
    for name in ("m.parquet", "m.counts.parquet", "m.entries.parquet"):
        assert (tmp_path / name).read_bytes() == (again / name).read_bytes()
    assert match(pool, metadata, tmp_path / "m.parquet")["reused"]
    with pytest.raises(InputError, match="`out` must not exist"):
        match(pool, metadata, tmp_path / "m.parquet", mode="normalized")
    assert match(pool, metadata, tmp_path / "m.parquet", mode="normalized", overwrite=True)["mode"] == "normalized"
    assert not list(tmp_path.glob(".*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from evenly.storage.ledger import Ledger
from evenly.storage.matches import matches as pool_matches
from evenly.tasks.pools.match import MatchJob
from evenly.tasks.pools.work import PoolWork
from evenly.storage.pools.captions import CaptionColumns
pool, metadata, out, stage = sys.argv[1:]
kept, keep, regrouped = [], Ledger.store_part, pool_matches.regrouped
def once(self, *given, **options):
    if kept and stage == "parts":
        os.kill(os.getpid(), signal.SIGKILL)
    kept.append(keep(self, *given, **options))
    return kept[-1]
def cut(tables, empty):
    for group in regrouped(tables, empty):
        yield group
        if stage == "whole":
            os.kill(os.getpid(), signal.SIGKILL)
Ledger.store_part, pool_matches.regrouped = once, cut
columns, work = CaptionColumns(caption="text", uid="uid"), PoolWork(threads=2, quiet=True)
MatchJob(pool=pool, metadata=metadata, out=Path(out), columns=columns, work=work).run()
"""


@pytest.mark.parametrize(("stage", "done"), [("parts", 1), ("whole", 3)])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path, metadata, monkeypatch, stage, done):
    pool = write_pool(tmp_path / "pool", ["a dog", "black dog", "cat"] * 20, cuts=[20, 40])
    out = tmp_path / "m.parquet"
    killed = subprocess.run([sys.executable, "-c", KILLED, pool, metadata, str(out), stage], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    assert len(list(parts_beside(out).glob("ledger/match_pool/*.arrow"))) == done
    again, matched = [], module._match_rows
    monkeypatch.setattr(module, "_match_rows", lambda *given: again.append(given[0]) or matched(*given))
    match(pool, metadata, out)
    assert len(again) == 3 - done
    assert not parts_beside(out).exists()
    match(pool, metadata, tmp_path / "again" / "m.parquet")
    assert out.read_bytes() == (tmp_path / "again" / "m.parquet").read_bytes()


def start_match(pool, metadata, out) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evenly.flows", "match", pool, "--metadata", metadata, "--out", str(out)]
    command += ["--caption", "text", "--threads", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_second_command_that_writes_the_same_file_is_refused_and_disturbs_nothing(tmp_path, metadata):
    pool = write_pool(tmp_path / "pool", ["a dog and a black dog", "black dog", "cat"] * 200_000)
    out = tmp_path / "m.parquet"
    first = start_match(pool, metadata, out)
    lock = parts_beside(out) / "held.lock"
    while not (lock.is_file() and lock.stat().st_size):
        assert first.poll() is None
        time.sleep(0.001)
    first.send_signal(signal.SIGSTOP)
    second = start_match(pool, metadata, out)
    _, said = second.communicate(timeout=120)
    assert not out.exists()
    first.send_signal(signal.SIGCONT)
    _, output = first.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 1), output
    assert f"`out` must be written by one command at a time; got `{out}`: process {first.pid} on `" in said
    match(pool, metadata, tmp_path / "alone" / "m.parquet", columns=CaptionColumns(caption="text"))
    assert out.read_bytes() == (tmp_path / "alone" / "m.parquet").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_of_a_changed_pool_the_files_that_are_the_same_are_taken_from_the_workspace(tmp_path, metadata, monkeypatch):
    pool = write_pool(tmp_path / "pool", ["a dog", "black dog", "cat"] * 20, cuts=[20, 40])
    work = replace(QUIET, root=str(tmp_path / "workspace"))
    match(pool, metadata, tmp_path / "m.parquet", work=work)
    write_pool(tmp_path / "pool", ["a dog", "black dog", "cat"] * 20 + ["chat"], cuts=[20, 40])
    again, matched = [], module._match_rows
    monkeypatch.setattr(module, "_match_rows", lambda *given: again.append(given[0]) or matched(*given))
    match(pool, metadata, tmp_path / "n.parquet", work=work)
    assert again == [file_hash(Path(pool) / "002.parquet")[:32]]
    match(pool, metadata, tmp_path / "again.parquet")
    assert (tmp_path / "n.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()


@pytest.mark.parametrize("stretches", [1, 4, 16])
def test_stretches_of_a_file_give_the_bytes_of_the_whole(tmp_path, metadata, monkeypatch, stretches):
    captions = ["a dog", "black dog", None, "cat", "nothing"] * 32
    whole = write_pool(tmp_path / "pool", captions)
    monkeypatch.setattr(pool_matches, "ROWS", 30)
    match(whole, metadata, tmp_path / "m.parquet")
    path = tmp_path / "cut" / "000.parquet"
    path.parent.mkdir()
    pq.write_table(pq.read_table(Path(whole) / "000.parquet"), path, row_group_size=len(captions) // stretches)
    monkeypatch.setattr(pool_rows, "PIECE_ROWS", len(captions) // stretches)
    cut = MatchJob(pool=str(path), metadata=metadata, out=tmp_path / "n.parquet", columns=BY_UID, work=QUIET)
    assert len(cut.stretches) == stretches
    cut.run()
    one, other = (pq.read_table(tmp_path / name) for name in ("m.parquet", "n.parquet"))
    assert one.drop(["file"]).equals(other.drop(["file"]))
    assert pq.read_table(entries_path(tmp_path / "n.parquet")) == pq.read_table(entries_path(tmp_path / "m.parquet"))


def test_rows_are_named_by_the_pool_by_url_and_caption_or_by_their_place(tmp_path, metadata):
    file = tmp_path / "a.jsonl"
    rows = [{"url": "http://x.org/1", "text": "a dog"}, {"url": "http://x.org/2"}, {"text": "cat"}]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    place = file_hash(file)[:32]
    for columns, wanted in (
        (CaptionColumns(caption="text"), [f"{place}:0", f"{place}:1", f"{place}:2"]),
        (
            CaptionColumns(caption="text", url="url"),
            [uid_of("pair", "http://x.org/1", "a dog"), f"{place}:1", f"{place}:2"],
        ),
        (CaptionColumns(caption="text", uid="url"), ["http://x.org/1", "http://x.org/2", f"{place}:2"]),
    ):
        match(str(file), metadata, tmp_path / "m.parquet", columns=columns, overwrite=True)
        assert pq.read_table(tmp_path / "m.parquet")["uid"].to_pylist() == wanted


def test_equal_files_cannot_be_told_apart_without_names(tmp_path, metadata):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text\na dog\n")
    with pytest.raises(InputError, match=r"files must differ .*a.csv` and .*b.csv`"):
        match(str(tmp_path / "*.csv"), metadata, tmp_path / "m.parquet", columns=CaptionColumns(caption="text"))
    found = match(
        str(tmp_path / "*.csv"), metadata, tmp_path / "m.parquet", columns=CaptionColumns(caption="text", uid="text")
    )
    assert (found["rows"], found["matches"]) == (2, 2)


def test_a_caption_is_matched_against_the_list_of_its_language(tmp_path, metadata):
    lists = tmp_path / "lists.json"
    lists.write_text(json.dumps({"en": ["dog", "chat"], "fr": ["chat", "chien"]}))
    (tmp_path / "a.csv").write_text("text,lang\nle chien,fr\nle chien,en\nle chat,fr\na dog,de\na chat,en\n")
    columns = CaptionColumns(caption="text", language="lang")
    found = match(str(tmp_path / "a.csv"), str(lists), tmp_path / "m.parquet", columns=columns)
    table = pq.read_table(tmp_path / "m.parquet")
    assert table["entries"].to_pylist() == [[2], [], [1], [], [1]]
    assert table["reason"].to_pylist() == ["", "no_concept", "", "no_list_of_language", ""]
    assert found["languages"] == ["de", "en", "fr"]
    counts = MatchFile.at(tmp_path / "m.parquet").counts().to_pylist()
    wanted = [{"language": "fr", "entry": 1, "captions": 1}, {"language": "fr", "entry": 2, "captions": 1}]
    assert sorted(counts, key=str) == sorted([{"language": "en", "entry": 1, "captions": 1}, *wanted], key=str)
    with pytest.raises(RuleError, match="`metadata` must hold a list per language"):
        match(str(tmp_path / "a.csv"), metadata, tmp_path / "n.parquet", columns=columns)
    with pytest.raises(RuleError, match="plurals are of English and cannot go with language"):
        match(
            str(tmp_path / "a.csv"),
            str(lists),
            tmp_path / "n.parquet",
            columns=columns,
            plurals=True,
            mode="normalized",
        )


def test_counts_that_lie_beside_are_taken_only_where_they_are_the_files_own(tmp_path, metadata, monkeypatch):
    pool = write_pool(tmp_path / "pool", ["a dog", "cat"])
    match(pool, metadata, tmp_path / "m.parquet")
    wanted = MatchFile.at(tmp_path / "m.parquet").counts()
    other = write_pool(tmp_path / "other", ["cat"] * 9)
    match(other, metadata, tmp_path / "o.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(MatchFile, "groups", lambda *_: pytest.fail("counted again"))
        assert MatchFile.at(tmp_path / "m.parquet").counts() == wanted
    for change in (lambda: counts_path(tmp_path / "o.parquet").rename(counts_path(tmp_path / "m.parquet")), None):
        _ = change() if change else counts_path(tmp_path / "m.parquet").unlink()
        assert MatchFile.at(tmp_path / "m.parquet").counts() == wanted


def test_a_file_that_names_entries_beyond_the_list_is_refused(tmp_path, metadata):
    match(write_pool(tmp_path / "pool", ["a dog"]), metadata, tmp_path / "m.parquet")
    table = pq.read_table(tmp_path / "m.parquet")
    at = table.column_names.index("entries")
    bad = table.set_column(at, "entries", pa.array([[99]], pa.list_(pa.int32())))
    pq.write_table(bad, tmp_path / "m.parquet")
    with (tmp_path / "m.parquet").open("r+b") as stream:
        append_sums(stream)
    with pytest.raises(DamagedError, match="must name entries 0 to 4; got 99 to 99"):
        list(MatchFile.at(tmp_path / "m.parquet").groups(["entries"]))
    pq.write_table(pa.table({"uid": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="must be what `evenly match` wrote"):
        MatchFile.at(tmp_path / "x.parquet")
