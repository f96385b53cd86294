"""The name of an encoder, as recipes, rules of steps and runs have it."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator


@dataclass(frozen=True, kw_only=True)
class EncoderName:
    """An encoder by name: `embedded`, or an open_clip model with its pretrained tag."""

    model: str
    pretrained: str | None = None

    def __str__(self) -> str:
        return self.model if self.pretrained is None else f"{self.model} ({self.pretrained})"


def _named(value: Any) -> Any:  # noqa: ANN401 - any value of a recipe
    return {"model": value} if isinstance(value, str) else value


StepModel = Annotated[EncoderName, BeforeValidator(_named)]
"""The encoder of one step, in a recipe a name or a mapping of model and pretrained."""
