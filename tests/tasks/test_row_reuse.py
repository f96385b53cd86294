"""After a change of the pool only its rows are judged again, and all comes out as from scratch."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.steps import STEPS as JUDGEMENTS
from evenly.storage.pools.source import PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import MATCH_CONCEPTS
from evenly.tasks.rebuild.filters import CHECK_TEXTS
from evenly.tasks.row_reuse import same_rows
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from tests.few_examples import few

STEPS = (COLLECT, CHECK_TEXTS, MATCH_CONCEPTS)
RULES = {
    "collect": {"limit": None},
    "check_texts": {"caption_length": {"min_words": 2, "max_words": 4}, "caption_boilerplate": {}},
    "match_concepts": {"metadata": "{root}/concepts.txt", "mode": "normalized", "plurals": False},
}
# The first is always there: a step that keeps nothing ends a run.
CAPTIONS = [
    "a dog",
    "dog",
    "a cat and a dog",
    "no such thing as xyzzy",
    "click here",
    "zzz qqq",
    "a red teapot on a table",
]
POOLS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(CAPTIONS)), max_size=12, unique=True)


def run_steps(root: Path, pairs: list[tuple[int, str]], *, steps=STEPS, rules=RULES, pool="pool.parquet"):
    rows = [(99, "a dog"), *pairs]
    table = {"url": [f"https://a.test/{n}" for n, _ in rows], "caption": [text for _, text in rows]}
    root.mkdir(exist_ok=True)
    pq.write_table(pa.table(table), root / pool)
    (root / "concepts.txt").write_text("dog\ncat\nteapot\n")
    source = PoolSource(kind="parquet", path=str(root / pool))
    run = Run(workspace=Workspace.at(root), seed=3, sources=(source,), progress=Progress(quiet=True))
    records = ()
    for step in steps:
        records = (*records, run_step(run, step, records, step.read(rules[step.name])))
    return records


@few(5, most=15)
@given(st.lists(POOLS, min_size=2, max_size=3))
def test_a_changed_pool_gives_what_a_run_from_scratch_gives(pools):
    with TemporaryDirectory() as folder:
        for pool in pools:
            incremental = run_steps(Path(folder, "kept"), pool)
        scratch = run_steps(Path(folder, "new"), pools[-1])
    assert [record.hashes for record in incremental] == [record.hashes for record in scratch]
    assert [record.reasons for record in incremental] == [record.reasons for record in scratch]
    assert [record.notes for record in incremental] == [record.notes for record in scratch]
    assert [record.key for record in incremental] == [record.key for record in scratch]


def test_only_added_and_changed_rows_are_computed(tmp_path):
    run_steps(tmp_path / "w", [(1, "a dog"), (2, "a cat and a dog"), (3, "zzz qqq")])
    _, texts, matches = run_steps(tmp_path / "w", [(1, "a dog"), (2, "a cat"), (4, "a cat"), (3, "zzz qqq")])
    assert texts.work == {"computed": 2, "reused": 3}
    assert matches.work == {"computed": 2, "reused": 3}


def test_where_rows_only_leave_nothing_is_computed(tmp_path):
    run_steps(tmp_path / "w", [(1, "a dog"), (2, "a cat")])
    _, texts, matches = run_steps(tmp_path / "w", [(2, "a cat")])
    assert texts.work == matches.work == {"computed": 0, "reused": 2}


@pytest.mark.parametrize("lost", ["collect", "check_texts"])
def test_a_run_whose_tables_are_gone_is_passed_over(tmp_path, lost):
    run_steps(tmp_path / "w", [(1, "a dog"), (2, "a cat")])
    for file in (tmp_path / "w" / "ledger" / lost).iterdir():
        file.unlink()
    _, texts, _ = run_steps(tmp_path / "w", [(1, "a dog"), (3, "a cat")])
    assert texts.work == {}


@pytest.mark.parametrize(
    "change",
    [
        {"rules": RULES | {"check_texts": {"caption_length": {"min_words": 1, "max_words": 4}}}},
        {"steps": (COLLECT, replace(CHECK_TEXTS, version=99))},
        {"steps": (COLLECT, replace(CHECK_TEXTS, model=lambda *_: "another"))},
        {"steps": (COLLECT, replace(CHECK_TEXTS, inputs=lambda *_: {"list": "another"}))},
    ],
    ids=["rule", "version", "model", "file that it reads"],
)
def test_verdicts_by_something_else_are_not_taken_over(tmp_path, change):
    run_steps(tmp_path / "w", [(1, "a dog"), (2, "a cat")])
    found = run_steps(
        tmp_path / "w", [(1, "a dog"), (2, "a cat"), (3, "a cat")], **({"steps": (COLLECT, CHECK_TEXTS)} | change)
    )
    assert found[1].work == {}


def test_a_row_with_another_value_in_a_column_that_is_read_is_computed(tmp_path, monkeypatch):
    reading = replace(JUDGEMENTS["check_texts"], reads=lambda *_: ["caption", "source"])
    monkeypatch.setitem(JUDGEMENTS, "check_texts", reading)
    steps = (COLLECT, CHECK_TEXTS)
    run_steps(tmp_path / "w", [(1, "a dog")], steps=steps)
    grown = run_steps(tmp_path / "w", [(1, "a dog"), (2, "a cat")], steps=steps)
    assert grown[1].work == {"computed": 1, "reused": 2}
    moved = run_steps(tmp_path / "w", [(1, "a dog"), (2, "a cat")], steps=steps, pool="other.parquet")
    assert moved[1].work == {}


def test_lists_of_texts_and_structs_are_compared_and_nulls_are_equal():
    values = [["fox"], [], None, ["fox", "owl"]]
    other = [["fox"], [], None, ["owl", "fox"]]
    uids = [f"{number:032x}" for number in range(4)]
    for wrap, kind in ((lambda value: value, pa.list_(pa.string())),
                       (lambda value: {"a": value}, pa.struct([("a", pa.list_(pa.string()))]))):  # fmt: skip
        rows, earlier = (
            pa.table({"uid": uids, "labels": pa.array(list(map(wrap, column)), kind)}) for column in (values, other)
        )
        assert same_rows(rows, earlier, ["labels"]).to_pylist() == [True, True, True, False]
