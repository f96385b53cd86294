"""Filters, which measure a value per row and judge it against a rule; and the steps that check texts and pictures.

`measure` takes a batch and a rule and returns one value per row, in order; `judge` takes these values and the rule
and returns `Decisions`. Values are stored, so a threshold can move without measuring again. A filter with a `lookup` is
also handed what the caller read for it (a list of words, WordNet), and its rule has a field `sha256` that names this.
One that finds more than its value also has `measure_more`, whose columns are stored beside the value.
A new filter is one file here, one line in a dict below, one test file and one row of docs/methods.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.filters.caption_blocklist import CaptionBlocklist, judge_blocklist, measure_blocklist
from evenly.curation.filters.caption_boilerplate import CaptionBoilerplate, judge_boilerplate, measure_boilerplate
from evenly.curation.filters.caption_characters import CaptionCharacters, judge_characters, measure_characters
from evenly.curation.filters.caption_entities import CaptionEntities, judge_entities, measure_entities
from evenly.curation.filters.caption_language import (
    CaptionLanguage,
    judge_language,
    measure_language,
    measure_languages,
)
from evenly.curation.filters.caption_length import CaptionLength, judge_caption_length, measure_caption_length
from evenly.curation.filters.caption_repeats import CaptionRepeats, judge_repeats, measure_repeats
from evenly.curation.filters.image_aspect import ImageAspect, judge_aspect, measure_aspect
from evenly.curation.filters.image_size import ImageSize, judge_image_size, measure_image_size
from evenly.curation.step import Given, Judged, Judgement, PartTables, Stored, always, by_row, of_pictures


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A rule's class, the two functions that use it and the columns that `measure` reads.

    lookup: whether `measure` takes a third argument, which the caller reads as the rule says.
    measure_more: takes what `measure` takes; returns its values as the column `value`, and further columns.
    reasons: all that it gives, of a filter of pictures.
    """

    rule: type
    measure: Callable[..., pa.Array]
    judge: Callable[[pa.Array, Any], Decisions]
    columns: tuple[str, ...]
    lookup: bool = False
    measure_more: Callable[..., pa.Table] | None = None
    reasons: tuple[str, ...] = ()

    def measure_all(self, batch: pa.Table, rule: object, *read: object) -> tuple[pa.Array, dict[str, pa.Array]]:
        """Return the values of `measure`, and the further columns by name; none where it finds no more."""
        if self.measure_more is None:
            return self.measure(batch, rule, *read), {}
        table = self.measure_more(batch, rule, *read)
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        return columns.pop("value"), columns


TEXT_FILTERS: dict[str, Filter] = {
    "caption_length": Filter(
        rule=CaptionLength, measure=measure_caption_length, judge=judge_caption_length, columns=("caption",)
    ),
    "caption_characters": Filter(
        rule=CaptionCharacters, measure=measure_characters, judge=judge_characters, columns=("caption",)
    ),
    "caption_boilerplate": Filter(
        rule=CaptionBoilerplate, measure=measure_boilerplate, judge=judge_boilerplate, columns=("caption",)
    ),
    "caption_language": Filter(
        rule=CaptionLanguage,
        measure=measure_language,
        judge=judge_language,
        columns=("caption",),
        measure_more=measure_languages,
    ),
    "caption_repeats": Filter(rule=CaptionRepeats, measure=measure_repeats, judge=judge_repeats, columns=("caption",)),
    "caption_blocklist": Filter(
        rule=CaptionBlocklist, measure=measure_blocklist, judge=judge_blocklist, columns=("caption",), lookup=True
    ),
    "caption_entities": Filter(
        rule=CaptionEntities, measure=measure_entities, judge=judge_entities, columns=("caption",), lookup=True
    ),
}

