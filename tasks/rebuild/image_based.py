"""Keep the pairs whose picture is in a cluster with a picture of a target set (DataComp's image-based filter)."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.exclusions.clusters import TargetClusters, fit_centroids, judge_clusters, nearest_centroids
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.rebuild.concepts import record_named
from evenly.tasks.rebuild.features import image_rows
from evenly.tasks.reference_sets import check_references, read_references, references_hash
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step


def keep_target_clusters(run: Run, upstream: Records, rule: TargetClusters) -> StepOutput:
    """Cluster all pictures that were encoded, and keep pairs in a cluster that a target picture is in.

    Column `cluster`: the picture's. Table `clusters`: each one's centroid and how many pictures of the pool and of the
    target are in it.
    """
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    pool = run.ledger.table(record_named(upstream, "embed_images"), "features", ["image_id"])["image_id"].to_pylist()
    rows = image_rows(run, store, pool)
    target = read_references(run, rule.target, features=True)
    if target.pictures.rows is None:
        raise InputError(f"`target` must have features; got none at `{rule.target}`. Correct the path.")
    with run.progress.bar("clustering pictures", None):
        centroids = fit_centroids(pool, rows, rule, seed=run.seed)
    in_pool, cosines = nearest_centroids(rows, centroids)
    in_target, _ = nearest_centroids(target.pictures.rows, centroids)
    pairs = run.ledger.alive(upstream, ["image_id"])
    index = pc.index_in(pairs["image_id"].combine_chunks(), pa.array(pool, pa.string())).to_numpy()
    decisions = judge_clusters(in_pool[index], cosines[index], in_target).to_table(pairs["uid"])
    decisions = decisions.append_column("cluster", pa.array(in_pool[index]))
    k, d = centroids.shape
    clusters = pa.table(
        {
            "cluster": pa.array(range(k), pa.int64()),
            "pool": np.bincount(in_pool, minlength=k),
            "target": np.bincount(in_target, minlength=k),
            "centroid": pa.FixedSizeListArray.from_arrays(pa.array(centroids.reshape(-1)), d),
        }
    )
    notes = {"clusters": k, "target_clusters": len(np.unique(in_target)), "target_pictures": len(in_target)}
    return StepOutput(
        decisions=decisions, tables={"clusters": clusters}, notes=notes | {"target_unreadable": target.unreadable}
    )


def _target(run: Run, _upstream: Records, rule: TargetClusters) -> dict[str, str]:
    return {"target": references_hash(run, rule.target)}


def _check_ready(run: Run, rule: TargetClusters) -> None:
    check_references(run, rule.target)


IMAGE_BASED = Step(
    name="image_based",
    rule=TargetClusters,
    compute=keep_target_clusters,
    inputs=_target,
    model=step_encoder,
    ready=_check_ready,
    seeded=True,
)
