"""The judgements of the steps that keep pairs by values."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.align import Align, resolve_threshold, top_threshold
from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.errors import RuleError
from evenly.curation.step import ByLedger, FinishedStep, Given, Judged, Judgement, PartTables, Stored, require_column
from evenly.curation.values.rule import KINDS, NamedBounds, Place, ValuesRule

THRESHOLDS = pa.schema([("name", pa.string()), ("threshold", pa.float64()), ("counted", pa.int64())])
"""Of each value with keep_top: the number that a pair's must reach, null where none has one; and how many have one."""
_COUNTS = pa.schema([("name", pa.string()), ("values", pa.float64()), ("counts", pa.int64())])

_NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|NaN|inf|Infinity)\s*$"


def numbers(values: pa.Array, rule: NamedBounds) -> pa.Array:
    """The values as doubles; a text that is no number, as tables of text may hold, is null.

    Raises RuleError for a column that holds neither numbers nor texts.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.if_else(pc.match_substring_regex(values, _NUMBER), pc.utf8_trim_whitespace(values), None)
    try:
        return values.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise RuleError(
            f"`values.{rule.name}.column` must hold numbers for {', '.join(rule.bounds)}; got {values.type} in "
            f"{rule.column!r}. Choose values by `in: [...]`, or name another column."
        ) from None


def judge_value(values: pa.Array, rule: NamedBounds, threshold: float | None = None) -> Decisions:
    """Decide each value by its rule: low, high, below_top (of `threshold`, with keep_top) or other goes.

    A null, a NaN and a text that is no number fail, each for a reason of its own, but for a null where `missing` is
    "keep". The decision's value is the number, null for one of `among` that is none.
    """
    if rule.missing == "keep":
        is_empty = _is_empty(values)
        decisions = judge_value(values, replace(rule, missing="fail"), threshold)
        reason = pc.if_else(is_empty, "", decisions.reason)
        return replace(decisions, reason=reason, failed=pc.and_not(decisions.failed, is_empty))
    if rule.among is not None:
        return _among(values, rule)
    is_empty, values = _is_empty(values), numbers(values, rule)
    reason = pa.repeat(pa.scalar(""), len(values))
    limits = (("below_top", pc.less, threshold), ("high", pc.greater, rule.max), ("low", pc.less, rule.min))
    for kind, is_beyond, limit in limits:
        if limit is not None:
            reason = pc.if_else(pc.fill_null(is_beyond(values, limit), False), rule.reason(kind), reason)
    is_nan = pc.fill_null(pc.is_nan(values), False)
    reason = pc.if_else(is_nan, rule.reason("nan"), pc.if_else(values.is_null(), rule.reason("text"), reason))
    reason = pc.if_else(is_empty, rule.reason("null"), reason)
    return Decisions.of(reason=reason, value=values, failed=pc.or_(is_nan, values.is_null()))


def judge_alone(values: pa.Array, rule: NamedBounds) -> Decisions:
    """Decide values of which there are no others: keep_top is a share of these."""
    if rule.keep_top is None:
        return judge_value(values, rule)
    scores = numbers(values, rule)
    return judge_value(
        values, rule, resolve_threshold(scores.filter(pc.invert(pc.is_nan(scores))), Align(keep_top=rule.keep_top))
    )


def _is_empty(values: pa.Array) -> pa.BooleanArray:
    """Whether each value is null, or a text of spaces alone, as an empty cell of CSV is."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), True)
    return values.is_null()


