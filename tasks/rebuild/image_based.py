"""Keep the pairs whose picture is in a cluster with a picture of a target set (DataComp's image-based filter)."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Ints, Singles
from evenly.curation.collecting import EMBED_IMAGES
from evenly.curation.exclusions import judgement
from evenly.curation.exclusions.clusters import (
    TargetClusters,
    judge_clusters,
    nearest_centroids,
)
from evenly.storage.errors import InputError
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import step_encoder
from evenly.tasks.pictures.centroids import fitted_centroids
from evenly.tasks.pictures.encoded import pictures_of, rows_of_pictures
from evenly.tasks.pictures.pairs import send_by_picture
from evenly.tasks.pictures.sent_rows import SentRows, alive, rows_of_uids
from evenly.tasks.rebuild.concepts import record_named
from evenly.tasks.reference_sets import check_references, read_references, references_hash
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Exchanged, Step


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters(Exchanged):
    """Centroids (k, d), how many pictures of the pool are in each (k,), those of the target's pictures (m,).

    labels: the cluster of each pair's picture and the cosine [uid, cluster, cosine], by uid.
    """

    centroids: Singles
    pool: Ints
    target: Ints
    unreadable: int
    labels: SentRows


def find_clusters(run: Run, upstream: Records, rule: TargetClusters, engine: Each) -> Clusters:
    """Cluster the pictures that were encoded: centroids are fitted to all, or to FIT_PICTURES drawn of more."""
    target = read_references(run, rule.target, features=True)
    if target.pictures.rows is None:
        raise InputError(f"`target` must have features; got none at `{rule.target}`. Correct the path.")
    centroids = fitted_centroids(run, engine, partial(_encoded, upstream), rule)
    counts = engine.partitions("counting clusters", partial(_count_members, upstream, centroids))
    shown = partial(alive, upstream, ["image_id"])
    return Clusters(
        centroids=centroids,
        pool=np.sum(counts, axis=0),
        target=nearest_centroids(target.pictures.rows, centroids)[0],
        unreadable=target.unreadable,
        labels=send_by_picture(run, engine, "labelling pictures", shown, partial(_labelled, centroids)),
    )


def keep_target_clusters(run: Run, upstream: Records, _rule: TargetClusters, clusters: Clusters) -> StepOutput:
    """Keep pairs in a cluster that a target picture is in. Column `cluster`: the picture's."""
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    rows = rows_of_uids(clusters.labels.of(run), uids)
    labels, cosines = rows["cluster"].to_numpy(), rows["cosine"].to_numpy()
    decisions = judge_clusters(labels, cosines, clusters.target).to_table(uids)
    return StepOutput(decisions=decisions.append_column("cluster", pa.array(labels)))


def describe_clusters(_run: Run, _upstream: Records, _rule: TargetClusters, clusters: Clusters) -> StepOutput:
    """Table `clusters`: each one's centroid and how many pictures of the pool and of the target are in it."""
    k, d = clusters.centroids.shape
    table = pa.table(
        {
            "cluster": pa.array(range(k), pa.int64()),
            "pool": clusters.pool,
            "target": np.bincount(clusters.target, minlength=k),
            "centroid": pa.FixedSizeListArray.from_arrays(pa.array(clusters.centroids.reshape(-1)), d),
        }
    )
    notes = {
        "clusters": k,
        "target_clusters": len(np.unique(clusters.target)),
        "target_pictures": len(clusters.target),
        "target_unreadable": clusters.unreadable,
    }
    return StepOutput(tables={"clusters": table}, notes=notes)


def _encoded(upstream: Records, run: Run) -> pa.Array:
    """The ids of the pictures of the run's partition that were encoded."""
    table = run.ledger.table(record_named(upstream, EMBED_IMAGES.name), "features", ["image_id"])
    return table["image_id"].combine_chunks()


def _count_members(upstream: Records, centroids: Singles, run: Run) -> Ints:
    ids = _encoded(upstream, run)
    if not len(ids):
        return np.zeros(len(centroids), np.int64)
    return np.bincount(nearest_centroids(rows_of_pictures(run, ids), centroids)[0], minlength=len(centroids))


def _labelled(centroids: Singles, run: Run, pairs: pa.Table) -> pa.Table:
    rows, places = pictures_of(run, pairs["image_id"].combine_chunks())
    labels, cosines = nearest_centroids(rows, centroids) if len(rows) else (np.empty(0, np.int64), np.empty(0))
    columns = {"cluster": pa.array(labels).take(places), "cosine": pa.array(cosines).take(places)}
    return pa.table({"uid": pairs["uid"], **columns})


def _target(run: Run, _upstream: Records, rule: TargetClusters) -> dict[str, str]:
    return {"target": references_hash(run, rule.target)}


def _check_ready(run: Run, rule: TargetClusters) -> None:
    check_references(run, rule.target)


IMAGE_BASED = Step(
    name=judgement.IMAGE_BASED.name,
    rule=TargetClusters,
    version=2,
    resolve=find_clusters,
    judge=keep_target_clusters,
    shared=describe_clusters,
    inputs=_target,
    model=step_encoder,
    ready=_check_ready,
    seeded=True,
)
