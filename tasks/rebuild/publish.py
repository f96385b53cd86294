"""Publish: write the sample table, then the manifest, last and once; then move `latest` if the guard agrees."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from evenly.storage.builds import Builds
from evenly.storage.code_version import code_version
from evenly.storage.content import BuildInputs, content_hash_of, content_table_hash
from evenly.storage.samples import Samples, wide_table
from evenly.storage.web import read_downloads
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.run import Run
from evenly.tasks.step import Records

RECORDED = (
    "name",
    "key",
    "version",
    "rule",
    "model",
    "seed",
    "inputs",
    "output_hash",
    "hashes",
    "counts",
    "reasons",
    "rows_in",
)


@task(task_run_name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish_build(
    run: Run,
    records: Records,
    *,
    name: str,
    recipe: Mapping[str, Any],
    limit: int | None,
    max_change: float | None,
    split: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make the build of `records` visible; its manifest. A build of this content that exists already stays as it is.

    `latest` moves to it, unless it was limited, or its share of kept pairs differs from the last by over `max_change`;
    with None it stays. `split` is what `evenly.tasks.splits` says of the recipe's split file. The manifest's
    `encoder` is null for a build without pictures.
    """
    wide = wide_table(run.ledger, records)
    encoder = _encoder(run) if "image_id" in wide.column_names else None
    inputs = BuildInputs(recipe=recipe, seed=run.seed, limit=limit, encoder=encoder, split=split)
    content = content_hash_of(run.ledger, records, wide, inputs)
    builds = Builds(run.workspace)
    build = f"{name}-{content[:12]}"
    if build not in builds.names():
        manifest = {
            "build": build,
            "recipe_name": name,
            "recipe": recipe,
            "seed": run.seed,
            "limit": limit,
            "created": datetime.now(UTC).isoformat(),
            "content_hash": content,
            "steps": [{field: getattr(record, field) for field in RECORDED} for record in records],
            "samples": _write_samples(run, name, wide, records),
            "encoder": encoder,
            "split": split,
            "forget": [],
            "code": code_version(),
        }
        builds.publish(manifest)
    manifest = builds.read(build)
    run.progress.say(f"{'publish':<24} {build}: {_promote(builds, manifest, max_change=max_change)}")
    return manifest


def _encoder(run: Run) -> dict[str, str | None]:
    return {"model": run.encoder.model, "pretrained": run.encoder.pretrained, "identity": encoder_identity(run)}


def _write_samples(run: Run, name: str, wide: pa.Table, records: Records) -> dict[str, Any]:
    wide = _with_places(run, wide) if "image_id" in wide.column_names else wide
    last = next(record.name for record in reversed(records) if "decisions" in record.hashes)
    kept = pc.sum(pc.equal(pc.fill_null(wide[f"{last}_verdict"], ""), "kept")).as_py() or 0
    version = Samples(run.workspace, name).write(wide)
    return {"version": version, "rows": wide.num_rows, "kept": kept, "last": last, "hash": content_table_hash(wide)}


def _with_places(run: Run, wide: pa.Table) -> pa.Table:
    """Add where each picture's original bytes lie: tar (below downloads/), offset and size."""
    places = read_downloads(run.workspace.downloads, ["url", "tar", "offset", "size"]).combine_chunks()
    index = pc.index_in(wide["url"].combine_chunks(), places["url"].combine_chunks())
    has_place = pc.and_(pc.is_valid(wide["image_id"]), pc.is_valid(index)).combine_chunks()
    for name in ("tar", "offset", "size"):
        column = places[name].combine_chunks().take(index)
        wide = wide.append_column(name, pc.if_else(has_place, column, pa.scalar(None, column.type)))
    return wide


def _promote(builds: Builds, manifest: Mapping[str, Any], *, max_change: float | None) -> str:
    """Move `latest` to a build if it may be; what happened, in words."""
    if max_change is None:
        return "not promoted, since it holds a pool as it is"
    if manifest["limit"] is not None:
        return "not promoted, since --limit took a part of the pool"
    latest = builds.alias(f"{manifest['recipe_name']}-latest")
    if latest is not None and latest != manifest["build"]:
        change = abs(_kept_share(manifest) - _kept_share(builds.read(latest)))
        if change > max_change:
            return (
                f"not promoted, since its share of kept pairs differs by {change:.2f} from `{latest}` "
                f"(guard.max_change is {max_change}). Look with `evenly diff`, then `evenly promote`"
            )
    builds.promote(str(manifest["build"]), recipe=str(manifest["recipe_name"]))
    return "latest"


def _kept_share(manifest: Mapping[str, Any]) -> float:
    samples = manifest["samples"]
    return float(samples["kept"]) / max(1, int(samples["rows"]))
