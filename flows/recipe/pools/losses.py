"""What each limit of a recipe would drop of the pools that lie here, and which pairs have labels, counted before."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from evenly.curation.concepts.judgement import unmatched_reasons
from evenly.curation.concepts.matching import MatchRule
from evenly.curation.errors import RuleError
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.curation.reservations.rule import DownloadRule
from evenly.curation.values.judgement import judge_alone
from evenly.curation.values.rule import Value, named_bounds
from evenly.flows.recipe import Recipe
from evenly.flows.recipe.curation import Curate
from evenly.flows.recipe.files import read_listing
from evenly.flows.recipe.pools.regions import boxes_column, count_boxes, require_boxes
from evenly.flows.recipe.problems import RecipeError
from evenly.signatures import Place
from evenly.storage.decoders import DecoderPool, DecodeTroubleError
from evenly.storage.files.splits import compared_keys, places_of_keys
from evenly.storage.pools.annotations import with_annotations
from evenly.storage.pools.local_rows import LocalRow, LocalRows, in_columns
from evenly.storage.pools.rows import RawRows
from evenly.storage.pools.source import (
    FEATURES_KIND,
    LOCAL_READERS,
    READERS,
    LabelFile,
    PoolSource,
    read_captions,
    read_labels,
    source_files,
)
from evenly.storage.pools.texts import as_label, as_text, joined_pools
from evenly.storage.stores.connection import is_url
from evenly.storage.stores.files import matching_files
from evenly.storage.web.decoding import size_in_process
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.concepts import concept_matcher
from evenly.tasks.rebuild.filters import LOOKUPS
from evenly.tasks.run import Run

MOST_ROWS, MOST_BYTES = 10_000, 1 << 30
"""Of a pool that are looked at: what is beyond is not counted."""


@dataclass(frozen=True, kw_only=True)
class PoolSample:
    """The first rows of a pool: `caption`, and `width` and `height` where pictures are here, null of unreadable ones.

    rejects: of how many further rows no pair can be made, by reason; unreadable: of how many pairs the picture has no
    size, by reason; is_whole: whether the pool has no more rows.
    """

    pairs: pa.Table
    rejects: Mapping[str, int]
    unreadable: Mapping[str, int]
    is_whole: bool

    @property
    def has_sizes(self) -> bool:
        """Whether pictures were measured."""
        return "width" in self.pairs.column_names

    @property
    def rows(self) -> str:
        """The number of rows that were looked at, in words."""
        count = self.pairs.num_rows + sum(self.rejects.values())
        return f"{count:,} rows" if self.is_whole else f"the first {count:,} rows"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a part of a recipe would drop of a sample by itself, by reason; `values`: of a limit."""

    field: str
    values: Mapping[str, Any]
    reasons: Mapping[str, int]

    @property
    def dropped(self) -> int:
        """The number of pairs that would go."""
        return sum(self.reasons.values())


def recipe_losses(recipe: Recipe, run: Run) -> list[dict[str, Any]]:
    """For each pool of a recipe that lies here: its place, the rows looked at, what the recipe would drop, and regions.

    Raises RecipeError where all rows of all pools were looked at and none has the column of boxes.
    """
    rows, samples, boxes = [], list[PoolSample](), boxes_column(recipe.curate)
    for place, source in enumerate(run.sources):
        if not is_url(source.path) and matching_files(source.path):
            columns = {value.column for value in (recipe.curate.values or {}).values() if value.column is not None}
            columns |= set() if boxes is None else {boxes}
            sample = sample_pool(source, progress=run.progress, columns=sorted(columns))
            samples.append(sample)
            lost = [vars(loss) | {"dropped": loss.dropped} for loss in losses(run, recipe.curate, sample)]
            facts = {"losses": lost, "regions": count_boxes(run, recipe.curate, sample.pairs)}
            rows.append({"source": place, "path": recipe.sources[place].path, "rows": sample.rows, **facts})
    if len(samples) == len(run.sources) and all(sample.is_whole and sample.pairs.num_rows for sample in samples):
        require_boxes(recipe.curate, [sample.pairs for sample in samples])
    return rows


