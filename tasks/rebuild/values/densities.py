"""Density-based pruning of all pairs: clusters meet in the partition of their number."""

from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints, Singles
from evenly.curation.exclusions.clusters import ImageBased, nearest_centroids
from evenly.curation.values.density import Density, Quotas, cluster_complexities, share_out
from evenly.tasks.pictures.centroids import fitted_centroids
from evenly.tasks.pictures.sent_rows import SentRows, send_partitions
from evenly.tasks.rebuild.values.measuring import Measuring, column_of, pictured, pictures, spread_key
from evenly.tasks.run import Run

_SCALE = 10_000
"""Cosines have 4 digits: whole numbers, which add up to the same in any order."""


def measure_density(given: Measuring) -> SentRows:
    """The share of all pairs that goes before each does."""
    rule: Density = given.rule
    run, each = given.run, given.each
    clusters = ImageBased(clusters=rule.clusters, iterations=rule.iterations)
    with send_partitions(run, each, "sorting pairs", "image_id", partial(pictured, given.upstream)) as pairs:
        centroids = fitted_centroids(run, each, partial(_ids, pairs), clusters)
        labelled = send_partitions(run, each, "labelling pairs", "key", partial(_labelled, pairs, centroids))
    with labelled:
        k = len(centroids)
        totals = np.sum(each.partitions("measuring clusters", partial(_totals, labelled, k)), axis=0)
        counts, sums = totals[0], totals[1] / _SCALE
        quotas = share_out(cluster_complexities(centroids, sums, counts, rule.neighbours), counts, rule.temperature)
        work = partial(_entered, labelled, quotas, given.name)
        return send_partitions(run, each, f"measuring {given.name}", "uid", work)


def _ids(pairs: SentRows, run: Run) -> pa.Array:
    return pairs.of(run)["image_id"].combine_chunks().unique()


def _labelled(pairs: SentRows, centroids: Singles, run: Run) -> pa.Table:
    """The pairs of a partition with the cluster of their picture and how far it is from the centre."""
    rows = pairs.of(run)
    labels, cosines, places = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
    if rows.num_rows:
        features, of_pairs = pictures(run, rows["image_id"].combine_chunks())
        labels, cosines = nearest_centroids(features, centroids)
        places = of_pairs.to_numpy()
    distances = np.rint((1 - cosines) * _SCALE).astype(np.int64)
    table = pa.table({"uid": rows["uid"], "cluster": labels[places], "distance": distances[places]})
    keys = pa.array([spread_key(cluster, len(centroids)) for cluster in range(len(centroids))])
    return table.append_column("key", keys.take(table["cluster"].combine_chunks()))


def _totals(labelled: SentRows, k: int, run: Run) -> Ints:
    """The number of pairs in each cluster, and the sum of their distances (2, k)."""
    rows, totals = labelled.of(run), np.zeros((2, k), np.int64)
    labels = rows["cluster"].to_numpy()
    np.add.at(totals[0], labels, 1)
    np.add.at(totals[1], labels, rows["distance"].to_numpy())
    return totals


def _entered(labelled: SentRows, quotas: Quotas, name: str, run: Run) -> pa.Table:
    """The value of each pair by its rank in its cluster, farthest first; of equally far ones by uid."""
    rows = labelled.of(run).sort_by([("cluster", "ascending"), ("distance", "descending"), ("uid", "ascending")])
    labels, counts = np.unique(rows["cluster"].to_numpy(), return_counts=True)
    values = [np.empty(0), *(quotas.values(int(label), int(n)) for label, n in zip(labels, counts, strict=True))]
    merged: Floats = np.concatenate(values)
    return pa.table({"uid": rows["uid"], name: column_of(merged)})
