"""Labels from a file or from columns of the pool itself."""

import pytest

from storage.pools import LabelFile, PoolError, PoolSource
from storage.workspace import Workspace
from tasks.collect import collect_pairs, hash_sources
from tasks.run import LabelColumns, Run

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
    rows = collect_pairs(run, (), {"limit": None}).decisions
    return {row["url"][-5]: (row["label"], row["group"] == row["uid"] or row["group"]) for row in rows.to_pylist()}


def test_columns_of_the_pool_give_label_and_group(run):
    assert collected(run(LabelColumns(label="species", group="photographer"))) == {
        "1": ("robin", "ann"),
        "2": ("wren", "ann"),
        "3": (None, "bob"),
    }


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


def test_other_label_columns_make_another_key(run):
    keys = [
        hash_sources(run(labels), (), {})
        for labels in (None, LabelColumns(label="species"), LabelColumns(label="species", group="photographer"))
    ]
    assert len({str(sorted(key.items())) for key in keys}) == 3
