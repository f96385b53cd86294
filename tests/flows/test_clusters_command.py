"""`evenly clusters` on a build of pictures as numbers."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.labelled_build import Picture, publish

THINGS = ("cat", "dog", "ship")


@pytest.fixture
def clusters(evenly, workspace):
    """Cluster a build of three tight groups of ten: (exit status, facts, output or errors)."""
    pictures = [Picture(name, {name: 1.0, "x": 0.01 * at}, "train", name) for at in range(10) for name in THINGS]
    publish(workspace, pictures)

    def run(*arguments, as_json=True):
        more = ["--json"] if as_json else []
        status, out, err = evenly("clusters", "--root", workspace.root, "--build", "some-1", *arguments, *more)
        return status, err if status else json.loads(out) if as_json else out

    return run


def test_pictures_get_their_nearest_clusters_and_the_figures_add_up(clusters, tmp_path):
    status, found = clusters("--k", 6, "--labels", 2, "--near-cosine", 0.99, "--out", tmp_path)
    assert status == 0
    rows = pq.read_table(tmp_path / "assignments.parquet").to_pydict()
    assert (len(rows["image_id"]), set(rows["rank"])) == (60, {1, 2})
    first = [cluster for cluster, rank in zip(rows["cluster"], rows["rank"], strict=True) if rank == 1]
    sizes = {row["cluster"]: row["size"] for row in found["clusters"]}
    assert {cluster: first.count(cluster) for cluster in range(6)} == sizes
    assert sum(row["labelled"] for row in found["clusters"]) == 60
    assert found["near_duplicates"] == sum(row["near_duplicates"] for row in found["clusters"])
    centroids = np.array(pq.read_table(tmp_path / "centroids.parquet")["vector"].to_pylist())
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(np.ones(6), abs=1e-6)


def test_a_second_run_finds_the_step_and_the_same_tables(clusters, tmp_path):
    _, first = clusters("--k", 5, "--labels", 3, "--out", tmp_path / "a")
    _, second = clusters("--k", 5, "--labels", 3, "--out", tmp_path / "b")
    assert first["step"] == second["step"]
    assert (tmp_path / "a" / "assignments.parquet").read_bytes() == (
        tmp_path / "b" / "assignments.parquet"
    ).read_bytes()


def test_more_clusters_than_pictures_or_labels_than_clusters_are_refused(clusters):
    status, error = clusters("--k", 2, "--labels", 3)
    assert status == 2
    assert error == "evenly: `--labels` must be at most `--k`, 2; got 3. Ask for fewer labels, or more clusters.\n"
    status, error = clusters("--k", 1000)
    assert status == 2
    assert "`k` must be at most the number of pictures, 30; got 1,000" in error


def test_the_table_says_how_even_the_clusters_are(clusters):
    status, out = clusters("--k", 3, "--labels", 1, as_json=False)
    assert status == 0
    assert "30 pictures in 3 clusters, 1 labels each" in out
    assert "cosine with the nearest centre: mean" in out
