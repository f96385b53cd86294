"""A threshold for linked records from labelled ones: single link at every cosine, and how well it agrees."""

import numpy as np
import pytest

from evenly.curation.duplicates.linkage_threshold import (
    STEP,
    adjusted_rand,
    agreement_curve,
    best_threshold,
    find_links,
    judge_records,
)


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def records():
    """Rows of eight records, two to four of each, those of one near to each other."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(8, 12))
    truth = [str(record) for record in range(8) for _ in range(2 + record % 3)]
    rows = unit(centres[[int(one) for one in truth]] + 0.15 * generator.normal(size=(len(truth), 12)))
    return rows, truth


def single_link(rows, min_cosine):
    """Labels by scikit-learn's DBSCAN with one row to a cluster, which the public code calls SLINK."""
    from sklearn.cluster import DBSCAN

    return DBSCAN(eps=1 - min_cosine + 1e-6, min_samples=1, metric="cosine").fit_predict(rows.astype(np.float64))


@pytest.mark.parametrize("min_cosine", [0.5, 0.7, 0.9, 0.97, 1.0])
def test_one_search_gives_single_link_at_every_threshold(records, min_cosine):
    rows, _ = records
    links = find_links(rows, floor=0.5)
    assert len(links.left) < len(rows)
    assert adjusted_rand(links.records(min_cosine), single_link(rows, min_cosine)) == 1.0


def test_the_best_threshold_links_the_records_and_of_equals_the_highest(records):
    rows, truth = records
    curve = agreement_curve(find_links(rows, floor=0.5), truth)
    cosine, index = best_threshold(curve)
    assert index == 1.0
    assert [at for at, ari in curve if ari == 1.0][-1] == cosine
    assert np.diff([at for at, _ in curve]) == pytest.approx(STEP)
    assert (curve[0][0], curve[-1][0]) == (0.5, 1.0)


def test_rows_without_a_direction_are_records_of_their_own():
    links = find_links(np.zeros((3, 4), np.float16), floor=0.5)
    assert len(set(links.records(0.5).tolist())) == 3


def test_agreement_counts_pairs_and_its_interval_resamples_groups(records):
    rows, truth = records
    linked = find_links(rows, floor=0.5).records(0.99)
    found = judge_records(linked, truth, truth)
    same = [(linked[i] == linked[j], truth[i] == truth[j]) for i in range(len(truth)) for j in range(i)]
    assert found.recall == sum(a and b for a, b in same) / sum(b for _, b in same)
    assert found.low <= found.ari <= found.high
    perfect = judge_records(np.array([int(one) for one in truth]), truth, truth)
    assert (perfect.ari, perfect.precision, perfect.recall, perfect.high) == (1.0, 1.0, 1.0, 1.0)
    assert np.isnan(judge_records(linked, truth, ["one"] * len(truth)).low)
    alone = judge_records(np.arange(len(truth)), truth, truth)
    assert (alone.precision, alone.recall) == (1.0, 0.0)
