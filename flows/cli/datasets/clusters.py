"""`evenly clusters`: what was found, and the tables that other programs read."""

from typing import Any

import pyarrow.parquet as pq

from evenly.flows.cli.datasets.options import ClustersOptions
from evenly.flows.cli.errors import UsageError
from evenly.flows.cluster_pictures import cluster_pictures
from evenly.flows.process.prefect_api import prefect_api
from evenly.signatures import fields_of
from evenly.storage.builds import open_build
from evenly.storage.ledger import Ledger
from evenly.storage.records import replacing
from evenly.tasks.classes.clusters import ClusteringRule

TABLES = ("assignments", "clusters", "centroids")


def cluster_build(options: ClustersOptions) -> dict[str, Any]:
    """The notes of the step, and `clusters` as rows, the fullest first; where `out` is given, TABLES as Parquet."""
    if options.labels > options.k:
        raise UsageError(
            f"`--labels` must be at most `--k`, {options.k}; got {options.labels}. Ask for fewer labels, or more "
            "clusters."
        )
    workspace, manifest = open_build(options.build, root=options.root)
    rule = ClusteringRule(**fields_of(ClusteringRule, options) | {"build": manifest["build"]})
    with prefect_api():
        key = cluster_pictures(rule, root=str(workspace.root))
    ledger = Ledger(workspace)
    record = ledger.get(key)
    rows = ledger.table(record, "clusters").to_pylist()
    ordered = sorted(rows, key=lambda row: (-row["size"], row["cluster"]))
    facts = {"step": key, "build": manifest["build"], **record.notes, "clusters": ordered}
    if (out := options.out) is None:
        return facts
    out.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        with replacing(out / f"{name}.parquet") as file:
            pq.write_table(ledger.table(record, name), file)
    return facts | {"written": [str(out / f"{name}.parquet") for name in TABLES]}
