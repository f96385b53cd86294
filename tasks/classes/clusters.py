"""Cluster the pictures of a build by their features, with several clusters for each (MLCD)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evenly.curation.errors import RuleError
from evenly.curation.exclusions.clusters import ImageBased, fit_centroids
from evenly.curation.exclusions.multi_label_clusters import (
    coverage,
    measure_balance,
    near_duplicate_rows,
    nearest_clusters,
)
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.tasks.labelled_rows import kept_pairs
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import inputs_of_build
from evenly.tasks.step import Step


@dataclass(frozen=True, kw_only=True)
class ClusteringRule:
    """`k` clusters of the pictures of a `build` in `iterations` of k-means, of which each picture has `labels`.

    Pictures of one cluster with a cosine of at least `near_cosine` are near-duplicates.
    """

    build: str
    k: int
    labels: int
    iterations: int
    near_cosine: float


def label_pictures(run: Run, _upstream: Records, rule: ClusteringRule) -> StepOutput:
    """Cluster the different pictures of the rule's build into `k`, and give each its `labels` nearest clusters.

    Tables: `assignments` (image_id, rank from 1, cluster, cosine), sorted by image_id; `clusters` (cluster, size by the
    nearest centre, labelled: pictures that have it among their labels, near_duplicates); `centroids` (cluster,
    vector). Notes: balance, coverage and the share of near-duplicates.
    """
    manifest = Builds(run.workspace).read(rule.build)
    ids = sorted(set(kept_pairs(run, manifest)["image_id"].to_pylist()))
    if rule.k > len(ids):
        raise RuleError(f"`k` must be at most the number of pictures, {len(ids):,}; got {rule.k:,}. Ask for fewer.")
    rows = FeatureStore(run.workspace, encoder_of(manifest), "images").read(ids)[0]
    rule_of = ImageBased(clusters=rule.k, iterations=rule.iterations)
    centroids = fit_centroids(ids, rows, rule_of, seed=run.seed)
    labels_of_rows, cosines = nearest_clusters(rows, centroids, rule.labels)
    is_near = near_duplicate_rows(rows, labels_of_rows[:, 0], min_cosine=rule.near_cosine)
    balance = measure_balance(labels_of_rows[:, 0], rule.k)
    balance_of_labels = measure_balance(labels_of_rows.ravel(), rule.k)
    n, labels = labels_of_rows.shape
    tables = {
        "assignments": pa.table(
            {
                "image_id": [image_id for image_id in ids for _ in range(labels)],
                "rank": np.tile(np.arange(1, labels + 1), n),
                "cluster": labels_of_rows.ravel(),
                "cosine": cosines.ravel(),
            }
        ),
        "clusters": pa.table(
            {
                "cluster": np.arange(rule.k),
                "size": balance.sizes,
                "labelled": balance_of_labels.sizes,
                "near_duplicates": np.bincount(labels_of_rows[is_near, 0], minlength=rule.k),
            }
        ),
        "centroids": pa.table(
            {"cluster": np.arange(rule.k), "vector": pa.array(list(centroids), pa.list_(pa.float32()))}
        ),
    }
    figures = ("entropy", "gini", "effective", "empty", "largest")
    notes = {
        "pictures": n,
        "k": rule.k,
        "labels": labels,
        "by_nearest": {name: _rounded(getattr(balance, name)) for name in figures},
        "by_all_labels": {name: _rounded(getattr(balance_of_labels, name)) for name in figures},
        "coverage": coverage(cosines[:, 0]),
        "near_duplicates": int(is_near.sum()),
        "near_duplicate_share": _rounded(float(is_near.mean())),
    }
    return StepOutput(tables=tables, notes=notes)


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 4)


def _encoder(run: Run, rule: ClusteringRule) -> str:
    """The encoder that made the build's features; it need not be there."""
    return encoder_of(Builds(run.workspace).read(rule.build))


CLUSTER_PICTURES = Step(
    name="cluster_pictures",
    rule=ClusteringRule,
    version=2,
    judge=label_pictures,
    inputs=inputs_of_build,
    model=_encoder,
    seeded=True,
)
