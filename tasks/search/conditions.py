"""Conditions on columns of pairs, such as `source=flickr` or `width>=512`, and the rows that meet them."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import InputError
from evenly.storage.tables.hashing import is_text_type

_FORM = re.compile(r"\s*(?P<column>[^=<>!]*[^=<>!\s])\s*(?P<relation>!=|>=|<=|=|>|<)(?P<value>.*)", re.DOTALL)
_ORDERED = {">": pc.greater, ">=": pc.greater_equal, "<": pc.less, "<=": pc.less_equal}


@dataclass(frozen=True)
class Condition:
    """A condition on the value of a column: `relation` is one of =, !=, >, >=, < and <=. `=` nothing is null or ""."""

    column: str
    relation: str
    value: str

    @classmethod
    def read(cls, text: str) -> "Condition":
        """The condition that a text states. Raises InputError."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise InputError(
                f"`where` must be a column, one of =, !=, >, >=, <, <= and a value; got `{text}`. Write source=flickr."
            )
        return cls(form["column"], form["relation"], form["value"].strip())

    def __str__(self) -> str:
        return f"{self.column}{self.relation}{self.value}"


def meet(table: pa.Table, conditions: Sequence[Condition]) -> pa.Array:
    """Whether each row meets all conditions; of several `=` on one column it need meet one.

    Raises InputError for a value or relation that does not suit the column.
    """
    alternatives = defaultdict[str, list[pa.Array]](list)
    meets = pa.repeat(pa.scalar(True), table.num_rows)
    for condition in conditions:
        is_met = _meets(table[condition.column].combine_chunks(), condition)
        if condition.relation == "=":
            alternatives[condition.column].append(is_met)
        else:
            meets = pc.and_(meets, is_met)
    for masks in alternatives.values():
        either = masks[0]
        for mask in masks[1:]:
            either = pc.or_(either, mask)
        meets = pc.and_(meets, either)
    return meets


def _meets(column: pa.Array, condition: Condition) -> pa.Array:
    kind = column.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if condition.relation in _ORDERED:
        if not is_number:
            raise _wrong(condition, "be of a column of numbers where it asks for more or less", "Use = or !=")
        return pc.fill_null(_ORDERED[condition.relation](column, _number(condition)), False)
    if condition.value == "":
        equal = pc.is_null(column) if not is_text_type(kind) else pc.fill_null(pc.equal(column, ""), True)
    elif is_number:
        equal = pc.fill_null(pc.equal(column, _number(condition)), False)
    elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise _wrong(condition, f"be of a column of texts, numbers, dates or truths, not {kind}", "Choose another")
    else:
        equal = pc.fill_null(pc.equal(column.cast(pa.string()), condition.value), False)
    return equal if condition.relation == "=" else pc.invert(equal)


def _number(condition: Condition) -> pa.Scalar:
    try:
        return pa.scalar(float(condition.value))
    except ValueError:
        raise _wrong(condition, "have a number, as its column has", "Correct it") from None


def _wrong(condition: Condition, rule: str, remedy: str) -> InputError:
    return InputError(f"`where` must {rule}; got `{condition}`. {remedy}.")
