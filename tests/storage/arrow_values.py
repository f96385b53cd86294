"""Arrow types of every kind with values of theirs, nested too, for property tests."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
from hypothesis import strategies as st

_DATES = st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1))
_TIMES = st.builds(dt.datetime.combine, _DATES, st.times())
_SECONDS = st.builds(dt.time, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
_DECIMALS = st.integers(-9999, 9999).map(lambda number: Decimal(number) / 100)
_WHOLE = st.integers(-100, 100)

SCALARS = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.int8(), _WHOLE),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float16(), st.floats(width=16)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.date32(), _DATES),
    (pa.date64(), _DATES),
    (pa.time32("s"), _SECONDS),
    (pa.time32("ms"), _SECONDS),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), _TIMES),
    (pa.timestamp("ms", "UTC"), _TIMES.map(lambda time: time.replace(microsecond=0, tzinfo=dt.UTC))),
    (pa.duration("s"), _WHOLE.map(lambda seconds: dt.timedelta(seconds=seconds))),
    (pa.month_day_nano_interval(), st.tuples(_WHOLE, _WHOLE, _WHOLE).map(pa.MonthDayNano)),
    (pa.decimal32(6, 2), _DECIMALS),
    (pa.decimal64(12, 2), _DECIMALS),
    (pa.decimal128(20, 2), _DECIMALS),
    (pa.decimal256(50, 2), _DECIMALS),
    (pa.string(), st.text(max_size=14)),
    (pa.large_string(), st.text(max_size=14)),
    (pa.string_view(), st.text(max_size=14)),
    (pa.binary(), st.binary(max_size=14)),
    (pa.large_binary(), st.binary(max_size=14)),
    (pa.binary_view(), st.binary(max_size=14)),
    (pa.binary(2), st.binary(min_size=2, max_size=2)),
    (pa.dictionary(pa.int8(), pa.string()), st.text(max_size=2)),
    (pa.dictionary(pa.int8(), pa.int64()), _WHOLE),
]
"""Types without children, and what their values may be."""


def _nested(inner):
    """Types that hold values of an inner type, and what their values may be."""
    kind, values = inner
    some = st.none() | values
    lists = st.lists(some, max_size=3)
    pair = st.lists(some, min_size=2, max_size=2)
    rows = st.fixed_dictionaries({"a": some, "b": st.none() | st.text(max_size=2)})
    maps = st.lists(st.tuples(st.text(max_size=2), some), max_size=3)
    return st.sampled_from(
        [
            (pa.list_(kind), lists),
            (pa.large_list(kind), lists),
            (pa.list_view(kind), lists),
            (pa.large_list_view(kind), lists),
            (pa.list_(kind, 2), pair),
            (pa.struct([("a", kind), ("b", pa.string())]), rows),
            (pa.map_(pa.string(), kind), maps),
        ]
    )


def kinds(scalars=SCALARS):
    """(type, values) of these types, or of lists, structs and maps of them."""
    return st.recursive(st.sampled_from(scalars), lambda inner: inner.flatmap(_nested), max_leaves=3)


def rows_of(values):
    """Rows of one column, nulls among them."""
    return st.lists(st.none() | values, max_size=8)


def shown(values):
    """Values as text in which zero has no sign and NaN one name: equal for columns that hold the same."""
    return repr(values).replace("-0.0", "0.0").replace("-nan", "nan")


_LAYOUTS = {
    pa.string(): pa.string_view(),
    pa.string_view(): pa.large_string(),
    pa.large_string(): pa.string(),
    pa.binary(): pa.binary_view(),
    pa.binary_view(): pa.large_binary(),
    pa.large_binary(): pa.binary(),
}


def other_layout(kind):
    """A type of another layout for the same values."""
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, other_layout(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(other_layout(kind.key_type), other_layout(kind.item_type))
    if pa.types.is_list(kind):
        return pa.large_list_view(other_layout(kind.value_type))
    if pa.types.is_nested(kind):
        return pa.list_(other_layout(kind.value_type))
    return kind.value_type if pa.types.is_dictionary(kind) else _LAYOUTS.get(kind, kind)