IMAGE_FILTERS: dict[str, Filter] = {
    "image_size": Filter(
        rule=ImageSize,
        measure=measure_image_size,
        judge=judge_image_size,
        columns=("width", "height"),
        reasons=("too_small", "not_measured"),
    ),
    "image_aspect": Filter(
        rule=ImageAspect,
        measure=measure_aspect,
        judge=judge_aspect,
        columns=("width", "height"),
        reasons=("aspect", "not_measured"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class FilterRules:
    """The rule of each filter that judges, by the filter's name, in the order in which filters decide."""

    rules: Mapping[str, Any]

    @classmethod
    def of(cls, values: Mapping[str, Mapping[str, Any]], filters: Mapping[str, Filter]) -> "FilterRules":
        """The rules that the values of a recipe, or of a record, stand for: stored ones have no order of their own."""
        names = [name for name in filters if name in values] + [name for name in values if name not in filters]
        return cls(rules={name: filters[name].rule(**values[name]) for name in names})

    def columns(self, filters: Mapping[str, Filter]) -> list[str]:
        """The columns that the filters read."""
        return sorted({column for name in self.rules for column in filters[name].columns})


def judge_by_filters(
    filters: Mapping[str, Filter],
    rules: Mapping[str, Any],
    pairs: pa.Table,
    *first: Decisions,
    contents: Mapping[str, object],
    stored: Sequence[str] = (),
) -> tuple[Decisions, dict[str, pa.Array]]:
    """Judge pairs by the measurements of each filter, after `first`; with it the columns that are stored.

    rules: by the filter's name, in the order in which filters decide. contents: what a filter looks up. stored: filters
    whose value is a column of the pairs.
    """
    decided, columns = [Decisions.keep_all(pairs.num_rows), *first], dict[str, pa.Array]()
    for name, rule in rules.items():
        if name in stored:
            values, further = column(pairs, f"{name}_value", pa.float64()), dict[str, pa.Array]()
        else:
            looked_up = [contents[name]] if name in contents else []
            values, further = filters[name].measure_all(pairs, rule, *looked_up)
        columns |= {f"{name}_value": values} | further
        decided.append(filters[name].judge(values, rule))
    return first_of(*decided), columns


def _reads_texts(_upstream: object, rule: FilterRules) -> list[str]:
    return rule.columns(TEXT_FILTERS)


def _reads_pictures(_upstream: object, rule: FilterRules) -> list[str]:
    return sorted({"image_id", *rule.columns(IMAGE_FILTERS)})


def _looked_up(filters: Mapping[str, Filter], inputs: Given) -> list[str]:
    """The values of filters with a lookup: the list that they read may be gone."""
    return [f"{name}_value" for name in inputs.rule.rules if filters[name].lookup]


def _filtered(filters: Mapping[str, Filter], inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    rules = {
        name: replace(rule, sha256=inputs.notes.get(name, "")) if filters[name].lookup else rule
        for name, rule in inputs.rule.rules.items()
    }
    looked_up = [name for name in rules if filters[name].lookup]

    def judge(pairs: pa.Table, _tables: PartTables) -> Judged:
        decisions, columns = judge_by_filters(filters, rules, pairs, contents={}, stored=looked_up)
        detail = f"measured and judged again by {len(rules) - len(looked_up)} filters"
        detail += f", judged again by the stored values of {len(looked_up)}" if looked_up else ""
        return Judged(uids=column(pairs, "uid", pa.string()), decisions=decisions, columns=columns, detail=detail)

    return judge


def _filtered_pictures(inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    """By filters; that a picture could not be decoded within its budget is a recording."""
    judge_all = _filtered(IMAGE_FILTERS, inputs)

    def judge(pairs: pa.Table, tables: PartTables) -> Judged:
        judged = judge_all(pairs, tables)
        if "phash" not in pairs.column_names:
            return judged
        reason = column(pairs, "reason", pa.string())
        judged_by = pa.array(["", *(name for filtering in IMAGE_FILTERS.values() for name in filtering.reasons)])
        trouble = pc.if_else(pc.and_(pc.is_null(pairs["phash"]), pc.invert(pc.is_in(reason, judged_by))), reason, "")
        return replace(judged, decisions=first_of(Decisions.of(reason=trouble), judged.decisions))

    return judge


def _other_lookups(stored: Stored, supposed: Stored) -> list[str]:
    """The filters of a lookup by which values would be measured, and were not: what they look up is not stored."""
    return [name for name in supposed if TEXT_FILTERS[name].lookup and stored.get(name) != supposed[name]]


def _fingerprinted(inputs: Given) -> Sequence[str]:
    return ("phash", "reason") if "phash" in inputs.record.columns else ()


def _deciding(filters: Mapping[str, Filter], stored: Stored, pair: Stored) -> Stored:
    """The entry of the filter that decided, and of that the bounds that the pair's value is beyond, if it is."""
    for name, rule in FilterRules.of(stored, filters).rules.items():
        value = pair.get(f"{name}_value")
        judged = filters[name].judge(pa.array([value], pa.float64()), rule)
        if judged.kept[0].as_py() and (pair["reason"] or len(stored) > 1):
            continue
        bounds = {} if value is None else {f: bound for f, bound in vars(rule).items() if _is_beyond(value, f, bound)}
        return {name: bounds or stored[name]}
    return {}


def _is_beyond(value: float, field: str, bound: object) -> bool:
    is_low, is_high = field.startswith("min_"), field.startswith("max_")
    return isinstance(bound, int | float) and ((is_low and value < bound) or (is_high and value > bound))


CHECK_TEXTS = Judgement(
    name="check_texts",
    section="text",
    rule=FilterRules,
    question="Is the caption fit to be one?",
    value="value",
    load=partial(FilterRules.of, filters=TEXT_FILTERS),
    reads=_reads_texts,
    rejudge=by_row(partial(_filtered, TEXT_FILTERS), partial(_looked_up, TEXT_FILTERS)),
    measures=lambda _, rule: any(TEXT_FILTERS[name].lookup for name in rule.rules),
    fixed=_other_lookups,
    decides=partial(_deciding, TEXT_FILTERS),
)
CHECK_IMAGES = Judgement(
    name="check_images",
    section="image",
    rule=FilterRules,
    question="Is the picture large and even enough?",
    value="value",
    load=partial(FilterRules.of, filters=IMAGE_FILTERS),
    reads=_reads_pictures,
    rejudge=by_row(_filtered_pictures, _fingerprinted),
    measures=always,
    needs=of_pictures,
    decides=partial(_deciding, IMAGE_FILTERS),
)