def sample_pool(source: PoolSource, *, progress: Progress, columns: Sequence[str] = ()) -> PoolSample:
    """The first rows of a pool on this machine, with these `columns`. Raises PoolError where it cannot be read."""
    if source.kind not in LOCAL_READERS or source.kind == FEATURES_KIND:
        return _captions(source, columns)
    read, file = LOCAL_READERS[source.kind].rows, source.regions
    listed = (with_annotations(read(path, source.caption), path, file) for path in source_files(source))
    rows, is_whole = first_rows(chain.from_iterable(listed))
    pairs = [row for row in rows if not row.reject]
    sizes = list(_sizes(pairs, progress))
    table = pa.table(
        {
            "caption": pa.array([row.caption for row in pairs], pa.string()),
            "width": pa.array([size.get("width") for size in sizes], pa.int64()),
            "height": pa.array([size.get("height") for size in sizes], pa.int64()),
        }
    )
    if columns:
        table = _with_columns(table, [stretch.extra for stretch in _pairs_in_columns(rows, source)], columns)
    return PoolSample(
        pairs=table,
        rejects=Counter(row.reject for row in rows if row.reject),
        unreadable=Counter(size["outcome"] for size in sizes if "outcome" in size),
        is_whole=is_whole,
    )


def losses(run: Run, curate: Curate, sample: PoolSample) -> list[Loss]:
    """What reading the pool and each filter of a recipe would drop of a sample; of pictures where these are here."""
    lost = [Loss(field="sources", values={}, reasons=sample.rejects)] if sample.rejects else []
    lost += [loss_of(run, sample, name, curate.text[name]) for name in TEXT_FILTERS if name in curate.text]
    if curate.match is not None and (curate.match.language, curate.match.texts) == (None, "captions"):
        lost.append(_loss_of_match(run, sample, curate.match))
    lost += _losses_of_values(sample, curate.values or {})
    if sample.has_sizes and curate.download is not None:
        lost += [Loss(field="curate.download", values={}, reasons=sample.unreadable)] if sample.unreadable else []
        lost += [loss_of(run, sample, name, curate.image[name]) for name in IMAGE_FILTERS if name in curate.image]
    return lost


def loss_of(run: Run, sample: PoolSample, name: str, values: Mapping[str, Any]) -> Loss:
    """What a filter of these values would drop of a sample; pictures that cannot be read are none of its."""
    section, kind = ("text", TEXT_FILTERS[name]) if name in TEXT_FILTERS else ("image", IMAGE_FILTERS[name])
    rule, read = kind.rule(**values), tuple[Any, ...]()
    if kind.lookup:
        lookup = LOOKUPS[name](run, rule)
        read, rule = (lookup.content,), replace(rule, sha256=lookup.sha256)
    reasons = kind.judge(kind.measure_all(sample.pairs, rule, *read)[0], rule).reason.to_pylist()
    counts = Counter(reason for reason in reasons if reason not in ("", "not_measured"))
    return Loss(field=f"curate.{section}.{name}", values=values, reasons=dict(counts.most_common()))


def _loss_of_match(run: Run, sample: PoolSample, rule: MatchRule) -> Loss:
    """The captions of a sample that name no concept of the list."""
    entries = concept_matcher(run, rule).match_table(sample.pairs.select(["caption"]))
    reasons = unmatched_reasons(entries, rule).to_pylist()
    return Loss(field="curate.match", values={"metadata": rule.metadata}, reasons=Counter(filter(None, reasons)))


def _losses_of_values(sample: PoolSample, values: Mapping[str, Value]) -> Iterator[Loss]:
    """What bounds of columns of the pool would drop of a sample. Raises RecipeError for a column of another type."""
    for name, bounds in named_bounds(values).items():
        if values[name].column is None or bounds.column not in sample.pairs.column_names:
            continue
        try:
            reasons = judge_alone(sample.pairs[bounds.column].combine_chunks(), bounds).reason.to_pylist()
        except RuleError as error:
            raise RecipeError(f"`curate.{str(error).removeprefix('`')}") from None
        counts = Counter(filter(None, reasons))
        yield Loss(field=f"curate.values.{name}", values=bounds.bounds, reasons=dict(counts.most_common()))


