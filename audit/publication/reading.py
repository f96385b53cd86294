"""The facts of a build, read from its step records, its sample table and the records of its downloads.

They follow from tables that `evenly verify` checks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.curation.captions.choice import GIVEN
from evenly.curation.publication.facts import AT_HAND, DOWNLOADED, NOT_READ, WITHOUT, Facts
from evenly.curation.reservations.mechanisms import FIRST, MECHANISMS
from evenly.curation.steps import STEPS
from evenly.storage.ledger import VERDICTS, StepRecord
from evenly.storage.web.shards import each_records

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_COLUMNS = (
    *("url", "final_url", "source", "image_id", "n_bytes", "caption", "chosen_caption", "caption_origin"),
    *("detected_language", "reservation", "picture_copyright", "picture_license"),
)
_HOST = r"^(?i:https?)://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:@\s]+)"


def read_facts(build: PublishedBuild) -> Facts:
    """The facts of a build, from its step records, its sample table and the records of its downloads."""
    kept = f"{build.deciding[-1].name}_verdict = 'kept'"
    parts = [_Part.of(rows) for rows in build.batches(_COLUMNS, kept)]
    pictures = _distinct_pictures(parts)
    fetched = build.giver("http_status")
    rule = {} if fetched is None else fetched.rule
    respected = list(rule.get("respect", FIRST)) if fetched is not None else None
    reasons = Counter() if fetched is None else Counter(fetched.reasons)
    reserved = _summed(part.reserved for part in parts)
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
        sources=_sources(parts, pictures),
        period=_period(build, kept) if any(part.web for part in parts) else None,
        agent=None if fetched is None else str(rule.get("user_agent_token", "evenly")),
        languages=_summed(part.languages for part in parts) if "detected_language" in build.sample_columns else None,
        domains=_domains(parts, pictures),
        steps=[_step(record) for record in build.deciding],
        respected=respected,
        removed={name: count for name in MECHANISMS if (count := _removed(reasons, name))},
        reserved=reserved if stored else None,
        licenses=_summed(part.licenses for part in parts) if stored else None,
        copyrights=sum(part.copyrights for part in parts) if stored else None,
        captions=_summed(part.captions for part in parts),
        models=_models(build),
    )


def _removed(reasons: Counter[str], mechanism: str) -> int:
    """Pairs that went for a mechanism, or as what it says could not be read."""
    word = mechanism.replace("-", "_")
    return reasons[word] + reasons[f"{word}_unreadable"]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Counts of some kept pairs, and of each picture: image_id, n_bytes, domain and source."""

    pairs: int
    web: int
    words: int
    pictures: pa.Table
    pairs_of: pa.Table
    languages: Counter[str]
    captions: Counter[str]
    reserved: Counter[str]
    licenses: Counter[str]
    copyrights: int

    @classmethod
    def of(cls, rows: pa.Table) -> "_Part":
        n = rows.num_rows
        url = _column(rows, "url")
        domain = domains_of(pc.coalesce(_column(rows, "final_url"), url))
        is_web = pc.and_(pc.is_valid(domain), pc.is_valid(_column(rows, "image_id")))
        has_picture = pc.is_valid(_column(rows, "image_id"))
        kind = pc.if_else(is_web, DOWNLOADED, pc.if_else(has_picture, AT_HAND, WITHOUT))
        pairs = pa.table(
            {
                "image_id": _column(rows, "image_id"),
                "n_bytes": _column(rows, "n_bytes", pa.int64()),
                "source": pc.fill_null(_column(rows, "source"), ""),
                "kind": kind,
                "domain": pc.if_else(is_web, domain, pa.scalar(None, pa.string())),
            }
        )
        caption = pc.coalesce(_column(rows, "chosen_caption"), _column(rows, "caption"))
        reserved = Counter[str]()
        for names, count in _counted(_column(rows, "reservation"), NOT_READ).items():
            for name in names.split(", ") if names else ():
                reserved[name] += count
        return cls(
            pairs=n,
            web=pc.sum(is_web).as_py() or 0,
            words=_words(caption),
            pictures=pairs.filter(has_picture)
            .group_by("image_id")
            .aggregate([(name, "min") for name in ("n_bytes", "source", "kind", "domain")]),
            pairs_of=pairs.group_by(["source", "kind", "domain"]).aggregate([([], "count_all")]),
            languages=_counted(_column(rows, "detected_language"), ""),
            captions=_counted(_column(rows, "caption_origin"), GIVEN[0]),
            reserved=reserved,
            licenses=_counted(_column(rows, "picture_license").drop_null(), ""),
            copyrights=n - _column(rows, "picture_copyright").null_count,
        )


