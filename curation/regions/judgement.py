"""Regions of pictures: the rule by which they are found, the columns that they give pairs, and their judgement."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge

from evenly.bounds import LocalPath, PairColumn, check_bounds
from evenly.curation.arrays import column, taken_rows
from evenly.curation.decisions import Decisions
from evenly.curation.encoder_name import StepModel
from evenly.curation.errors import RuleError
from evenly.curation.step import (
    Given,
    Judged,
    Judgement,
    PartTables,
    always,
    by_row,
    fixed_fields,
    of_pictures,
    rows_of_pairs,
)

REGIONS = pa.schema(
    [
        *(("uid", pa.string()), ("region", pa.int32())),
        *((side, pa.float64()) for side in ("x0", "y0", "x1", "y1")),
        *((name, pa.string()) for name in ("mask", "label", "phrase")),
        *(("score", pa.float64()), ("source", pa.string()), ("reason", pa.string())),
    ]
)
"""The table of regions: `region` is a number in its picture; reason: "" counts; no score is null."""
FURTHER: Mapping[str, list[pa.Field]] = {
    "attributes": [
        pa.field("attributes", pa.list_(pa.string())),
        pa.field("attribute_scores", pa.list_(pa.float64())),
    ],
    "counts": [pa.field("count", pa.float64()), pa.field("density", pa.list_(pa.float32()))],
}
"""Columns of the table by what a rule or its method gives: the likely attributes; things in a region, and by cell."""


@dataclass(frozen=True, kw_only=True)
class RegionRule:
    """Find regions of things in pictures, or take those that a column has.

    texts: a file of things, a class list or JSON of texts by thing; each text fills all `templates`. method: finds
    regions, or names those of `boxes`, a column of the pool, of `detector`, an ONNX file or JSON of its form, or of
    `endpoint`, a vision model that is asked for the things; None: these are taken as they are. options: its
    hyper-parameters. learn: fits it first to so many pictures of train, at most, with their `boxes`, which are
    labelled. dense: whether rows of cells are stored or made again, which changes no region. attributes: the table has
    those of regions, and pairs a column of them. model: the encoder; None: the build's.
    """

    texts: LocalPath | None = None
    templates: tuple[str, ...] = ("{}",)
    method: str | None = "score_maps"
    options: Mapping[str, Any] = field(default_factory=dict)
    boxes: PairColumn | None = None
    detector: LocalPath | None = None
    endpoint: Any = None
    learn: Annotated[int, Ge(1)] | None = None
    dense: Literal["stored", "made"] = "made"
    attributes: bool = False
    model: StepModel | None = None

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)
        given = [name for name in ("boxes", "detector", "endpoint") if getattr(self, name) is not None]
        if len(given) > 1:
            raise RuleError(f"`regions` must have one source of boxes; got {' and '.join(given)}. Leave one out.")
        if self.method is None and not given:
            raise RuleError("`regions` must have a method, or boxes, a detector or an endpoint; got none. Give one.")
        if self.texts is None and (self.method is not None or self.endpoint is not None):
            name = self.method or "endpoint"
            raise RuleError(f"`texts` must name a file of things for `{name}`; got none. Write `texts: FILE`.")
        if self.learn is not None and self.method is None:
            raise RuleError("`learn` must go with a method; got none. Name one, or leave it out.")
        if not self.templates or any("{}" not in template for template in self.templates):
            raise RuleError(f"`templates` must hold {{}} for the thing; got {list(self.templates)}. Correct them.")

    @property
    def stores_cells(self) -> bool:
        """Whether rows of cells by the build's encoder are stored."""
        return self.dense == "stored" and self.method is not None and self.model is None


def region_columns(uids: pa.Array, regions: pa.Table) -> dict[str, pa.Array]:
    """The number, best score and labels of the regions of each pair that count.

    And where the table has them, their attributes with their labels, and how many things they hold together.
    """
    counting = regions.filter(pc.equal(regions["reason"], ""))
    summed = counting.group_by("uid").aggregate([("region", "count"), ("score", "max")])
    rows = taken_rows(summed, uids)
    labels: dict[str, list[str]] = {}
    of_pairs = counting.group_by(["uid", "label"]).aggregate([]).sort_by("label")
    for uid, label in zip(of_pairs["uid"].to_pylist(), of_pairs["label"].to_pylist(), strict=True):
        labels.setdefault(uid, []).extend([label] if label else [])
    columns = {
        "region_count": column(rows, "region_count", pa.int64()).fill_null(0),
        "region_score": column(rows, "score_max", pa.float64()),
        "region_labels": pa.array([labels.get(uid, []) for uid in uids.to_pylist()], pa.list_(pa.string())),
    }
    if "attributes" in counting.column_names:
        columns["region_attributes"] = _attributed(uids, counting)
    if "count" in counting.column_names:
        expected = taken_rows(counting.group_by("uid").aggregate([("count", "sum")]), uids)
        columns["region_expected"] = column(expected, "count_sum", pa.float64())
    return columns


def _attributed(uids: pa.Array, counting: pa.Table) -> pa.Array:
    """The attributes of the regions of each pair with their things, as "red cup", sorted, each once."""
    named: dict[str, set[str]] = {}
    columns = (counting[name].to_pylist() for name in ("uid", "label", "attributes"))
    for uid, label, attributes in zip(*columns, strict=True):
        named.setdefault(uid, set()).update(f"{attribute} {label}" for attribute in attributes if label)
    return pa.array([sorted(named.get(uid, ())) for uid in uids.to_pylist()], pa.list_(pa.string()))


def judge_regions(uids: pa.Array, regions: pa.Table, area: pa.Array) -> tuple[Decisions, dict[str, pa.Array]]:
    """Keep all pairs, with the columns of their regions; the value is how many there are."""
    columns = region_columns(uids, regions) | {"region_area": area}
    decisions = Decisions.of(reason=pa.repeat("", len(uids)), value=columns["region_count"])
    return decisions, columns


def _counted(inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    """By the stored regions; what they cover together is read as it was measured."""

    def judge(pairs: pa.Table, tables: PartTables) -> Judged:
        uids = column(pairs, "uid", pa.string())
        regions = rows_of_pairs(tables, inputs.record, "regions", uids)
        decisions, columns = judge_regions(uids, regions, column(pairs, "region_area", pa.float64()))
        return Judged(uids=uids, decisions=decisions, columns=columns, detail="stored regions counted again")

    return judge


FIND_REGIONS = Judgement(
    name="find_regions",
    section="regions",
    rule=RegionRule,
    question="Which things are where in the picture?",
    value="regions",
    label="re-checked",
    rejudge=by_row(_counted, lambda _: ("region_area",)),
    measures=always,
    fixed=fixed_fields(""),
    needs=of_pictures,
    seeded=True,
)
