"""Values of all pairs by which pruning lets them go: of density clusters meet in the partition of their number.

NormSim-D prunes in one process, which reads the features of a partition at a time.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Ints, Singles
from evenly.curation.exclusions.clusters import ImageBased, nearest_centroids
from evenly.curation.values.density import (
    Density,
    Quotas,
    cluster_totals,
    quotas_of,
    values_by_rank,
    with_distances,
)
from evenly.curation.values.normsim_d import pruned_values
from evenly.storage.tables.partitions import Partition
from evenly.tasks.encoders import open_encoder
from evenly.tasks.pictures.centroids import fitted_centroids
from evenly.tasks.pictures.encoded import pictures_of
from evenly.tasks.pictures.pairs import send_by_picture, vectors_of
from evenly.tasks.pictures.sent_rows import SentRows, send_partitions
from evenly.tasks.rebuild.values.measuring import (
    PICTURE,
    Measuring,
    column_of,
    pictured,
    send_values,
    spread_keys,
    with_vectors,
)
from evenly.tasks.run import Run


def measure_density(inputs: Measuring) -> SentRows:
    """The share of all pairs that goes before each does."""
    rule: Density = inputs.rule
    run, engine = inputs.run, inputs.engine
    clusters = ImageBased(clusters=rule.clusters, iterations=rule.iterations)
    with send_partitions(run, engine, "sorting pairs", "image_id", partial(pictured, inputs.upstream)) as pairs:
        centroids = fitted_centroids(run, engine, partial(_ids, pairs), clusters)
        labelled = send_partitions(run, engine, "labelling pairs", "key", partial(_labelled, pairs, centroids))
    with labelled:
        k = len(centroids)
        totals = np.sum(engine.partitions("measuring clusters", partial(_totals, labelled, k)), axis=0)
        quotas = quotas_of(centroids, totals, rule)
        work = partial(_entered, labelled, quotas, inputs.name)
        return send_partitions(run, engine, f"measuring {inputs.name}", "uid", work)


def _ids(pairs: SentRows, run: Run) -> pa.Array:
    return pairs.of(run)["image_id"].combine_chunks().unique()


def _labelled(pairs: SentRows, centroids: Singles, run: Run) -> pa.Table:
    """The pairs of a partition with the cluster of their picture and how far it is from the centre."""
    rows = pairs.of(run)
    labels, cosines, places = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
    if rows.num_rows:
        features, of_pairs = pictures_of(run, rows["image_id"].combine_chunks())
        labels, cosines = nearest_centroids(features, centroids)
        places = of_pairs.to_numpy()
    table = with_distances(rows["uid"], labels[places], cosines[places])
    return table.append_column("key", spread_keys(labels[places], len(centroids)))


def _totals(labelled: SentRows, k: int, run: Run) -> Ints:
    return cluster_totals(labelled.of(run), k)


def _entered(labelled: SentRows, quotas: Quotas, name: str, run: Run) -> pa.Table:
    uids, values = values_by_rank(labelled.of(run), quotas)
    return pa.table({"uid": uids, name: column_of(values)})


def measure_normsim_d(inputs: Measuring) -> SentRows:
    """The share of all pairs that goes before each does, the target being what is left."""
    run, engine = inputs.run, inputs.engine
    work = partial(with_vectors, open_encoder(run).dimension)
    with send_by_picture(run, engine, "reading features", partial(pictured, inputs.upstream), work) as sent:
        vectors = send_partitions(run, engine, "sorting features", "uid", partial(_sorted, sent))
    with vectors:
        uids = [part["uid"].combine_chunks() for part in _parts(vectors, run)]
        with run.progress.bar("pruning pairs", None):
            values = pruned_values(partial(_matrices, vectors, run), inputs.rule)
    return send_values(inputs, f"giving {inputs.name}", uids, {inputs.name: np.asarray(column_of(values))})


def _sorted(sent: SentRows, run: Run) -> pa.Table:
    return sent.of(run).sort_by("uid")


def _parts(sent: SentRows, run: Run) -> Iterator[pa.Table]:
    """The rows of each partition of uids: together they are in the order of uids, however they are cut."""
    for part in Partition.all(run.bits):
        yield sent.of(replace(run, part=part))


def _matrices(sent: SentRows, run: Run) -> Iterator[np.ndarray]:
    for part in _parts(sent, run):
        yield vectors_of(part, PICTURE)
