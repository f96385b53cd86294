"""Clusters of a build's pictures: every picture has its labels, figures add up, and the seed alone decides."""

import numpy as np
import pytest

from evenly.curation.errors import RuleError
from evenly.tasks.classes.clusters import CLUSTER_PICTURES
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish
from tests.step_outputs import output_of

PICTURES = [Picture("", {name: 1.0, f"{name} {n}": 0.4}, "") for name in ("cat", "dog", "yak") for n in range(6)]
RULE = {"build": "some-1", "k": 3, "labels": 2, "iterations": 20, "near_cosine": 0.999}


@pytest.fixture
def run(workspace) -> Run:
    publish(workspace, PICTURES)
    return Run(workspace=workspace, seed=7)


def test_every_picture_has_its_nearest_clusters_in_order(run):
    output = output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE))
    rows = output.tables["assignments"].to_pylist()
    assert [row["image_id"] for row in rows] == sorted(row["image_id"] for row in rows)
    assert [row["rank"] for row in rows] == [1, 2] * len(PICTURES)
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first["cluster"] != second["cluster"]
        assert first["cosine"] >= second["cosine"]


def test_sizes_count_nearest_clusters_and_labels_and_balance_is_of_them(run):
    output = output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE))
    rows, clusters = output.tables["assignments"].to_pylist(), output.tables["clusters"].to_pylist()
    for one in clusters:
        mine = [row for row in rows if row["cluster"] == one["cluster"]]
        assert one["size"] == sum(row["rank"] == 1 for row in mine)
        assert one["labelled"] == len(mine)
    assert sum(one["size"] for one in clusters) == output.notes["pictures"] == len(PICTURES)
    assert output.notes["by_nearest"]["largest"] == max(one["size"] for one in clusters)
    assert output.notes["by_nearest"]["empty"] == sum(one["size"] == 0 for one in clusters)


def test_pictures_alike_are_counted_as_near_duplicates(run):
    apart = output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE))
    assert apart.notes["near_duplicates"] == 0
    assert {row["near_duplicates"] for row in apart.tables["clusters"].to_pylist()} == {0}
    output = output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE | {"near_cosine": 0.5}))
    assert output.notes["near_duplicates"] == len(PICTURES)
    assert output.notes["near_duplicate_share"] == 1.0
    assert sum(row["near_duplicates"] for row in output.tables["clusters"].to_pylist()) == len(PICTURES)


def test_one_cluster_holds_all_and_as_many_as_pictures_hold_one_each(run):
    one = output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE | {"k": 1, "labels": 1})).notes
    assert (one["by_nearest"]["largest"], one["by_nearest"]["entropy"]) == (len(PICTURES), 1.0)
    every = output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE | {"k": len(PICTURES), "labels": 1})).notes
    assert every["by_nearest"]["gini"] == pytest.approx(0, abs=0.3)
    with pytest.raises(RuleError, match="`k` must be at most the number of pictures, 18; got 19"):
        output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE | {"k": 19}))
    with pytest.raises(RuleError, match="`labels` must be 1 to the number of clusters, 3; got 4"):
        output_of(CLUSTER_PICTURES, run, (), CLUSTER_PICTURES.read(RULE | {"labels": 4}))


def test_the_same_seed_gives_the_same_bits_whatever_the_order_of_pairs(run, tmp_path):
    other = Run(workspace=type(run.workspace).at(tmp_path / "other"), seed=7)
    publish(other.workspace, PICTURES)
    first, again = (output_of(CLUSTER_PICTURES, one, (), CLUSTER_PICTURES.read(RULE)).tables for one in (run, other))
    assert all(first[name].equals(again[name]) for name in first)
    vectors = np.array(first["centroids"]["vector"].to_pylist())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_key_follows_the_build_and_its_encoder_which_need_not_be_there(run):
    spec = CLUSTER_PICTURES.spec(run, (), CLUSTER_PICTURES.read(RULE))
    assert spec.model == WordEncoder.identity
    publish(run.workspace, PICTURES[:9], build="other-1")
    assert CLUSTER_PICTURES.spec(run, (), CLUSTER_PICTURES.read(RULE | {"build": "other-1"})).inputs != spec.inputs