def _captions(source: PoolSource, columns: Sequence[str]) -> PoolSample:
    """The first captions of a pool whose pictures are not here."""
    stretches, rows = list[pa.Array](), 0
    for stretch in read_captions(source):
        stretches.append(stretch)
        rows += len(stretch)
        if rows > MOST_ROWS:
            break
    table = pa.table({"caption": pa.chunked_array(stretches, pa.string()).slice(0, MOST_ROWS)})
    if columns and source.kind in READERS:
        table = _with_columns(table, [raw.table for raw in _first_raws(source)[0]], columns)
    missing = table["caption"].null_count
    return PoolSample(
        pairs=table.filter(table["caption"].is_valid()),
        rejects={"missing_caption": missing} if missing else {},
        unreadable={},
        is_whole=rows <= MOST_ROWS,
    )


def _with_columns(rows: pa.Table, tables: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
    """The rows, with those of the columns that stretches of the pool have and the rows lack."""
    tables = [table.select([name for name in columns if name in table.column_names]) for table in tables]
    read = joined_pools(tables) if tables else pa.table({})
    for name in read.column_names:
        if name not in rows.column_names:
            rows = rows.append_column(name, read[name].slice(0, rows.num_rows))
    return rows


def first_rows(rows: Iterator[LocalRow]) -> tuple[list[LocalRow], bool]:
    """The first rows, and whether these are all."""
    first, size = list[LocalRow](), 0
    for row in islice(rows, MOST_ROWS):
        first.append(row)
        size += row.place.size if row.place is not None else 0
        if size > MOST_BYTES:
            break
    return first, next(rows, None) is None


def _sizes(pairs: Sequence[LocalRow], progress: Progress) -> Iterator[dict[str, Any]]:
    """Width and height of each picture, or the outcome of one that has none."""
    limit = DownloadRule.max_pixels

    def size(data: bytes) -> dict[str, Any]:
        try:
            return decoders.run(data, {"max_pixels": limit})
        except DecodeTroubleError as trouble:
            return {"outcome": trouble.outcome}

    contents = (row.place.read() if row.place is not None else b"" for row in pairs)
    with (
        DecoderPool(size_in_process, size=os.cpu_count() or 1) as decoders,
        progress.bar("looking at pictures", len(pairs)) as advance,
    ):
        for facts in decoders.map(size, contents):
            yield facts
            advance(1)


_SHOWN = 3  # labels beside a class that is none of them
_NAMED = 5  # classes that are named one by one


def recipe_labels(path: Place, recipe: Recipe, run: Run) -> dict[str, Any] | None:
    """How many of the first rows of the pools have a label, and in `warnings` what is wrong; None where none is read.

    Raises RecipeError where all rows were looked at and the file of labels knows none of them.
    """
    looked = [_sample(source, run.labels) for source in run.sources]
    samples = [sample for sample in looked if sample is not None]
    if run.labels is None or not samples:
        return None
    pairs = pa.concat_tables([table for table, _ in samples])
    is_whole = len(samples) == len(looked) and all(is_whole for _, is_whole in samples)
    of_file = read_labels(run.labels) if isinstance(run.labels, LabelFile) else None
    keys = None if of_file is None else of_file["key"].combine_chunks()
    values = pairs["label"] if keys is None else places_of_keys(pairs, keys)
    labelled = pairs.num_rows - values.null_count
    rows = f"{pairs.num_rows:,} rows" if is_whole else f"the first {pairs.num_rows:,} rows"
    warnings = list[str]()
    if not labelled and keys is not None:
        finding = f"got labels for none of {rows}: {compared_keys(pairs, keys)}"
        if is_whole:
            raise RecipeError(
                "`labels.key` must name a column of the pairs' URLs or, of pictures at hand, file names; "
                f"{finding}. Correct it, or leave labels out."
            )
        warnings.append(f"`labels.key`: {finding}")
    if is_whole or of_file is not None:
        labels = sorted({*(pairs if of_file is None else of_file)["label"].drop_null().to_pylist()})
        warnings += _classes_without(path, recipe, labels)
    return {"rows": rows, "labelled": labelled, "warnings": warnings}


def _classes_without(path: Place, recipe: Recipe, labels: Sequence[str]) -> Iterator[str]:
    """A line for each list with classes that are no label, and for each label of no class that is none."""
    for place, listing in enumerate(recipe.classes):
        fields = {
            f"classes.{place}.list": read_listing(path, listing).class_list.classes,
            f"classes.{place}.unseen": (*listing.unseen.near, *listing.unseen.far),
        }
        for field, names in fields.items():
            missing = [name for name in names if name not in labels]
            if missing:
                listed = "; ".join(f"`{name}`, nearest {_nearest(name, labels)}" for name in missing[:_NAMED])
                further = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
                yield f"`{field}`: {len(missing):,} of {len(names):,} names are no label: {listed}{further}"


def _nearest(name: str, labels: Sequence[str]) -> str:
    """The labels that are most like a name, those of folders in a folder of that name first; else the first of all."""
    inside = [label for label in labels if name.casefold() in label.casefold().split("/")]
    alike = inside or get_close_matches(name, labels, n=_SHOWN) or labels
    return ", ".join(f"`{label}`" for label in alike[:_SHOWN]) or "none"


def _sample(source: PoolSource, labels: object) -> tuple[pa.Table, bool] | None:
    """url, file_name and label of the first rows of a pool, and whether these are all; None where it is not here."""
    if labels is None or source.kind == FEATURES_KIND or is_url(source.path) or not matching_files(source.path):
        return None
    column = getattr(labels, "label", None)
    if source.kind in LOCAL_READERS:
        read = LOCAL_READERS[source.kind].rows
        rows, is_whole = first_rows(row for path in source_files(source) for row in read(path, source.caption))
        stretches = _pairs_in_columns(rows, source)
        tables = [_named(pairs.extra, pairs.url, pairs.extra["file_name"], column) for pairs in stretches]
    else:
        tables, is_whole = _of_tables(source, column)
    return (pa.concat_tables(tables), is_whole) if tables else None


def _pairs_in_columns(rows: Iterable[LocalRow], source: PoolSource) -> Iterator[LocalRows]:
    """Rows of a pool that make a pair; those that make none are left out last, since lists are read by stretches."""
    for stretch in in_columns(iter(rows), source_files(source)[0]):
        is_pair = stretch.reject.is_null()
        yield LocalRows(*(part.filter(is_pair) for part in stretch))


def _of_tables(source: PoolSource, column: str | None) -> tuple[list[pa.Table], bool]:
    tables, (raws, is_whole) = list[pa.Table](), _first_raws(source)
    for raw in raws:
        nothing = pa.nulls(raw.table.num_rows, pa.string())
        url = nothing if source.url is None else as_text(raw.table[source.url], raw.not_text.get(source.url, ()))[0]
        tables.append(_named(raw.table, url, nothing, column))
    return tables, is_whole


def _first_raws(source: PoolSource) -> tuple[list[RawRows], bool]:
    """The first rows of a pool of tables as they are there, and whether these are all."""
    text = () if source.url is None else (source.url,)
    first, rows = list[RawRows](), 0
    raws = (raw for file in source_files(source) for raw in READERS[source.kind].rows(file, text))
    for raw in raws:
        first.append(raw)
        rows += raw.table.num_rows
        if rows >= MOST_ROWS:
            break
    return first, next(islice(raws, 1), None) is None


def _named(rows: pa.Table, url: pa.Array, file_name: pa.Array, column: str | None) -> pa.Table:
    label = pa.nulls(rows.num_rows, pa.string())
    if column is not None and column in rows.column_names:
        label = as_label(rows[column], column, "labels.column")
    return pa.table({"url": url, "file_name": file_name, "label": label})
