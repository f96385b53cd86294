"""The facts of a build, read from its step records, its sample table and the records of its downloads.

They follow from tables that `evenly verify` checks.
"""

from collections import Counter
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.curation.publication.counting import (
    PartCounts,
    distinct_pictures,
    domains_by_size,
    removed_by,
    sources_of,
    summed,
)
from evenly.curation.publication.facts import Facts
from evenly.curation.reservations.mechanisms import FIRST, MECHANISMS
from evenly.curation.steps import STEPS
from evenly.storage.ledger import VERDICTS, StepRecord
from evenly.storage.web.hosts import domains_of
from evenly.storage.web.shards import each_records

_COLUMNS = (
    *("url", "final_url", "source", "image_id", "n_bytes", "caption", "chosen_caption", "caption_origin"),
    *("detected_language", "reservation", "picture_copyright", "picture_license"),
)


def read_facts(build: PublishedBuild) -> Facts:
    """The facts of a build, from its step records, its sample table and the records of its downloads."""
    kept = f"{build.deciding[-1].name}_verdict = 'kept'"
    parts = [PartCounts.of(rows, _domains(rows)) for rows in build.batches(_COLUMNS, kept)]
    pictures = distinct_pictures(parts)
    fetched = build.giver("http_status")
    rule = {} if fetched is None else fetched.rule
    respected = list(rule.get("respect", FIRST)) if fetched is not None else None
    reasons = Counter() if fetched is None else Counter(fetched.reasons)
    reserved = summed(part.reserved for part in parts)
    stored = "reservation" in build.sample_columns and fetched is not None and "reservation" in fetched.columns
    return Facts(
        build=build.name,
        content_hash=str(build.manifest["content_hash"]),
        created=str(build.manifest["created"]),
        recipe=str(build.manifest["recipe_name"]),
        seed=int(build.manifest["seed"]),
        version=str((build.manifest.get("code") or {}).get("version", "")),
        pairs=sum(part.pairs for part in parts),
        pictures=pictures.num_rows,
        picture_bytes=pc.sum(pictures["n_bytes"]).as_py() or 0,
        words=sum(part.words for part in parts),
        sources=sources_of(parts, pictures),
        period=_period(build, kept) if any(part.web for part in parts) else None,
        agent=None if fetched is None else str(rule.get("user_agent_token", "evenly")),
        languages=summed(part.languages for part in parts) if "detected_language" in build.sample_columns else None,
        domains=domains_by_size(parts, pictures),
        steps=[_step(record) for record in build.deciding],
        respected=respected,
        removed={name: count for name in MECHANISMS if (count := removed_by(reasons, name))},
        reserved=reserved if stored else None,
        licenses=summed(part.licenses for part in parts) if stored else None,
        copyrights=sum(part.copyrights for part in parts) if stored else None,
        captions=summed(part.captions for part in parts),
        models=_models(build),
    )


def _domains(rows: pa.Table) -> pa.Array:
    urls = rows["url"] if "final_url" not in rows.column_names else pc.coalesce(rows["final_url"], rows["url"])
    return domains_of(urls.combine_chunks())


def _period(build: PublishedBuild, kept: str) -> tuple[str, str] | None:
    """When the first and the last of the kept pictures were fetched, by day; of each URL all its records."""
    urls = pa.concat_tables(build.batches(["url"], kept))["url"].combine_chunks().unique()
    first, last = list[datetime](), list[datetime]()
    for records in each_records(build.workspace.downloads, ["url", "verdict", "fetched_at"]):
        of_build = pc.and_(pc.equal(records["verdict"], "kept"), pc.is_in(records["url"], value_set=urls))
        times = pc.min_max(records["fetched_at"].filter(of_build)).as_py()
        if times["min"] is not None:
            first.append(times["min"])
            last.append(times["max"])
    return (f"{min(first):%Y-%m-%d}", f"{max(last):%Y-%m-%d}") if first else None


def _step(record: StepRecord) -> dict[str, Any]:
    return {
        "step": record.name,
        "question": STEPS[record.name].question if record.name in STEPS else "",
        "rows_in": record.rows_in,
        **{verdict: record.counts.get(verdict, 0) for verdict in VERDICTS},
        "reasons": dict(sorted(record.reasons.items(), key=lambda item: (-item[1], item[0]))),
    }


def _models(build: PublishedBuild) -> list[dict[str, Any]]:
    """The encoder of the build and the captioners that offered captions, with what names each."""
    models = list[dict[str, Any]]()
    if encoder := build.manifest.get("encoder"):
        name = " ".join(str(encoder[part]) for part in ("model", "pretrained") if encoder.get(part))
        models.append({"role": "encoder", "name": name, "identity": encoder.get("identity")})
    recaption = build.giver("caption_origin")
    for captioner in () if recaption is None else recaption.rule.get("captioners", ()):
        named = captioner.get("model") or captioner.get("pretrained") or ""
        identity = recaption.model if not named and recaption is not None else None
        models.append({"role": f"captioner {captioner.get('name')}", "kind": captioner.get("kind"), "name": named}
                      | {"identity": identity})  # fmt: skip
    return models
