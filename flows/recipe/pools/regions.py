"""Boxes of the pools that lie here, counted before a rebuild: their pictures, reasons, and labels that no list has."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.concepts.matching import BUNDLED
from evenly.flows.recipe.curation import Curate
from evenly.flows.recipe.problems import RecipeError
from evenly.tasks.rebuild.concepts import recipe_concepts
from evenly.tasks.run import Run

_NAMED = 10  # labels, and things, that are named one by one


def boxes_column(curate: Curate) -> str | None:
    """The column of boxes that regions are read from; None without one, or where a value of the recipe gives it."""
    column = None if curate.regions is None else curate.regions.boxes
    return None if column in (curate.values or {}) else column


def require_boxes(curate: Curate, samples: Sequence[pa.Table]) -> None:
    """Raise RecipeError where none of the whole pools has the column of boxes."""
    column = boxes_column(curate)
    if column is not None and not any(column in sample.column_names for sample in samples):
        raise RecipeError(
            f"`curate.regions.boxes` must be a column of a pool; got `{column}`, which none has. Correct it; a file of "
            "COCO's annotations is the column `regions` of the folder whose source says `regions: FILE`."
        )


def count_boxes(run: Run, curate: Curate, pairs: pa.Table) -> dict[str, Any] | None:
    """Counts of the regions that the pictures of a sample have by its column of boxes; None without it or pictures.

    with_regions: the pictures that have some. beyond: boxes that end outside their picture. reasons: of entries that do
    not count. unlisted: labels that the concepts lack, where they are labels of regions; unlabelled: concepts that are
    no label, where the sample has labels of the others.
    """
    from evenly.features.dense.given import count_beyond, region_entries

    column = boxes_column(curate)
    if column is None or not {column, "width", "height"} <= {*pairs.column_names}:
        return None
    rows = pairs.filter(pc.is_valid(pairs["width"])).select([column, "width", "height"]).to_pylist()
    entries = [region_entries(row[column], (row["width"], row["height"])) for row in rows]
    listed = [entry for of_picture in entries for entry in of_picture]
    labels = Counter(str(entry["label"]) for entry in listed if entry.get("label") and not entry.get("reason"))
    return {
        "column": column,
        "pictures": len(rows),
        "with_regions": sum(map(bool, entries)),
        "regions": len(listed),
        "beyond": sum(count_beyond(row[column], (row["width"], row["height"])) for row in rows),
        "reasons": Counter(str(entry["reason"]) for entry in listed if entry.get("reason")),
        **_of_list(run, curate, labels),
    }


def _of_list(run: Run, curate: Curate, labels: Mapping[str, int]) -> dict[str, Any]:
    """The labels that the list of concepts lacks, and the reverse, where regions keep the labels of their column."""
    rule, match = curate.regions, curate.match
    if rule is None or rule.method is not None or rule.attributes or match is None or match.texts != "regions":
        return {"unlisted": {}, "unlabelled": []}
    concepts = recipe_concepts(match.metadata if match.metadata in BUNDLED else run.locate(match.metadata)).entries
    listed = {*concepts}
    unlisted = {label: count for label, count in labels.items() if label not in listed}
    return {"unlisted": unlisted, "unlabelled": [concept for concept in concepts if concept not in labels]}


def region_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Counts by `count_boxes`, in lines for a terminal."""
    pictures = f"{facts['with_regions']:,} of {facts['pictures']:,} pictures"
    yield f"  regions: {facts['regions']:,} in the column `{facts['column']}` of {pictures}"
    if facts["beyond"]:
        yield (
            f"  warning: {facts['beyond']:,} boxes end outside their picture, and are cut at its edge: a `bbox` is x, "
            "y, width, height; corners x0, y0, x1, y1 are called `box`"
        )
    if facts["reasons"]:
        yield f"  do not count: {_counts(facts['reasons'])}"
    if facts["unlisted"]:
        yield f"  warning: labels of regions that `match.metadata` does not list: {_counts(facts['unlisted'])}"
    if facts["unlabelled"]:
        further = len(facts["unlabelled"]) - _NAMED
        names = ", ".join(facts["unlabelled"][:_NAMED]) + (f" and {further:,} more" if further > 0 else "")
        yield f"  warning: concepts of `match.metadata` that label no region here: {names}"


def _counts(counts: Mapping[str, int]) -> str:
    most = Counter(counts).most_common(_NAMED)
    further = f" and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else ""
    return ", ".join(f"{name} {count:,}" for name, count in most) + further
