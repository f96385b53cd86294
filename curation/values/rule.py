"""The rule of a value: where it comes from, when it is looked at, and which values stay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from annotated_types import Gt
from pydantic import AliasChoices, Field

from evenly.bounds import FINITE, PairColumn, Wording, check_bounds
from evenly.curation.errors import RuleError
from evenly.curation.rank import BestShare
from evenly.curation.step import Need
from evenly.curation.values.methods import VALUE_METHODS, Method

Place = Literal["pool", "texts", "images", "pairs"]
PLACES: tuple[Place, ...] = ("pool", "texts", "images", "pairs")
KINDS = ("low", "high", "below_top", "other", "null", "nan", "text")
"""The kinds of values that do not stay."""
Choice = str | bool | int | float


@dataclass(frozen=True, kw_only=True)
class ValueBounds:
    """The values that stay: at least `min`, at most `max`, the best `keep_top`, or one `among`.

    at: `pool` is before all other steps, `texts` after the filters of captions, `images` after those of pictures,
    `pairs` after `align`. keep_top: a share in (0, 1] of the pairs that come to the step with a number; pairs equal to
    the last of these stay too, as with `align`. Recipes write `in` for `among`. missing: whether a pair without a value
    fails or is kept.
    """

    at: Annotated[Place, Wording(demand=f"be one of {', '.join(PLACES)}")] = "pairs"
    min: Annotated[float, FINITE] | None = None
    max: Annotated[float, FINITE] | None = None
    keep_top: BestShare | None = None
    among: Annotated[tuple[Choice, ...] | None, Field(alias="in", validation_alias=AliasChoices("in", "among"))] = None
    missing: Literal["fail", "keep"] = "fail"

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)
        if not self.bounds or (len(self.bounds) > 1 and set(self.bounds) != {"min", "max"}):
            raise RuleError(
                "a value must have min, max or both, or keep_top, or in; got "
                f"{', '.join(self.bounds) or 'none of them'}. Leave one, or write a second value."
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise RuleError(f"`min` must be at most max, {self.max}; got {self.min}. Correct one of them.")
        if self.among is not None and not self.among:
            raise RuleError("`in` must list at least one value; got none. List those that stay.")

    @property
    def bounds(self) -> dict[str, object]:
        """The bounds that are set, as a recipe writes them."""
        named = {"min": self.min, "max": self.max, "keep_top": self.keep_top, "in": self.among}
        return {name: bound for name, bound in named.items() if bound is not None}


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A Python function `FILE.py:FUNCTION` that gives a value for each row of an Arrow table of the columns `reads`.

    imports: files beside it that it imports. version: what else its values depend on, such as a model's name.
    timeout_s: how long a batch may take, or loading the modules.
    """

    python: str | None = None
    reads: tuple[PairColumn, ...] = ()
    imports: tuple[str, ...] = ()
    version: str = ""
    timeout_s: Annotated[float, Gt(0), FINITE] = 60.0

    @property
    def function(self) -> str:
        """The function's name."""
        return (self.python or "").rpartition(":")[2]


@dataclass(frozen=True, kw_only=True)
class Value(ValueBounds, Scorer, Method):
    """One value per pair, and those of it that stay.

    column: of the pool, or of a step before; in its place stands `python`, or a method. model: the encoder whose
    features a method reads; None: the build's.
    """

    column: PairColumn | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        named = {"column": self.column, "python": self.python, **self.chosen}
        sources = [name for name, source in named.items() if source is not None]
        if len(sources) != 1:
            raise RuleError(
                f"a value must come from exactly one of column, python, {', '.join(VALUE_METHODS)}; got "
                f"{', '.join(sources) or 'none of them'}. Choose one."
            )
        if self.model is not None and (not self.chosen or self.soft_cap is not None):
            raise RuleError(f"`model` must go with a method on features; got it beside {sources[0]}. Leave it out.")
        if self.chosen and self.at != "pairs":
            raise RuleError(f"`at` must be pairs for {sources[0]}, which reads features; got {self.at}. Leave it out.")
        if self.python is None:
            if self.reads or self.imports or self.version:
                raise RuleError(
                    f"`reads`, imports and version belong to python; got them beside {sources[0]}. Leave them out."
                )
            return
        path, _, function = self.python.rpartition(":")
        if not (path.endswith(".py") and function.isidentifier()):
            raise RuleError(f"`python` must be FILE.py:FUNCTION; got `{self.python}`. Write scorers.py:score.")
        if not self.reads:
            raise RuleError(
                "`reads` must list the columns that the function is given; got none. Write reads: [caption]."
            )
        if self.at == "pool":
            raise RuleError("`at` must be texts, images or pairs for python; got pool. Leave it out, or write texts.")

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The columns that it names, each after its field."""
        column = [] if self.column is None else [self.column]
        named = {"column": column, "reads": self.reads, "soft_cap.of": self.soft_cap.of if self.soft_cap else ()}
        return [(field, name) for field, names in named.items() for name in names]

    @property
    def is_text(self) -> bool:
        """Whether the function gives texts."""
        return self.among is not None and all(isinstance(choice, str) for choice in self.among)


@dataclass(frozen=True, kw_only=True)
class NamedBounds(ValueBounds):
    """A value's bounds with the name that the recipe gives it, and the column of pairs that holds it."""

    name: str
    column: str

    def reason(self, kind: str) -> str:
        """The reason of a pair whose value is of one of KINDS."""
        return f"{kind}_{self.name}"


