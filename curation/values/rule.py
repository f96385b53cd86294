"""The rule of a value: where it comes from, when it is looked at, and which values stay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from evenly.bounds import FINITE, PairColumn, Wording, check_bounds
from evenly.curation.errors import RuleError
from evenly.curation.rank import BestShare
from evenly.curation.step import Need

Place = Literal["pool", "texts", "images", "pairs"]
PLACES: tuple[Place, ...] = ("pool", "texts", "images", "pairs")
Choice = str | bool | int | float


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value per pair and those of it that stay: at least `min`, at most `max`, the best `keep_top`, or one `among`.

    column: of the pool, or of a step before. at: `pool` is before all other steps, `texts` after the filters of
    captions, `images` after those of pictures, `pairs` after `align`. keep_top: a share in (0, 1] of the pairs that
    come to the step with a number; pairs equal to the last of these stay too, as with `align`. Recipes write `in` for
    `among`.
    """

    column: PairColumn
    at: Annotated[Place, Wording(demand=f"be one of {', '.join(PLACES)}")] = "pairs"
    min: Annotated[float, FINITE] | None = None
    max: Annotated[float, FINITE] | None = None
    keep_top: BestShare | None = None
    among: tuple[Choice, ...] | None = None

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)
        bounds = [name for name in ("min", "max", "keep_top", "among") if getattr(self, name) is not None]
        named = ", ".join("in" if name == "among" else name for name in bounds)
        if not bounds or (len(bounds) > 1 and set(bounds) != {"min", "max"}):
            raise RuleError(
                "a value must have min, max or both, or keep_top, or in; got "
                f"{named or 'none of them'}. Leave one, or write a second value of the same column."
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise RuleError(f"`min` must be at most max, {self.max}; got {self.min}. Correct one of them.")
        if self.among is not None and not self.among:
            raise RuleError("`in` must list at least one value; got none. List those that stay.")

    @property
    def bounds(self) -> dict[str, object]:
        """What it must be, as a recipe writes it."""
        named = {"min": self.min, "max": self.max, "keep_top": self.keep_top, "in": self.among}
        return {name: bound for name, bound in named.items() if bound is not None}


@dataclass(frozen=True, kw_only=True)
class NamedValue(Value):
    """A value with the name that the recipe gives it."""

    name: str

    def reason(self, kind: str) -> str:
        """The reason of a pair whose value is `low`, `high`, `below_top`, `other`, `null` or `nan`."""
        return f"{kind}_{self.name}"


@dataclass(frozen=True, kw_only=True)
class ValuesRule:
    """Values that are looked at by one step; the first in this order that refuses a pair decides it."""

    values: Sequence[NamedValue]

    @classmethod
    def at(cls, place: Place, values: Mapping[str, Value]) -> "ValuesRule | None":
        """The rule of the values of a recipe that are looked at there; None where there are none."""
        chosen = [NamedValue(name=name, **vars(value)) for name, value in values.items() if value.at == place]
        return cls(values=tuple(chosen)) if chosen else None

    @classmethod
    def load(cls, stored: Mapping[str, object]) -> "ValuesRule":
        """The rule as a record stores it."""
        rows: Sequence[Mapping[str, object]] = stored["values"]  # type: ignore[assignment]
        listed = (dict(row) | {"among": tuple(row["among"])} if row.get("among") else row for row in rows)  # type: ignore[arg-type]
        return cls(values=tuple(NamedValue(**row) for row in listed))  # type: ignore[arg-type]

    @property
    def columns(self) -> list[str]:
        """The columns that hold the values."""
        return sorted({value.column for value in self.values})

    @property
    def needs(self) -> dict[str, Collection[Need]]:
        """What the values need of other steps."""
        return {f".{value.name}": ["pictures"] for value in self.values if value.at == "images"}
