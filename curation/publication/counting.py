"""Counts of kept pairs that a publication states: of parts of a build, and added up."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.captions.choice import GIVEN
from evenly.curation.publication.facts import AT_HAND, DOWNLOADED, NOT_READ, WITHOUT


@dataclass(frozen=True, kw_only=True)
class PartCounts:
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
    def of(cls, rows: pa.Table, domain: pa.Array) -> "PartCounts":
        """Counts of these rows of a sample table; of those from the web with the domain where the picture was."""
        n = rows.num_rows
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


def summed(counts: Iterator[Counter[str]]) -> dict[str, int]:
    """The sum of counts, the largest first."""
    total = sum(counts, Counter[str]())
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _words(captions: pa.Array) -> int:
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(captions, ""))
    lengths = pc.list_value_length(pc.utf8_split_whitespace(trimmed))
    return pc.sum(pc.if_else(pc.equal(trimmed, ""), 0, lengths)).as_py() or 0


def distinct_pictures(parts: Sequence[PartCounts]) -> pa.Table:
    """Each picture once: image_id, n_bytes, source, kind and domain; of several sources the first by name."""
    names = ("n_bytes", "source", "kind", "domain")
    empty = PartCounts.of(pa.table({"image_id": pa.nulls(0, pa.string())}), pa.nulls(0, pa.string())).pictures
    table = pa.concat_tables([empty, *(part.pictures for part in parts)])
    once = table.group_by("image_id").aggregate([(f"{name}_min", "min") for name in names])
    return once.rename_columns({f"{name}_min_min": name for name in names} | {"image_id": "image_id"})


def _grouped(parts: Sequence[PartCounts], pictures: pa.Table, names: list[str]) -> list[dict[str, Any]]:
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


def sources_of(parts: Sequence[PartCounts], pictures: pa.Table) -> list[dict[str, Any]]:
    """Rows of source and kind, with pairs, pictures and bytes."""
    return sorted(_grouped(parts, pictures, ["source", "kind"]), key=lambda row: (row["source"], row["kind"]))


def domains_by_size(parts: Sequence[PartCounts], pictures: pa.Table) -> list[dict[str, Any]]:
    """Rows of domain, with pairs, pictures and bytes, the largest first."""
    rows = [row for row in _grouped(parts, pictures, ["domain"]) if row["domain"] is not None]
    return sorted(rows, key=lambda row: (-row["bytes"], -row["pairs"], row["domain"]))


def removed_by(reasons: Counter[str], mechanism: str) -> int:
    """Pairs that went for a mechanism, or as what it says could not be read."""
    word = mechanism.replace("-", "_")
    return reasons[word] + reasons[f"{word}_unreadable"]


def _column(rows: pa.Table, name: str, kind: pa.DataType | None = None) -> pa.Array:
    kind = kind or pa.string()
    return rows[name].combine_chunks().cast(kind) if name in rows.column_names else pa.nulls(rows.num_rows, kind)


def _counted(values: pa.Array, instead_of_null: str) -> Counter[str]:
    counts = pc.value_counts(pc.fill_null(values, instead_of_null)).to_pylist()
    return Counter({row["values"]: row["counts"] for row in counts})