def named_bounds(values: Mapping[str, Value]) -> dict[str, NamedBounds]:
    """The bounds of the values of a recipe, by their names."""
    names = [field.name for field in fields(ValueBounds)]
    return {
        name: NamedBounds(name=name, column=value.column or name, **{field: getattr(value, field) for field in names})
        for name, value in values.items()
    }


@dataclass(frozen=True, kw_only=True)
class ValuesRule:
    """Values that are looked at by one step; the first in this order that refuses a pair decides it."""

    values: Sequence[NamedBounds]

    @classmethod
    def at(cls, place: Place, values: Mapping[str, Value]) -> "ValuesRule | None":
        """The rule of the values of a recipe that are looked at there; None where there are none."""
        chosen = [bounds for bounds in named_bounds(values).values() if bounds.at == place]
        return cls(values=tuple(chosen)) if chosen else None

    @classmethod
    def load(cls, stored: Mapping[str, object]) -> "ValuesRule":
        """The rule as a record stores it."""
        rows: Sequence[Mapping[str, object]] = stored["values"]  # type: ignore[assignment]
        listed = (dict(row) | {"among": tuple(row["among"])} if row.get("among") else row for row in rows)  # type: ignore[arg-type]
        return cls(values=tuple(NamedBounds(**row) for row in listed))  # type: ignore[arg-type]

    @property
    def columns(self) -> list[str]:
        """The columns that hold the values."""
        return sorted({value.column for value in self.values})

    @property
    def needs(self) -> dict[str, Collection[Need]]:
        """The needs of the values."""
        return {f".{value.name}": ["pictures"] for value in self.values if value.at == "images"}


@dataclass(frozen=True, kw_only=True)
class NamedScorer:
    """A scorer by the name of its value, as far as values depend on it; `is_text`: it gives texts, no numbers."""

    name: str
    function: str
    reads: tuple[str, ...]
    version: str = ""
    is_text: bool = False


@dataclass(frozen=True, kw_only=True)
class ScorersRule:
    """The scorers that one step runs."""

    scorers: Sequence[NamedScorer]

    @classmethod
    def at(cls, place: Place, values: Mapping[str, Value]) -> "ScorersRule | None":
        """The scorers of the values of a recipe that are looked at there; None where there are none."""
        names = ("function", "reads", "version", "is_text")
        chosen = [
            NamedScorer(name=name, **{field: getattr(value, field) for field in names})
            for name, value in values.items()
            if value.at == place and value.python is not None
        ]
        return cls(scorers=tuple(chosen)) if chosen else None

    @classmethod
    def load(cls, stored: Mapping[str, object]) -> "ScorersRule":
        """The rule as a record stores it."""
        rows: Sequence[Mapping[str, object]] = stored["scorers"]  # type: ignore[assignment]
        return cls(scorers=tuple(NamedScorer(**dict(row) | {"reads": tuple(row["reads"])}) for row in rows))  # type: ignore[arg-type]

    @property
    def columns(self) -> list[str]:
        """The columns that the scorers read."""
        return sorted({name for scorer in self.scorers for name in scorer.reads})
