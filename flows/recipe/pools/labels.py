"""Labels of a recipe against pools that lie here: how many of the first rows have one, and which classes none has."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

import pyarrow as pa

from evenly.flows.recipe import Recipe
from evenly.flows.recipe.files import read_listing
from evenly.flows.recipe.pools.losses import MOST_ROWS, first_rows
from evenly.flows.recipe.problems import RecipeError
from evenly.signatures import Place
from evenly.storage.files.keys import compared_keys, places_of_keys
from evenly.storage.pools.local_rows import in_columns
from evenly.storage.pools.source import (
    FEATURES_KIND,
    LOCAL_READERS,
    READERS,
    LabelFile,
    PoolSource,
    read_labels,
    source_files,
)
from evenly.storage.pools.texts import as_label, as_text
from evenly.storage.stores.connection import is_url
from evenly.storage.stores.many_paths import matching_files
from evenly.tasks.run import Run

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
        said = f"got labels for none of {rows}: {compared_keys(pairs, keys)}"
        if is_whole:
            raise RecipeError(
                "`labels.key` must name a column of the pairs' URLs or, of pictures at hand, file names; "
                f"{said}. Correct it, or leave labels out."
            )
        warnings.append(f"`labels.key`: {said}")
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
                near = "; ".join(f"`{name}`, nearest {_nearest(name, labels)}" for name in missing[:_NAMED])
                more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
                yield f"`{field}`: {len(missing):,} of {len(names):,} names are no label: {near}{more}"


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
        files = source_files(source)
        rows, is_whole = first_rows(row for path in files for row in read(path, source.caption))
        stretches = in_columns((row for row in rows if not row.reject), files[0])
        tables = [_named(rows.extra, rows.url, rows.extra["file_name"], column) for rows in stretches]
    else:
        tables, is_whole = _of_tables(source, column)
    return (pa.concat_tables(tables), is_whole) if tables else None


def _of_tables(source: PoolSource, column: str | None) -> tuple[list[pa.Table], bool]:
    text = () if source.url is None else (source.url,)
    raws = (raw for file in source_files(source) for raw in READERS[source.kind].rows(file, text))
    tables, rows = list[pa.Table](), 0
    for raw in raws:
        nothing = pa.nulls(raw.table.num_rows, pa.string())
        url = nothing if source.url is None else as_text(raw.table[source.url], raw.not_text.get(source.url, ()))[0]
        tables.append(_named(raw.table, url, nothing, column))
        rows += raw.table.num_rows
        if rows >= MOST_ROWS:
            break
    return tables, next(islice(raws, 1), None) is None


def _named(rows: pa.Table, url: pa.Array, file_name: pa.Array, column: str | None) -> pa.Table:
    label = pa.nulls(rows.num_rows, pa.string())
    if column is not None and column in rows.column_names:
        label = as_label(rows[column], column, "labels.column")
    return pa.table({"url": url, "file_name": file_name, "label": label})
