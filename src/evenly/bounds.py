"""Bounds of rules, written once as types: pydantic reads them in a recipe, and `check_bounds` in the rule itself.

A frozen dataclass writes `timeout_s: Annotated[float, Gt(0)] = 10.0` and calls `check_bounds` when it is made.
"""

import math
import re
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, AllowInfNan, BeforeValidator

STORES = ("s3", "gs", "az", "file")
"""The schemes of URLs at which a workspace or a pool may lie."""
FINITE = AllowInfNan(False)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(%|[kMGT]i?B)")
_UNITS = {"k": 1, "M": 2, "G": 3, "T": 4}
_DURATION = re.compile(r"([0-9]{1,5})([dhm])")
_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0}


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The words of a bound: what a value must do, and what to do about one that does not; "" for the plain words."""

    demand: str = ""
    remedy: str = ""


Share = Annotated[float, Gt(0), Le(1)]
Cosine = Annotated[float, Ge(-1), Le(1)]
Bits = Annotated[int, Ge(0), Le(64), Wording(demand="be 0 to 64 bits")]
Levels = Annotated[float, Ge(0), Le(255), Wording(demand="be 0 to 255 levels")]
Tables = Annotated[int, Ge(1), Le(1024)]
RenameRule = Literal["relaxed", "strict"]
"""REAL's two rules by which a class takes the name that captions say most often."""
_COLUMN = Wording(demand="name a column of the pool")
PairColumn = Annotated[str, MinLen(1), _COLUMN]
"""A column that pairs have: one of the pool, or of a step before."""


def columns_named(rule: object) -> dict[str, str]:
    """Field -> column, of the fields of a rule that name one."""
    kind: Any = type(rule)
    names = {name: getattr(rule, name) for name, bounds in _bounds(kind).items() if bounds.wording is _COLUMN}
    return {name: column for name, column in names.items() if column is not None}


def local_path(path: str) -> str:
    """The path, if it is of this machine; ValueError for a URL."""
    if "://" in path:
        raise ValueError(f"must be a path of this machine; got `{path}`: mount it, or copy it here")
    return path


def pool_path(path: str) -> str:
    """The path, if it is of this machine or of an object store; ValueError for another URL, or one with a password."""
    scheme, is_url, remainder = path.partition("://")
    if is_url and (scheme.lower() not in STORES or "@" in remainder.partition("/")[0]):
        schemes = ", ".join(f"{name}://" for name in STORES)
        raise ValueError(
            f"must be of this machine, or begin with one of {schemes} and hold no password; got `{scheme}://`: mount "
            "it, or copy it here"
        )
    return path


def memory_bytes(size: str, total: int) -> int:
    """The bytes of a size such as `6GB` or `8GiB`, or of a share of `total` such as `50%`; ValueError for another."""
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    number, unit = (0.0, "") if match is None else (float(match[1]), match[2])
    if not number or (unit == "%" and number > 100):
        raise ValueError(f"must be a size such as 6GB or 8GiB, or a share of the machine's such as 50%; got `{size}`")
    if unit == "%":
        return int(total * number / 100)
    return int(number * (1024 if "i" in unit else 1000) ** _UNITS[unit[0]])


def memory_size(size: str) -> str:
    """The size, if `memory_bytes` can read it."""
    memory_bytes(size, 1)
    return size


