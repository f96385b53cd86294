"""The text tower of a run's encoder for adapters that learn prompts: opened when it is first asked for."""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.features import Features
from evenly.adapters.prompts.tower import Place, States, Vectors
from evenly.features.errors import RowsError, UnknownModelError, WeightsUnavailableError
from evenly.features.texts.prompt_tower import EncoderPromptTower
from evenly.storage.artifacts.training_states import TrainingStates
from evenly.tasks.encoders import encoder_identity, open_encoder, refined_by_identity
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class TrainingCost:
    """Steps of trainings, their seconds, those of an epoch, and the peak memory of the process after the last."""

    steps: int = 0
    seconds: float = 0.0
    seconds_per_epoch: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class RunTower:
    """The `PromptTower` of a run's encoder, which another process opens anew.

    Towers of some of its classes share its states and its cost. `of_features`: the identity of the encoder that made
    the features; where the run's is another, of itself and by each refinement of the workspace, the tower is missing.
    """

    run: Run
    names: tuple[str, ...]
    states: States
    of_features: str = ""
    cost: TrainingCost = field(default_factory=TrainingCost, compare=False)

    @property
    def identity(self) -> str:
        """The identity of the encoder, from its record where that holds."""
        return encoder_identity(self._opened_run)

    @contextmanager
    def training(self, steps: int, *, per_epoch: int) -> Iterator[Callable[[int], None]]:
        """A bar, and the cost."""
        started = time.perf_counter()
        with self.run.progress.bar("training prompts: steps", steps) as advance:

            def stepped(done: int) -> None:
                self.cost.steps += done
                advance(done)

            yield stepped
        self.cost.seconds += time.perf_counter() - started
        self.cost.seconds_per_epoch = self.cost.seconds / max(self.cost.steps, 1) * per_epoch
        self.cost.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def rows(self, context: "Tensor", *, place: Place = "end", names: Sequence[str] | None = None) -> "Tensor":
        """Rows of "context, name"."""
        with _missing_tower():
            return self._tower.rows(context, self.names if names is None else names, place=place)

    def vectors(self, text: str) -> Vectors:
        """Word embeddings of a text."""
        return self._tower.vectors(text)

    def nearest_words(self, vectors: Vectors) -> list[tuple[str, float]]:
        """The tokens with the nearest embeddings."""
        return self._tower.nearest_words(vectors)

    def of_classes(self, classes: npt.NDArray[np.integer[Any]]) -> "RunTower":
        """The tower bound to some of its names."""
        return replace(self, names=tuple(self.names[place] for place in classes))

    @cached_property
    def _tower(self) -> EncoderPromptTower:
        with _missing_tower():
            return EncoderPromptTower(open_encoder(self._opened_run))

    @cached_property
    def _opened_run(self) -> Run:
        with _missing_tower():
            run = refined_by_identity(self.run, self.of_features) if self.of_features else self.run
            identity = encoder_identity(run)
        if self.of_features not in {"", identity}:
            raise MissingFeaturesError(
                f"`encoder` must be the one that made the features, {self.of_features[:12]}; `{run.encoder.model}` is "
                f"{identity[:12]} here. Extract the features again, or name the workspace that has the refined "
                "encoder of theirs: --root."
            )
        return run

    def __reduce__(self) -> tuple[Any, ...]:
        quiet = replace(self.run, progress=Progress(quiet=True))
        return RunTower, (quiet, self.names, self.states, self.of_features, self.cost)


@contextmanager
def _missing_tower() -> Iterator[None]:
    """Raise MissingFeaturesError where an encoder has no tower, is not to be had, or cannot read a name."""
    try:
        yield
    except (RowsError, UnknownModelError, WeightsUnavailableError) as error:
        raise MissingFeaturesError(str(error)) from None


def run_tower(run: Run, classes: Sequence[str], *, of_features: str = "") -> RunTower:
    """The text tower of the run's encoder, bound to the names of classes; its states lie in the workspace."""
    return RunTower(run, tuple(classes), TrainingStates(run.workspace.refined / "running" / "prompts"), of_features)


def training_cost(features: Features) -> dict[str, float]:
    """The cost of trainings through the tower of these features so far; nothing where there were none."""
    tower = features.tower
    return asdict(tower.cost) if isinstance(tower, RunTower) and tower.cost.steps else {}


def finish_prompts(features: Features) -> None:
    """Say what trainings on these features cost, whose result is stored, and remove their states."""
    tower = features.tower
    if not isinstance(tower, RunTower) or not isinstance(tower.states, TrainingStates):
        return
    tower.states.remove_touched()
    if (cost := tower.cost).steps:
        tower.run.progress.say(
            f"prompts: {cost.steps:,} steps in {cost.seconds:,.1f} s, {cost.seconds_per_epoch:,.2f} s an epoch; "
            f"peak memory {cost.peak_memory_bytes / 1e6:,.0f} MB"
        )
