"""Adapters whose class rows a text tower makes from learned context vectors: the form of CoOp and its followers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from evenly.adapters.contract import Adapter, Grid, affine, check_positive
from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_statistics import check_choice
from evenly.adapters.methods.zero_shot import scaled
from evenly.adapters.prompts.tower import Place, PromptTower, Vectors
from evenly.adapters.prompts.training import STAGES, Parameters, arrays_of, rates, trained_stages, training_key
from evenly.adapters.training import endless_batches, row_keys, seeded_normal, torch_threads

if TYPE_CHECKING:
    from torch import Tensor

DRAWN_STD = 0.02
"""Of context vectors that are drawn, as in CoOp."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptProblem:
    """The rows that prompts are trained on, as tensors: `image` (n, d), `labels` (n,); and the record they are of."""

    features: Features
    tower: PromptTower
    image: "Tensor"
    labels: "Tensor"


@dataclass(kw_only=True, eq=False)
class PromptLearner(Adapter):
    """Context vectors beside each class name, trained through a frozen text tower; image rows stay.

    The vectors start as the word embeddings of `initial`, or, where it has no word, as `n_context` normal draws
    (standard deviation .02); `per_class` gives each class its own. SGD with momentum .9 and `weight_decay`, `steps`
    steps of `batch_size` images, at 1e-5 for one epoch, then along a cosine. The training is kept at five stages:
    `stop`, which acts after `fit`, is the share of the steps after which it is stopped; validation chooses it with the
    rate.

    `contexts_` (6, m, w), or (6, c, m, w), and `rows_` (6, c, d), the unit rows of the classes, are those at the start
    and after each stage; `tower_` is the identity of the encoder and `words_` JSON: per stage and vector the nearest
    token and its distance. A saved fit predicts by `rows_`, without the tower. No support rows: zero-shot, said in
    `fallback_`.
    """

    grid: ClassVar[Grid] = Grid(
        parameters={"learning_rate": (0.005, 0.02), "stop": tuple((i + 1) / STAGES for i in range(STAGES))}
    )
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "tower")
    uses_texts: ClassVar[bool] = False
    decided_late: ClassVar[tuple[str, ...]] = ("stop",)

    initial: str = "a photo of a"
    n_context: int = 16
    place: Place = "end"
    per_class: bool = False
    steps: int = 300
    batch_size: int = 32
    learning_rate: float = 0.02
    weight_decay: float = 5e-4
    stop: float = 1.0
    seed: int = 0

    contexts_: Floats = field(init=False, repr=False)
    rows_: Floats = field(init=False, repr=False)
    tower_: str = field(init=False, repr=False)
    words_: str = field(init=False, repr=False)

    def affine_form(self) -> tuple[Floats, Floats]:
        """The scaled class rows, and no bias."""
        return scaled(self.class_rows(), self.logit_scale), np.zeros(len(self.prototypes_))

    def class_rows(self) -> Floats:
        """The rows (c, d) of the classes where the training is stopped."""
        return np.asarray(self.rows_[self._stage])

    def context(self) -> Floats:
        """The vectors (m, w), or (c, m, w), where the training is stopped."""
        return np.asarray(self.contexts_[self._stage])

    def nearest_words(self) -> list[list[tuple[str, float]]]:
        """Of each context, one or one per class, the nearest token of each vector and its distance, at the stop."""
        chosen = json.loads(self.words_)[self._stage]
        return [[(str(word), float(distance)) for word, distance in context] for context in chosen]

    @property
    def _stage(self) -> int:
        """The number of the stage at which the training is stopped."""
        return int(self.stop * STAGES + 1e-9)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("n_context", "steps", "batch_size"):
            check_positive(name, getattr(self, name), integer=True)
        check_positive("learning_rate", self.learning_rate)
        check_positive("weight_decay", self.weight_decay, or_zero=True)
        check_positive("stop", self.stop, or_zero=True)
        check_choice("place", self.place, Place)
        if self.stop > 1:
            raise ParameterError(f"`stop` must lie in 0 to 1; got {self.stop!r}. Choose a value in this range.")
        if self.n_context != PromptLearner.n_context and self.initial.strip():
            raise ParameterError(
                "`n_context` must stand beside an empty `initial`, whose words are the vectors; got "
                f"{self.n_context!r} and {self.initial!r}. Give one of them."
            )

    def _learn(self, features: Features, labels: Integers) -> None:
        problem = problem_of(features, labels)
        self.tower_ = problem.tower.identity
        self._keep(problem, self._stages(problem, self._start(problem)))
        if not len(labels):
            self.rows_ = np.stack([self.prototypes_] * (STAGES + 1))
            self.fallback_ = "zero-shot: no support rows"

    def _stages(self, problem: PromptProblem, start: Parameters, *, share: float = 1.0) -> list[dict[str, Vectors]]:
        """The parameters at the start and after each stage; gradients of the loss are multiplied by `share`.

        Nothing is trained without rows, nor where the share is 0.
        """
        import torch

        labels, tower = problem.labels.numpy(), problem.tower
        if not (len(labels) and share):
            return [arrays_of(start)] * (STAGES + 1)
        size = min(self.batch_size, len(labels))
        endless = endless_batches(row_keys(problem.features.image), batch_size=size, seed=self.seed)
        facts: dict[str, object] = {"share": share, "tower": tower.identity, "names": tower.names}
        facts |= {name: value for name, value in self.get_params().items() if name not in self.decided_late}
        facts |= {f"start.{name}": values.tobytes() for name, values in arrays_of(start).items()}
        epoch = -(-len(labels) // size)
        of_steps = rates(self.steps, highest=self.learning_rate, warmup_steps=min(epoch, self.steps // STAGES))
        with tower.training(self.steps, per_epoch=epoch) as advance:

            def loss(parameters: Parameters, batch: Integers) -> "Tensor":
                advance(1)
                return share * self._loss(problem, parameters, torch.from_numpy(batch))

            return trained_stages(
                start,
                loss,
                list(zip(endless, of_steps, strict=False)),
                weight_decay=self.weight_decay,
                states=tower.states,
                key=training_key(problem.features, labels, method=type(self).__name__, **facts),
            )

    def _keep(self, problem: PromptProblem, stages: list[dict[str, Vectors]]) -> None:
        """Set what is learned from the parameters of each stage."""
        import torch

        parameters = [{name: torch.from_numpy(np.array(values)) for name, values in stage.items()} for stage in stages]
        with torch.no_grad(), torch_threads(1):
            self.rows_ = np.stack([self._class_rows(problem, stage).numpy() for stage in parameters])
        if not np.isfinite(self.rows_).all():
            raise ParameterError(
                f"`learning_rate` must be so low that vectors stay finite; got {self.learning_rate!r}. Lower it."
            )
        self.contexts_ = np.stack([stage["context"] for stage in stages])
        self.words_ = _words(problem.tower, self.contexts_)

    def _start(self, problem: PromptProblem) -> dict[str, "Tensor"]:
        """The parameters at the start, by name: `context`, and those of a method beside it."""
        import torch

        words = problem.tower.vectors(self.initial)
        drawn = seeded_normal((self.n_context, words.shape[1]), seed=self.seed, name="context") * np.float32(DRAWN_STD)
        start = words if len(words) else drawn
        if self.per_class:
            start = np.stack([start] * len(problem.tower.names))
        return {"context": torch.from_numpy(np.array(start, np.float32))}

    def _class_rows(self, problem: PromptProblem, parameters: Parameters) -> "Tensor":
        """Unit rows (c, d) of the classes, which pass gradients on."""
        return self._unit_rows(problem, parameters["context"])

    def _unit_rows(self, problem: PromptProblem, context: "Tensor", *, names: Sequence[str] | None = None) -> "Tensor":
        """Rows of "context, name" at unit length. Raises InvalidFeaturesError where they are no image rows."""
        from torch.nn.functional import normalize

        rows = problem.tower.rows(context, place=self.place, names=names)
        if rows.shape[1] != problem.image.shape[1]:
            raise InvalidFeaturesError(
                f"`tower` must give rows of dimension {problem.image.shape[1]}, as `image` has; got {rows.shape[1]}. "
                "Hand in the tower of the encoder of these images."
            )
        return normalize(rows, dim=-1)

    def _loss(self, problem: PromptProblem, parameters: Parameters, batch: "Tensor") -> "Tensor":
        """The loss of the rows at the places `batch`, by default cross-entropy on the scaled cosines."""
        from torch.nn.functional import cross_entropy

        logits = self.logit_scale * problem.image[batch] @ self._class_rows(problem, parameters).T
        return cross_entropy(logits, problem.labels[batch])

    def _logits(self, features: Features) -> Floats:
        return affine(features.image, scaled(self.class_rows(), self.logit_scale))


def problem_of(features: Features, labels: Integers) -> PromptProblem:
    """The problem of a record that holds a tower, with labels (n,)."""
    import torch

    tower = cast("PromptTower", features.tower)  # `needs` names it
    image = torch.tensor(features.image)
    return PromptProblem(features=features, tower=tower, image=image, labels=torch.from_numpy(labels))


def _words(tower: PromptTower, contexts: Floats) -> str:
    """JSON: per stage and context the nearest token of each vector and its distance."""
    shaped = contexts[:, None] if contexts.ndim == 3 else contexts
    words = iter(tower.nearest_words(shaped.reshape(-1, shaped.shape[-1])))
    return json.dumps([[[next(words) for _ in context] for context in stage] for stage in shaped])
