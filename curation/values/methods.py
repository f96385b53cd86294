"""Methods of evenly that give a pair a value by its features, and the judgement of their step."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from evenly.curation.encoder_name import StepModel
from evenly.curation.step import Judgement, Need, Stored, always, caption_in_force, fixed_fields
from evenly.curation.values.aesthetic import Aesthetic
from evenly.curation.values.density import Density
from evenly.curation.values.negclip_loss import NegCLIPLoss
from evenly.curation.values.normsim import NormSim
from evenly.curation.values.normsim_d import NormSimD
from evenly.curation.values.soft_cap import SoftCap


@dataclass(frozen=True, kw_only=True)
class Methods:
    """A method by its name; at most one of them."""

    negclip_loss: NegCLIPLoss | None = None
    normsim: NormSim | None = None
    normsim_d: NormSimD | None = None
    density: Density | None = None
    aesthetic: Aesthetic | None = None
    soft_cap: SoftCap | None = None

    @property
    def chosen(self) -> dict[str, Any]:
        """The rules of the methods that are named."""
        rules = {name: getattr(self, name) for name in VALUE_METHODS}
        return {name: rule for name, rule in rules.items() if rule is not None}

    @property
    def files(self) -> Iterator[tuple[str, str]]:
        """The files and folders that the method names, by field."""
        for name, rule in self.chosen.items():
            for field in FILES & {entry.name for entry in fields(rule)}:
                yield f"{name}.{field}", getattr(rule, field)


VALUE_METHODS: Mapping[str, type[Any]] = {
    "negclip_loss": NegCLIPLoss,
    "normsim": NormSim,
    "normsim_d": NormSimD,
    "density": Density,
    "aesthetic": Aesthetic,
    "soft_cap": SoftCap,
}
FILES = {"target", "head"}
"""Fields of methods that name a file or folder."""


@dataclass(frozen=True, kw_only=True)
class Method(Methods):
    """A method; `model`: the encoder whose features it reads, None: the build's."""

    model: StepModel | None = None


@dataclass(frozen=True, kw_only=True)
class NamedMethod(Method):
    """A method with the name of its value, which is that of the column that it gives."""

    name: str

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it gives."""
        return (self.name, *([f"{self.name}_weight"] if self.soft_cap else []))

    @property
    def rule(self) -> Any:  # noqa: ANN401 - of the method
        """The rule of the method."""
        (rule,) = self.chosen.values()
        return rule


@dataclass(frozen=True, kw_only=True)
class MethodsRule:
    """The methods that the step measures by."""

    methods: Sequence[NamedMethod]

    @classmethod
    def of(cls, values: Mapping[str, Method]) -> "MethodsRule | None":
        """The methods of the values of a recipe; None where there are none."""
        named = [(name, value) for name, value in values.items() if value.chosen]
        chosen = [NamedMethod(name=name, model=value.model, **value.chosen) for name, value in named]
        return cls(methods=tuple(chosen)) if chosen else None

    @property
    def in_order(self) -> Sequence[NamedMethod]:
        """The methods, those that read the values of others last."""
        return sorted(self.methods, key=lambda method: method.soft_cap is not None)

    @property
    def files(self) -> Sequence[tuple[str, str, str]]:
        """The value, the field and the path of each file that they name."""
        return [(method.name, field, path) for method in self.methods for field, path in method.files]

    @property
    def needs(self) -> dict[str, Collection[Need]]:
        """The needs of the methods."""
        return {f".{method.name}": ["pictures", "features"] for method in self.methods}


def _contrasted(stored: Stored) -> str:
    """The values that are held against those of other pairs."""
    kinds = ("negclip_loss", "normsim_d", "density", "soft_cap")
    names = [method["name"] for method in stored["methods"] if any(method.get(kind) is not None for kind in kinds)]
    return f"the pairs beside which {', '.join(names)} is measured" if names else ""


SCORE_FEATURES = Judgement(
    name="score_features",
    section="values",
    rule=MethodsRule,
    question="Which values do methods give its features?",
    label="observed",
    observed="measured once of stored features; a replay takes the stored value",
    needs=lambda rule: rule.needs,
    measures=always,
    measured_of=caption_in_force,
    fixed=fixed_fields(""),
    fitted=_contrasted,
    seeded=True,
)
