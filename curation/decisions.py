"""Decisions, the answer of every step of curation: for each row, whether it stays and why not."""

from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.errors import ColumnsError
from evenly.keys import one_array


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """One verdict per row, in the order of the rows that were judged.

    reason: "" keeps the row, any other string names why it goes; never null.
    value: the number looked at; null where there is none.
    into: the uid of the twin that stands for a merged row, else null.
    failed: True where the row could not be judged; False where a rule decided.
    """

    reason: pa.StringArray
    value: pa.DoubleArray
    into: pa.StringArray
    failed: pa.BooleanArray

    def __post_init__(self) -> None:
        n = len(self.reason)
        columns = {"reason": pa.string(), "value": pa.float64(), "into": pa.string(), "failed": pa.bool_()}
        for name, kind in columns.items():
            column = getattr(self, name)
            if not isinstance(column, pa.Array) or column.type != kind or len(column) != n:
                message = f"`{name}` must be an Arrow array of {n} {kind}; got {_describe(column)}. Use Decisions.of."
                raise ColumnsError(message)
        if self.reason.null_count or self.failed.null_count:
            raise ColumnsError('`reason` and `failed` must not hold nulls; got some. Use "" and False.')
        goes = pc.not_equal(self.reason, "")
        merged = self.into.is_valid()
        _refuse(pc.and_not(pc.or_(self.failed, merged), goes), "a failed or merged row must give a reason")
        _refuse(pc.and_(self.failed, merged), "a row must not be both failed and merged")

    def __len__(self) -> int:
        return len(self.reason)

    @classmethod
    def of(cls, *, reason: Any, value: Any = None, into: Any = None, failed: Any = None) -> Self:  # noqa: ANN401 - any column
        """Return decisions from lists, numpy or Arrow arrays; omitted columns are null, and False for `failed`."""
        n = len(reason)
        return cls(
            reason=_column(reason, pa.string()),
            value=pa.nulls(n, pa.float64()) if value is None else _column(value, pa.float64()),
            into=pa.nulls(n, pa.string()) if into is None else _column(into, pa.string()),
            failed=pa.repeat(pa.scalar(False), n) if failed is None else _column(failed, pa.bool_()),
        )

    @classmethod
    def keep_all(cls, n: int) -> Self:
        """Return decisions that keep each of `n` rows, with no value."""
        return cls.of(reason=pa.repeat(pa.scalar(""), n))

    @property
    def kept(self) -> pa.BooleanArray:
        """True where the row stays."""
        return pc.equal(self.reason, "")

    @property
    def verdict(self) -> pa.StringArray:
        """One of "kept", "dropped", "failed" and "merged" per row."""
        gone_verdict = pc.if_else(self.into.is_valid(), "merged", "dropped")
        return pc.if_else(self.kept, "kept", pc.if_else(self.failed, "failed", gone_verdict))

    def to_table(self, uid: pa.Array) -> pa.Table:
        """Return the table [uid, verdict, reason, value, into] in the order of the rows."""
        uid = _column(uid, pa.string())
        if len(uid) != len(self):
            message = f"`uid` must name each of the {len(self)} rows; got {len(uid)}. Pass the uids that were judged."
            raise ColumnsError(message)
        columns = {"verdict": self.verdict, "reason": self.reason, "value": self.value, "into": self.into}
        return pa.table({"uid": uid, **columns})


def first_of(*decisions: Decisions) -> Decisions:
    """Return, for each row, the whole decision of the first that does not keep it.

    A row that all keep has the value of the only decisions given, or null where there are several: their values
    measure different things.
    """
    if not decisions:
        raise ColumnsError("`decisions` must hold at least one; got none. Use Decisions.keep_all.")
    lengths = {len(decision) for decision in decisions}
    if len(lengths) > 1:
        message = f"`decisions` must judge the same rows; got lengths {sorted(lengths)}. Judge one batch."
        raise ColumnsError(message)
    if len(decisions) == 1:
        return decisions[0]
    first = Decisions.keep_all(len(decisions[0]))
    for decision in decisions:
        undecided = pc.and_(first.kept, pc.invert(decision.kept))
        names = ("reason", "value", "into", "failed")
        columns = {name: pc.if_else(undecided, getattr(decision, name), getattr(first, name)) for name in names}
        first = Decisions(**columns)
    return first


def _column(values: Any, kind: pa.DataType) -> pa.Array:  # noqa: ANN401 - lists, numpy and Arrow arrays
    if isinstance(values, pa.Array | pa.ChunkedArray):
        values = one_array(values)
        return values if values.type == kind else values.cast(kind)
    return pa.array(values, type=kind)


def _describe(column: object) -> str:
    if isinstance(column, pa.Array):
        return f"{len(column)} {column.type}"
    return type(column).__name__


def _refuse(bad: pa.BooleanArray, rule: str) -> None:
    row = pc.index(bad, True).as_py()
    if row >= 0:
        message = f"{rule}; got the contrary at row {row}. Correct the step that decided it."
        raise ColumnsError(message)
