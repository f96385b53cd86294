"""Where each collected pair of a build ended."""

import pyarrow as pa

from evenly.audit.published import PublishedBuild
from evenly.storage.samples import outcomes_of


def outcomes(build: PublishedBuild) -> list[dict[str, str]]:
    """The uid, step and reason of each pair, sorted by uid; step and reason are both "" for the pairs of the build."""
    names = [record.name for record in build.deciding]
    wide = build.samples(["uid", *(f"{name}_{column}" for name in names for column in ("verdict", "reason"))])
    table: pa.Table = outcomes_of(wide, names).append_column("uid", wide["uid"])
    return table.select(["uid", "step", "reason"]).to_pylist()
