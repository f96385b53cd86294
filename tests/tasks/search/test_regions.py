"""Search in regions: hits are boxes of pairs, by the mean of the cells in each, made once."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.towers import dense_encoder
from evenly.storage.errors import InputError
from evenly.storage.web.images import reader
from evenly.tasks.encoders import encoder_identity, open_encoder
from evenly.tasks.search.orders import search_order
from evenly.tasks.search.pairs import Query, Selection
from evenly.tasks.search.search import search_build
from tests.features.conftest import tiny, tiny_checkpoint  # noqa: F401 - fixtures
from tests.tasks.regions.test_find_regions import found, opened, passes  # noqa: F401 - passes is a fixture
from tests.tasks.whole_rebuild import publish

FOX = Query(texts=["fox"])


@pytest.fixture(autouse=True)
def texts_by_it(monkeypatch):
    """Queries by the tiny encoder as well, not by the embedded one's text tower."""
    monkeypatch.setattr("evenly.tasks.search.pairs.query_encoder", open_encoder)


def build(root, **options):
    run = opened(root, **options)
    run = replace(run, encoder_identity=encoder_identity(run))
    return run, publish(run, found(run, method=None, texts=None, boxes="boxes"))


def test_hits_are_regions_that_count_by_the_mean_of_their_cells(tmp_path, passes):  # noqa: F811
    run, manifest = build(tmp_path / "w")
    result = search_build(run, manifest, FOX, within="regions", top=4)
    assert (len(result.rows), result.searched, result.within) == (4, 6, "regions")
    assert [row["rank"] for row in result.rows] == [1, 2, 3, 4]
    text = open_encoder(run).encode_texts(["fox"])[0]
    for row in result.rows:
        assert (row["region"], row["region_label"], row["verdict"]) == (0, "", "kept")
        (image,) = reader(run.workspace.downloads)([row["image_id"]])
        dense = dense_encoder(open_encoder(run), "tiny").encode_dense([image])
        assert row["box"] == [0, 0, 32, 24]
        pooled = np.einsum("hw,hwd->d", dense.weights(0, np.array([row["box"]]))[0], dense.cells[0])
        assert row["score"] == pytest.approx(pooled @ text / np.linalg.norm(pooled) / np.linalg.norm(text), abs=2e-3)
    assert [row["score"] for row in result.rows] == sorted((row["score"] for row in result.rows), reverse=True)
    made = sum(passes)
    assert search_build(run, manifest, FOX, within="regions", top=4).rows == result.rows
    assert sum(passes) == made


def test_partitions_change_no_hit(tmp_path):
    whole = search_build(*build(tmp_path / "whole"), FOX, within="regions").rows
    parts = search_build(*build(tmp_path / "parts", bits=3), FOX, within="regions").rows
    assert parts == whole


def test_a_selection_takes_its_pairs_and_a_build_without_regions_is_refused(tmp_path):
    run, manifest = build(tmp_path / "w")
    none = search_build(run, manifest, FOX, within="regions", selection=Selection(rows="dropped"))
    assert (none.rows, none.searched) == ([], 0)
    steps = [step for step in manifest["steps"] if step["name"] != "find_regions"]
    with pytest.raises(InputError, match=r"docs/regions\.md"):
        search_build(run, manifest | {"steps": steps}, FOX, within="regions")


def test_results_are_ordered_by_how_their_pictures_show_two_things_to_lie(tmp_path, passes):  # noqa: F811
    run, manifest = build(tmp_path / "w")
    query, things = Query(texts=["a fox left of an owl"]), tmp_path / "w" / "things.txt"
    search_build(run, manifest, FOX, within="regions")  # stores rows of pictures too
    plain = search_build(run, manifest, query, top=6).rows
    assert len(plain) == 6
    result = search_order(run, manifest, query, things, selection=Selection(), top=6)
    assert {row["uid"] for row in result.rows} == {row["uid"] for row in plain}
    keys = [row["score"] + np.log(max(row["order"], 1e-4)) / 100 for row in result.rows]
    assert keys == sorted(keys, reverse=True)
    assert [row["uid"] for row in result.rows] != [row["uid"] for row in plain]
    assert [row["rank"] for row in result.rows] == [1, 2, 3, 4, 5, 6]
    looked_at = sum(passes)
    assert search_order(run, manifest, query, things, selection=Selection(), top=2).rows == result.rows[:2]
    assert sum(passes) == looked_at
    for texts in (["a fox"], ["a fox above a cup"], query.texts * 2):
        with pytest.raises(InputError, match="`relations` must list two things"):
            search_order(run, manifest, Query(texts=texts), things, selection=Selection(), top=2)
