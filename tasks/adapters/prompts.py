"""The text tower of a run's encoder for adapters that learn prompts: opened when it is first asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.prompts.tower import Place, States, Vectors
from evenly.features.texts.prompt_tower import EncoderPromptTower
from evenly.storage.artifacts.training_states import TrainingStates, remove_states
from evenly.tasks.encoders import encoder_identity, open_encoder
from evenly.tasks.run import EncoderChoice, Run

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RunTower:
    """The `PromptTower` of a run's encoder. Another process opens it anew; states lie in the workspace.

    `of_features`: the identity of the encoder that made the features; where the run's is another, what asks the tower
    for anything raises InvalidFeaturesError.
    """

    run: Run
    names: tuple[str, ...]
    of_features: str = ""

    @property
    def identity(self) -> str:
        """The identity of the encoder, from its record where that holds."""
        identity = encoder_identity(self.run)
        if self.of_features not in ("", identity):
            raise InvalidFeaturesError(
                f"`encoder` must be the one that made the features, {self.of_features[:12]}; "
                f"`{self.run.encoder.model}` is {identity[:12]} here. Extract the features again."
            )
        return identity

    @property
    def states(self) -> States:
        """Trainings so far."""
        return TrainingStates(self.run.workspace.refined / "running" / "prompts")

    def rows(self, context: "Tensor", *, place: Place = "end", names: Sequence[str] | None = None) -> "Tensor":
        """Rows of "context, name"."""
        return self._tower.rows(context, place=place, names=names)

    def vectors(self, text: str) -> Vectors:
        """Word embeddings of a text."""
        return self._tower.vectors(text)

    def nearest_words(self, vectors: Vectors, count: int = 1) -> list[list[tuple[str, float]]]:
        """The tokens with the nearest embeddings."""
        return self._tower.nearest_words(vectors, count)

    def of_classes(self, classes: npt.NDArray[np.integer[Any]]) -> "RunTower":
        """The tower bound to some of its names."""
        return replace(self, names=tuple(self.names[place] for place in classes))

    @cached_property
    def _tower(self) -> EncoderPromptTower:
        self.identity  # noqa: B018 - refuses another encoder
        return EncoderPromptTower(encoder=open_encoder(self.run), names=self.names)

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "names": self.names, "of_features": self.of_features}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def run_tower(run: Run, classes: Sequence[str]) -> RunTower:
    """The text tower of the run's encoder, bound to the names of classes."""
    return RunTower(run, tuple(classes))


def remove_prompt_states(run: Run) -> None:
    """Remove the states of trainings that are done."""
    remove_states(run.workspace.refined / "running" / "prompts")


def tower_of_arrays(run: Run, arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> RunTower | None:
    """The text tower of the encoder that a file of features names; None where it names none."""
    if "encoder" not in arrays:
        return None
    model, pretrained, identity = (str(text) for text in arrays["encoder"])
    chosen = replace(run, encoder=EncoderChoice(model=model, pretrained=pretrained or None), encoder_identity=None)
    return RunTower(chosen, tuple(names), identity)
