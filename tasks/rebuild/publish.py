"""Publish: write the sample table, then the manifest, last and once; then move `latest` if the guard agrees."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.builds import CONTENT_VERSION, BuildInputs, Builds, content_hash_of
from evenly.storage.removal.forget import FORGOTTEN
from evenly.storage.samples import SamplePart, Samples, wide_table
from evenly.storage.step_records import code_version
from evenly.storage.web.shards import read_downloads
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures.sent_rows import SentRows, send_observed
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.server.api import part

PLACE_COLUMNS = ("tar", "offset", "size")
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


@part("publish")
def publish_build(
    run: Run,
    records: Records,
    *,
    name: str,
    recipe: Mapping[str, Any],
    limit: int | None,
    max_change: float | None,
    split: Mapping[str, str] | None = None,
    engine: Each | None = None,
) -> dict[str, Any]:
    """Make the build of `records` visible; its manifest. A build of this content that exists already stays as it is.

    `latest` moves to it, unless it was limited, its share of kept pairs differs from the last by over `max_change`, or
    promotions of the recipe are held; with None it stays. `split`: what `evenly.tasks.splits` says of the recipe's
    split file. `engine` works on partitions where the run has several. The manifest's `encoder` is the one that a step
    or `encode_pairs` used, and null where none was.
    """
    encoder = _encoder(run, records)
    forget = list(dict.fromkeys(record.inputs[FORGOTTEN] for record in records if FORGOTTEN in record.inputs))
    inputs = BuildInputs(recipe=recipe, seed=run.seed, limit=limit, encoder=encoder, split=split, forget=forget)
    content = content_hash_of(run.ledger, records, inputs)
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
            "content_version": CONTENT_VERSION,
            "steps": [{field: getattr(record, field) for field in RECORDED} for record in records],
            "samples": _write_samples(run, name, records, engine or InProcess(run=run)),
            "encoder": encoder,
            "split": split,
            "forget": forget,
            "code": code_version(),
        }
        builds.publish(manifest)
    manifest = builds.read(build)
    promotion = judge_promotion(builds, manifest, max_change=max_change)
    if promotion.is_latest:
        builds.promote(build, recipe=name)
    level = logging.WARNING if promotion.is_held else logging.INFO
    run.progress.say(f"{'publish':<24} {build}: {promotion.reason or 'latest'}", level)
    return manifest


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """Whether `latest` moves to a build; `reason` says why not, "" where it does. is_held: a person must look."""

    reason: str = ""
    is_held: bool = False

    @property
    def is_latest(self) -> bool:
        """Whether `latest` moves."""
        return not self.reason


def judge_promotion(builds: Builds, manifest: Mapping[str, Any], *, max_change: float | None) -> Promotion:
    """Whether `latest` may move to a build, or stands there already."""
    if max_change is None:
        return Promotion(reason="not promoted, since it holds a pool as it is")
    if manifest["limit"] is not None:
        return Promotion(reason="not promoted, since --limit took a part of the pool")
    latest, build = builds.latest_of(str(manifest["recipe_name"])), manifest["build"]
    if latest is not None and latest != build:
        if (hold := builds.hold_on(str(manifest["recipe_name"]))) is not None:
            reason = f"not promoted, since {hold}. Look with `evenly verify {latest}`, then `evenly promote {build}`"
            return Promotion(reason=reason, is_held=True)
        change = abs(_kept_share(manifest) - _kept_share(builds.read(latest)))
        if change > max_change:
            reason = (
                f"not promoted, since its share of kept pairs differs by {change:.2f} from `{latest}` "
                f"(guard.max_change is {max_change}). Look with `evenly diff {latest} {build}`. Run "
                f"`evenly promote {build}` or correct the recipe"
            )
            return Promotion(reason=reason, is_held=True)
    return Promotion()


def _encoder(run: Run, records: Records) -> dict[str, str | None] | None:
    used = [record.model for record in records if record.name == EMBED_IMAGES.name]
    identity = used[0] if used else run.encoder_identity
    if identity is None:
        return None
    return {"model": run.encoder.model, "pretrained": run.encoder.pretrained, "identity": identity}


def _has_pictures(records: Records) -> bool:
    return any("image_id" in record.columns for record in records)


def _write_samples(run: Run, name: str, records: Records, engine: Each) -> dict[str, Any]:
    samples, deciding = Samples(run.workspace, name), [record for record in records if "decisions" in record.hashes]
    if run.bits:
        version = samples.commit(_write_parts(run, samples, records, engine))
    else:
        version = samples.write(_wide(run, records))
    first, last = deciding[0].counts, deciding[-1]
    return {"version": version, "rows": first["kept"], "kept": last.counts["kept"], "last": last.name}


def _write_parts(run: Run, samples: Samples, records: Records, engine: Each) -> list[SamplePart]:
    if not _has_pictures(records):
        return engine.partitions("publish", partial(_write_part, samples, records, None))
    title, pictures = "looking up places", partial(_urls_of_pictures, records)
    with send_observed(run, engine, title, pictures, PLACE_COLUMNS) as places:
        return engine.partitions("publish", partial(_write_part, samples, records, places))


def _write_part(samples: Samples, records: Records, places: SentRows | None, run: Run) -> SamplePart:
    return samples.write_part(_wide(run, records, places))


def _urls_of_pictures(records: Records, run: Run) -> pa.Table:
    """Pairs with a picture [uid, url]."""
    observed = next(record for record in records if "image_id" in record.columns)
    uids = run.ledger.decisions(observed, ["uid"], pc.is_valid(pc.field("image_id")))["uid"].combine_chunks()
    first = next(record for record in records if "url" in record.columns)
    pairs = run.ledger.decisions(first, ["uid", "url"])
    return pairs.take(pc.index_in(uids, pairs["uid"].combine_chunks()))


def _wide(run: Run, records: Records, places: SentRows | None = None) -> pa.Table:
    wide = wide_table(run.ledger, records)
    return _with_places(run, wide, places) if _has_pictures(records) else wide


def _with_places(run: Run, wide: pa.Table, sent: SentRows | None) -> pa.Table:
    """Add where each picture's original bytes lie: tar (below downloads/), offset and size."""
    key = "url" if sent is None else "uid"
    if sent is None:
        urls = wide["url"].combine_chunks().unique()
        places = read_downloads(run.workspace.downloads, ["url", *PLACE_COLUMNS], urls=urls).combine_chunks()
    else:
        places = sent.of(run)
    index = pc.index_in(wide[key].combine_chunks(), places[key].combine_chunks())
    has_place = pc.and_(pc.is_valid(wide["image_id"]), pc.is_valid(index)).combine_chunks()
    for name in PLACE_COLUMNS:
        column = places[name].combine_chunks().take(index)
        wide = wide.append_column(name, pc.if_else(has_place, column, pa.scalar(None, column.type)))
    return wide


def _kept_share(manifest: Mapping[str, Any]) -> float:
    samples = manifest["samples"]
    return float(samples["kept"]) / max(1, int(samples["rows"]))