def _among(values: pa.Array, rule: NamedBounds) -> Decisions:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        choices = pa.array(rule.among).cast(values.type.value_type if pa.types.is_list(values.type) else values.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise RuleError(
            f"`values.{rule.name}.in` must list values as {rule.column!r} holds them, {values.type}; got "
            f"{list(rule.among or ())}. Correct them."
        ) from None
    reason = pc.if_else(_holds(values, choices), "", rule.reason("other"))
    reason = pc.if_else(values.is_null(), rule.reason("null"), reason)
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    return Decisions.of(
        reason=reason, value=values.cast(pa.float64(), safe=False) if is_number else None, failed=values.is_null()
    )


def _holds(values: pa.Array, choices: pa.Array) -> pa.BooleanArray:
    """Whether each value is one of the choices; of a column of lists, whether any in it is."""
    if not pa.types.is_list(values.type):
        return pc.is_in(values, choices)
    rows = pc.list_parent_indices(values).filter(pc.is_in(pc.list_flatten(values), choices))
    return pc.is_in(pa.array(range(len(values)), rows.type), rows)


def _pairs(upstream: Sequence[FinishedStep], rule: ValuesRule, tables: Any) -> pa.Table:  # noqa: ANN401 - a ledger
    return tables.alive(upstream, rule.columns)


def _counted(upstream: Sequence[FinishedStep], rule: ValuesRule, tables: PartTables) -> pa.Table:
    """Counts of each number in a part [name, values, counts], of the values that keep a share."""
    pairs, parts = _pairs(upstream, rule, tables), [_COUNTS.empty_table()]
    for value in rule.values:
        if value.keep_top is not None:
            scores = numbers(pairs[value.column].combine_chunks(), value).drop_null().to_numpy()
            different, counts = np.unique(scores[~np.isnan(scores)], return_counts=True)
            parts.append(pa.table([pa.repeat(value.name, len(different)), different, counts], schema=_COUNTS))
    return pa.concat_tables(parts)


def _thresholds(inputs: Given) -> pa.Table:
    """The table THRESHOLDS, counted again or as it is stored."""
    rule: ValuesRule = inputs.rule
    for value in rule.values:
        require_column(inputs.upstream, f"values.{value.name}.column", value.column)
    if not inputs.recounts:
        return inputs.tables.table(inputs.record, "thresholds")
    shares = [value for value in rule.values if value.keep_top is not None]
    parts = inputs.each("counting values", partial(_counted, inputs.upstream, rule)) if shares else []
    rows = []
    for value in shares:
        counts = [part.filter(pc.equal(part["name"], value.name)) for part in parts]
        threshold = top_threshold(counts, value.keep_top or 1.0)
        counted = sum(pc.sum(part["counts"]).as_py() or 0 for part in counts)
        rows.append({"name": value.name, "threshold": threshold, "counted": counted})
    return pa.Table.from_pylist(rows, schema=THRESHOLDS)


def _judged(inputs: Given, thresholds: pa.Table, tables: PartTables) -> Judged:
    rule: ValuesRule = inputs.rule
    pairs = _pairs(inputs.upstream, rule, tables)
    limits = dict(zip(thresholds["name"].to_pylist(), thresholds["threshold"].to_pylist(), strict=True))
    decided = [
        judge_value(pairs[value.column].combine_chunks(), value, limits.get(value.name)) for value in rule.values
    ]
    counted = f", thresholds {'counted again' if inputs.recounts else 'as stored'}" if limits else ""
    return Judged(
        uids=column(pairs, "uid", pa.string()),
        decisions=first_of(*decided),
        detail=f"{', '.join(rule.columns)} read again{counted}",
    )


def _totals(_inputs: Given, thresholds: pa.Table) -> dict[str, pa.Table]:
    return {"thresholds": thresholds}


def _deciding(stored: Stored, pair: Stored) -> Stored:
    """The value that decided: where it comes from, its bounds, and the number that `keep_top` came to."""
    for value in ValuesRule.load(stored).values:
        if pair["reason"] in {value.reason(kind) for kind in KINDS}:
            limits = {row["name"]: row["threshold"] for row in pair.get("thresholds", ())}
            reached = {} if limits.get(value.name) is None else {"threshold": limits[value.name]}
            return {value.name: {"column": value.column, **value.bounds, **reached}}
    return {}


def _judgement(name: str) -> Judgement:
    return Judgement(
        name=name,
        section="values",
        rule=ValuesRule,
        load=ValuesRule.load,
        question="Are its values among those that stay?",
        value="value",
        needs=lambda rule: rule.needs,
        rejudge=ByLedger(facts=_thresholds, judge=_judged, totals=_totals),
        of_all=lambda rule: any(value.keep_top is not None for value in rule.values),
        decides=_deciding,
    )


CHECK_POOL_VALUES = _judgement("check_pool_values")
CHECK_TEXT_VALUES = _judgement("check_text_values")
CHECK_IMAGE_VALUES = _judgement("check_image_values")
CHECK_VALUES = _judgement("check_values")
VALUES: dict[Place, Judgement] = {
    "pool": CHECK_POOL_VALUES,
    "texts": CHECK_TEXT_VALUES,
    "images": CHECK_IMAGE_VALUES,
    "pairs": CHECK_VALUES,
}
"""The steps by the place at which they look."""