def _column(rows: pa.Table, name: str, kind: pa.DataType | None = None) -> pa.Array:
    kind = kind or pa.string()
    return rows[name].combine_chunks().cast(kind) if name in rows.column_names else pa.nulls(rows.num_rows, kind)


def _counted(values: pa.Array, instead_of_null: str) -> Counter[str]:
    counts = pc.value_counts(pc.fill_null(values, instead_of_null)).to_pylist()
    return Counter({row["values"]: row["counts"] for row in counts})


def _summed(counts: Iterator[Counter[str]]) -> dict[str, int]:
    """The sum of counts, the largest first."""
    total = sum(counts, Counter[str]())
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _words(captions: pa.Array) -> int:
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(captions, ""))
    lengths = pc.list_value_length(pc.utf8_split_whitespace(trimmed))
    return pc.sum(pc.if_else(pc.equal(trimmed, ""), 0, lengths)).as_py() or 0


def _distinct_pictures(parts: Sequence[_Part]) -> pa.Table:
    """Each picture once: image_id, n_bytes, source, kind and domain; of several sources the first by name."""
    names = ("n_bytes", "source", "kind", "domain")
    empty = _Part.of(pa.table({"image_id": pa.nulls(0, pa.string())})).pictures
    table = pa.concat_tables([empty, *(part.pictures for part in parts)])
    once = table.group_by("image_id").aggregate([(f"{name}_min", "min") for name in names])
    return once.rename_columns({f"{name}_min_min": name for name in names} | {"image_id": "image_id"})


def _grouped(parts: Sequence[_Part], pictures: pa.Table, names: list[str]) -> list[dict[str, Any]]:
    """Rows of `names` with pairs, pictures and bytes."""
    pairs, files, sizes = Counter[tuple[str, ...]](), Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for part in parts:
        for row in part.pairs_of.to_pylist():
            pairs[tuple(row[name] for name in names)] += row["count_all"]
    for row in pictures.group_by(names).aggregate([([], "count_all"), ("n_bytes", "sum")]).to_pylist():
        key = tuple(row[name] for name in names)
        files[key], sizes[key] = row["count_all"], row["n_bytes_sum"] or 0
    return [
        dict(zip(names, key, strict=True)) | {"pairs": count, "pictures": files[key], "bytes": sizes[key]}
        for key, count in pairs.items()
    ]


def _sources(parts: Sequence[_Part], pictures: pa.Table) -> list[dict[str, Any]]:
    return sorted(_grouped(parts, pictures, ["source", "kind"]), key=lambda row: (row["source"], row["kind"]))


def _domains(parts: Sequence[_Part], pictures: pa.Table) -> list[dict[str, Any]]:
    rows = [row for row in _grouped(parts, pictures, ["domain"]) if row["domain"] is not None]
    return sorted(rows, key=lambda row: (-row["bytes"], -row["pairs"], row["domain"]))


def domains_of(urls: pa.Array) -> pa.Array:
    """The registrable domain of each URL of the web, by the Public Suffix List; its host where it has none."""
    hosts = pc.struct_field(pc.extract_regex(urls, _HOST), "host")
    encoded = pc.dictionary_encode(hosts)
    names = pa.array([registrable(host) for host in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def registrable(host: str) -> str:
    """The domain that somebody registered: a name below a public suffix; an address or other host as it is."""
    host = host.lower().rstrip(".")
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return _suffixes().privatesuffix(host) or host


@cache
def _suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


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
