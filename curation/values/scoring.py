"""Scores by functions of users: the values of each row, whether or not its neighbours can be scored."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError
from evenly.curation.step import Judgement, always, fixed_fields, gives, require_column
from evenly.curation.values.rule import NamedScorer, Place, ScorersRule

BATCH_ROWS = 256
MOST_FAILED = 0.2
"""A scorer that fails on a larger share of rows ends the run."""
_LEAST_ROWS = 20
_MOST_SILENT = 3
_MESSAGE = 300
Score = Callable[[pa.Table], pa.Array]
"""A scorer: what it gives for the rows of a table. Raises ScoringError where it fails on them."""


class ScoringError(Exception):
    """A scorer fails on rows; `silent`: it gave no answer in time, or ended its process."""

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


def array_of_values(values: Any) -> pa.Array:  # noqa: ANN401 - whatever a scorer gives
    """A scorer's values as an array of Arrow. Raises TypeError where it has rows of several values."""
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise TypeError(f"must give one value for each row; gave an array of shape {values.shape}")
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values if isinstance(values, pa.Array) else pa.array(values)


def checked(values: pa.Array, rows: int, scorer: NamedScorer) -> pa.Array:
    """The values that a scorer gave for `rows` rows, as doubles or texts.

    Raises ScoringError where it is something else, RuleError where these are not as many.
    """
    kind = pa.string() if scorer.is_text else pa.float64()
    wanted = "texts" if scorer.is_text else "numbers"
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    try:
        column = values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ScoringError(f"must give {wanted}; gave {values.type}") from None
    if is_text != scorer.is_text and not pa.types.is_null(values.type):
        raise ScoringError(f"must give {wanted}; gave {values.type}")
    if len(column) != rows:
        raise RuleError(
            f"`values.{scorer.name}.python` must give a value for each row; it gave {len(column)} for {rows}. Correct "
            f"`{scorer.function}`."
        )
    return column


def scored(rows: pa.Table, scorer: NamedScorer, score: Score) -> tuple[pa.Array, pa.Array]:
    """The value of each row, and why it has none where the scorer fails on it: two arrays.

    Rows are given in batches. One on which the scorer fails is given again in halves, down to single rows, so that a
    row's value depends on it alone. Raises RuleError where more than MOST_FAILED of all rows fail, or where the scorer
    is silent three times in a row.
    """
    failed, silent = 0, 0
    values, messages = [pa.array([], pa.string() if scorer.is_text else pa.float64())], [pa.array([], pa.string())]
    for batch, column, error in _scored(rows, scorer, score):
        values.append(column if column is not None else pa.nulls(batch.num_rows, values[0].type))
        message = None if error is None else str(error)[:_MESSAGE]
        messages.append(pa.array([message] * batch.num_rows, pa.string()))
        if error is None:
            silent = 0
            continue
        failed += batch.num_rows
        silent = silent + 1 if error.silent else 0
        if silent == _MOST_SILENT or failed > max(MOST_FAILED * rows.num_rows, _LEAST_ROWS):
            raise RuleError(
                f"`values.{scorer.name}.python` must score at least {1 - MOST_FAILED:.0%} of rows; it failed on "
                f"{failed} of {rows.num_rows:,}, the last time: {message}. Correct `{scorer.function}`."
            )
    return pa.concat_arrays(values), pa.concat_arrays(messages)


def _scored(
    rows: pa.Table, scorer: NamedScorer, score: Score
) -> Iterator[tuple[pa.Table, pa.Array | None, ScoringError | None]]:
    for start in range(0, rows.num_rows, BATCH_ROWS):
        left = [rows.slice(start, BATCH_ROWS)]
        while left:
            batch = left.pop()
            try:
                yield batch, checked(score(batch), batch.num_rows, scorer), None
            except ScoringError as error:
                half = batch.num_rows // 2
                if not half or error.silent:
                    yield batch, None, error
                else:
                    left += [batch.slice(half), batch.slice(0, half)]


def decide(errors: list[tuple[str, pa.Array]], rows: int) -> Decisions:
    """A pair on which a scorer fails is one that cannot be judged."""
    is_failed = np.zeros(rows, np.bool_)
    for _, messages in errors:
        is_failed |= messages.is_valid().to_numpy(zero_copy_only=False)
    reason = np.where(is_failed, "scorer_error", "")
    return Decisions.of(reason=pa.array(reason.tolist(), pa.string()), failed=is_failed)


def refuse_columns(rule: ScorersRule, upstream: Any) -> None:  # noqa: ANN401 - records
    """Raise RuleError for a column that no step before gave, or that pairs have before the scorer gives it."""
    for scorer in rule.scorers:
        for name in scorer.reads:
            require_column(upstream, f"values.{scorer.name}.reads", name)
        refuse_taken(scorer.name, (scorer.name, f"{scorer.name}_error"), upstream)


def refuse_taken(value: str, columns: Sequence[str], upstream: Any) -> None:  # noqa: ANN401 - records
    """Raise RuleError for a column of a value that pairs have before it is measured."""
    for name in columns:
        if gives(upstream, name):
            raise RuleError(f"`values.{value}` must be called as no column of the pairs is; got {name!r}. Rename it.")


def _judgement(name: str, place: Place) -> tuple[Place, Judgement]:
    return place, Judgement(
        name=name,
        section="values",
        rule=ScorersRule,
        load=ScorersRule.load,
        question="Which values do your scorers give it?",
        label="observed",
        observed="given once by the scorer; a replay takes the stored value and never runs the code",
        reads=lambda _, rule: rule.columns,
        measures=always,
        fixed=fixed_fields(""),
    )


SCORES: dict[Place, Judgement] = dict(
    (_judgement("score_texts", "texts"), _judgement("score_images", "images"), _judgement("score_pairs", "pairs"))
)
"""The steps by the place at which the values are looked at."""
