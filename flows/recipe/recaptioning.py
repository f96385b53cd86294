"""Recaptioning in a recipe: captioners by kind, the choice among their captions, and the encoder that judges it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema, model_validator

from evenly.curation.captions.choice import GIVEN, ChoiceRule
from evenly.flows.recipe.problems import describe_problems, known_name, unknown_field
from evenly.flows.recipe.section import Section
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.captions.offers import NamedCaptioner
from evenly.tasks.captions.recaption import RecaptionRule
from evenly.tasks.run import EncoderChoice

_NAME = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]


def _captioner(value: object) -> NamedCaptioner:
    """A captioner out of `{kind: seen, name: ..., ...}`; without a name it is called by its kind."""
    if isinstance(value, NamedCaptioner):
        return value
    if not isinstance(value, Mapping) or "kind" not in value:
        raise ValueError(f"a captioner must have a kind, one of {', '.join(CAPTIONERS)}; got {value}")
    kind = str(value["kind"])
    known_name("kind of captioner", kind, CAPTIONERS)
    name = TypeAdapter(_NAME).validate_python(value.get("name", kind))
    rule: Any = CAPTIONERS[kind].rule
    fields = {key: entry for key, entry in value.items() if key not in {"kind", "name"}}
    names = sorted(rule.__dataclass_fields__)
    if unknown := sorted(set(fields) - {*names}):
        raise ValueError(" ".join(unknown_field(f"{kind}.{field}", fields[field], names) for field in unknown))
    try:
        return NamedCaptioner(name=name, kind=kind, rule=TypeAdapter(rule).validate_python(fields))
    except ValidationError as error:
        raise ValueError(" ".join(describe_problems(error, rule, subject=kind))) from None


_SCHEMA = WithJsonSchema(
    {
        "type": "object",
        "properties": {"kind": {"enum": [*CAPTIONERS]}, "name": {"type": "string"}},
        "required": ["kind"],
    }
)


class Recaption(Section):
    """Offer captions by `captioners` beside those that a picture has, and choose one by `choose`.

    judge: a second encoder, whose scores of the captions are recorded and choose nothing. read_text: read the text in
    pictures, and flag captions that say it.
    """

    captioners: Annotated[
        tuple[Annotated[NamedCaptioner, BeforeValidator(_captioner), _SCHEMA], ...], Field(min_length=1, max_length=16)
    ]
    choose: ChoiceRule = ChoiceRule()
    judge: EncoderChoice | None = None
    read_text: bool = False

    @model_validator(mode="after")
    def _names(self) -> "Recaption":
        names = [captioner.name for captioner in self.captioners]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"captioners must have different names; got {', '.join(repeated)} twice. Give each a name")
        if reserved := sorted(set(names) & set(GIVEN)):
            raise ValueError(f"captioners must not be called {' or '.join(GIVEN)}; got {', '.join(reserved)}")
        if unknown := sorted(set(self.choose.rates) - set(names)):
            raise ValueError(f"choose.rates must name captioners; got {', '.join(unknown)}, not in {', '.join(names)}")
        return self

    @property
    def rule(self) -> RecaptionRule:
        """The rule of the step."""
        return RecaptionRule(captioners=self.captioners, choose=self.choose, judge=self.judge, read_text=self.read_text)