def duration_s(text: str) -> float:
    """The seconds of a duration such as `7d`, `12h` or `30m`; ValueError for another text."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"must be a number and d, h or m, such as 7d; got `{text}`")
    return int(match[1]) * _UNITS_S[match[2]]


def duration(text: str) -> str:
    """The text, if `duration_s` can read it."""
    duration_s(text)
    return text


MemorySize = Annotated[str, BeforeValidator(memory_size)]
Duration = Annotated[str, BeforeValidator(duration)]
LocalPath = Annotated[str, AfterValidator(local_path)]  # of recipes: a run looks again, and says where
PoolPath = Annotated[str, AfterValidator(pool_path)]


def check_bounds(
    rule: object, error: type[ValueError], *, remedy: str = "Correct the recipe.", quote: str = ""
) -> None:
    """Raise `error` for the first field of a dataclass that is out of the bounds of its type; None is within.

    `quote` stands around the value in its text.
    """
    kind: Any = type(rule)
    for name, bounds in _bounds(kind).items():
        value = getattr(rule, name)
        if value is not None and not bounds.hold(value):
            shown = f"{quote}{bounds.shown(value)}{quote}"
            raise error(f"`{name}` must {bounds.demand}; got {shown}. {bounds.wording.remedy or remedy}")


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    """Bounds of the values of one field: limits, or the choices of a Literal."""

    limits: tuple[Any, ...]
    choices: tuple[Any, ...]
    wording: Wording

    def hold(self, value: Any) -> bool:  # noqa: ANN401 - the value of any field
        """Whether a value is within."""
        if self.choices:
            return value in self.choices
        return all(_holds(limit, value) for limit in self.limits)

    @property
    def demand(self) -> str:
        """The demand on a value, in words."""
        if self.wording.demand:
            return self.wording.demand
        if self.choices:
            return f"be one of {', '.join(map(str, self.choices))}"
        least, most = "", ""
        for limit in self.limits:
            if isinstance(limit, Ge):
                least = f"at least {limit.ge}"
            elif isinstance(limit, Gt):
                least = f"above {limit.gt}"
            elif isinstance(limit, Le):
                most = f"at most {limit.le}"
            elif isinstance(limit, Lt):
                most = f"below {limit.lt}"
            elif isinstance(limit, MinLen):
                return f"hold at least {limit.min_length}"
        if least.startswith("at least") and most:
            return f"be {least.removeprefix('at least ')} to {most.removeprefix('at most ')}"
        return f"be {' and '.join(part for part in (least, most) if part) or 'finite'}"

    def shown(self, value: Any) -> str:  # noqa: ANN401 - the value of any field
        """A value that is out of bounds."""
        return repr(value) if self.choices else str(value)


def _holds(limit: object, value: Any) -> bool:  # noqa: ANN401 - the value of any field
    match limit:
        case Ge(ge=least):
            return bool(value >= least)
        case Gt(gt=least):
            return bool(value > least)
        case Le(le=most):
            return bool(value <= most)
        case Lt(lt=most):
            return bool(value < most)
        case MinLen(min_length=least):
            return len(value) >= least
    return math.isfinite(value)


@cache
def _bounds(kind: Any) -> dict[str, _Bounds]:  # noqa: ANN401 - a class
    """The bounds of the fields of a dataclass that have some."""
    hints = get_type_hints(kind, include_extras=True)
    bounds_by_name = {field.name: _bounds_of(hints[field.name]) for field in fields(kind)}
    return {name: bounds for name, bounds in bounds_by_name.items() if bounds.limits or bounds.choices}


def _bounds_of(hint: Any) -> _Bounds:  # noqa: ANN401 - a type expression
    """The bounds of `Annotated[...]`, of a Literal, or of one of these or None."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is Annotated:
        metadata = hint.__metadata__
        inner = _bounds_of(hint.__origin__)
        limits = tuple(item for item in metadata if isinstance(item, Ge | Gt | Le | Lt | MinLen | AllowInfNan))
        wording = next((item for item in metadata if isinstance(item, Wording)), inner.wording)
        return _Bounds(limits=(*inner.limits, *limits), choices=inner.choices, wording=wording)
    if get_origin(hint) is Literal:
        return _Bounds(limits=(), choices=tuple(parts), wording=Wording())
    if len(parts) == 1 and NoneType in get_args(hint):
        return _bounds_of(parts[0])
    return _Bounds(limits=(), choices=(), wording=Wording())
