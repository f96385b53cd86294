"""NoLA's labelling network: a small network on a second backbone, taught by the confident labels of the texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from evenly.adapters.contract import CHUNK_ROWS, Adapter, check_positive
from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_texts import directions, named_classes, text_sums
from evenly.adapters.forms.pseudolabels import log_probabilities
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.adapters.training import Schedule, epoch_batches, minimise, row_keys, seeded_normal

if TYPE_CHECKING:
    from torch import Tensor

PREDICTIONS = 3
"""A class that no image has as its first prediction takes images that have it second, else third."""


@dataclass(kw_only=True, eq=False)
class NoLA(Adapter):
    """Two layers, e to `hidden` to c, on `second` of a row: NoLA's stages 1 and 2 (Imam et al., arXiv:2411.19346).

    No label is used. Stage 1 labels `unlabelled` by text: T_c is the normalised mean of the prototype and the
    `class_texts` of class c, the prototype alone where there are none. Stage 2 takes up to max(`min_per_class`,
    floor(`share` m / c)) images per class (`confident_rows`) and trains the network on their `unlabelled_second`:
    cross-entropy, AdamW, `epochs` times. Stage 3, which tunes the image tower, is no matter of features.

    Differs from the paper: the classes are those of the class list and not those of the true labels of the pool; the
    input is the unit row times sqrt(e), so that its entries are of size 1; the output layer starts at zero, so that the
    order of the classes does not matter; the learning rate falls to 0 along a cosine; `epochs` is 50, as the published
    number is not in the code. An image that two classes want goes to the one that it predicts first.

    Learned: `hidden_weight_` (h, e), `hidden_bias_` (h,), `weight_` (c, h), `bias_` (c,), and what it learned from:
    `pseudo_rows_` (s,) of the pool, `pseudo_labels_` (s,). An empty pool: zero-shot. A class that got no pseudo-label
    keeps its column, learned from the images of the others; both are said in `fallback_`.
    """

    needs: ClassVar[tuple[str, ...]] = ("prototypes", "unlabelled", "unlabelled_second")
    row_needs: ClassVar[tuple[str, ...]] = ("second",)
    learns_from: ClassVar[tuple[str, ...]] = ("unlabelled",)

    hidden: int = 256
    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-3
    share: float = 0.2
    min_per_class: int = 16
    seed: int = 0

    hidden_weight_: Floats = field(init=False, repr=False)
    hidden_bias_: Floats = field(init=False, repr=False)
    weight_: Floats = field(init=False, repr=False)
    bias_: Floats = field(init=False, repr=False)
    pseudo_rows_: Integers = field(init=False, repr=False)
    pseudo_labels_: Integers = field(init=False, repr=False)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("hidden", "epochs", "batch_size", "min_per_class"):
            check_positive(name, getattr(self, name), integer=True)
        check_positive("learning_rate", self.learning_rate)
        check_positive("share", self.share, or_zero=True)

    def _check_fitted_on(self, features: Features) -> None:
        super()._check_fitted_on(features)
        second = cast("Floats", features.second)  # `row_needs` names it
        if second.shape[1] != self.hidden_weight_.shape[1]:
            raise InvalidFeaturesError(
                f"`second` must have dimension {self.hidden_weight_.shape[1]}, as `unlabelled_second` at `fit`; "
                f"got {second.shape[1]}. Extract these images with the second backbone of the fit."
            )

    def _learn(self, features: Features, labels: Integers) -> None:  # noqa: ARG002 - no label is used
        pool, second = cast("Floats", features.unlabelled), cast("Floats", features.unlabelled_second)
        n_classes = len(self.prototypes_)
        k = max(self.min_per_class, int(self.share * len(pool) / n_classes))
        confidence = _pool_confidence(pool, description_classifier(features), self.logit_scale)
        self.pseudo_rows_, self.pseudo_labels_ = confident_rows(confidence, k, keys=row_keys(pool))
        self._train(second[self.pseudo_rows_])
        left_out = np.setdiff1d(np.arange(n_classes), self.pseudo_labels_)
        if not len(pool):
            self.fallback_ = "zero-shot: no unlabelled rows"
        elif left_out.size:
            self.fallback_ = f"no pseudo-label for {left_out.size} of {n_classes} classes: {named_classes(left_out)}"

    def _train(self, rows: Floats) -> None:
        """Set the weights: those after training on the second features (s, e) of the pseudo-labelled rows."""
        import torch
        from torch.nn.functional import cross_entropy

        e = rows.shape[1]
        inputs, targets = torch.from_numpy(_spread(rows)), torch.from_numpy(self.pseudo_labels_)
        hidden_weight = torch.from_numpy(seeded_normal((self.hidden, e), seed=self.seed, name="nola") * (2 / e) ** 0.5)
        n_classes = len(self.prototypes_)
        zeros = [torch.zeros(shape) for shape in ((self.hidden,), (n_classes, self.hidden), (n_classes,))]
        layers = [tensor.requires_grad_() for tensor in (hidden_weight, *zeros)]

        def loss(batch: Integers) -> "Tensor":
            chosen = torch.from_numpy(batch)
            hidden = torch.relu(inputs[chosen] @ layers[0].T + layers[1])
            return cross_entropy(hidden @ layers[2].T + layers[3], targets[chosen])

        batches = epoch_batches(row_keys(rows), batch_size=self.batch_size, epochs=self.epochs, seed=self.seed)
        minimise(layers, loss, list(batches), rule=Schedule(learning_rate=self.learning_rate))
        self.hidden_weight_, self.hidden_bias_, self.weight_, self.bias_ = (
            layer.detach().numpy().copy() for layer in layers
        )

    def _logits(self, features: Features) -> Floats:
        if not self.pseudo_rows_.size:
            return cosine_logits(features.image, self.prototypes_, self.logit_scale)
        second = _spread(cast("Floats", features.second)).astype(np.float64)
        hidden = np.maximum(second @ self.hidden_weight_.T + self.hidden_bias_, 0.0)
        return np.asarray(hidden @ self.weight_.T.astype(np.float64) + self.bias_)


def description_classifier(features: Features) -> Floats:
    """T (c, d), float64 unit rows: the normalised mean of each class's prototype and class texts.

    The prototype counts as one text. Where the texts cancel out, the prototype alone.
    """
    prototypes = features.required_prototypes(adapter="NoLA").astype(np.float64)
    if features.class_texts is None or features.class_text_labels is None:
        return prototypes
    sums, counts = text_sums(features.class_texts, features.class_text_labels, n_owners=len(prototypes))
    return np.where(counts[:, None] > 0, directions(sums + prototypes, counts + 1, otherwise=prototypes), prototypes)


def confident_rows(scores: Floats, k: int, *, keys: Sequence[bytes]) -> tuple[Integers, Integers]:
    """Rows (s,) and their classes (s,), one class per row: up to `k` rows with the best scores (m, c) of each class.

    A class takes rows whose first prediction it is; a class that is nobody's first takes rows whose second it is, and
    if there are none, third, of the rows that are not yet taken by a better-placed prediction. (In the published code
    a row can be wanted by two classes and goes to the one that comes first in the class list.) Equal scores: the row
    with the smaller of `keys`. Sorted by class, then from the best score down.
    """
    check_positive("k", k, integer=True)
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    free, waiting = np.ones(len(scores), dtype=bool), np.ones(scores.shape[1], dtype=bool)
    parts = []
    for predicted in _first_predictions(scores).T:
        value = scores[np.arange(len(scores)), predicted]
        rows = np.flatnonzero(free & waiting[predicted])
        rows = rows[np.lexsort((ranks[rows], -value[rows], predicted[rows]))]
        place = np.arange(len(rows)) - np.searchsorted(predicted[rows], predicted[rows])
        rows = rows[place < k]
        free[rows], waiting[predicted[rows]] = False, False
        parts.append(np.stack([rows, predicted[rows]]))
    rows, labels = np.concatenate(parts, axis=1)
    by_class = np.argsort(labels, kind="stable")
    return rows[by_class], labels[by_class]


def _first_predictions(scores: Floats) -> Integers:
    """The first to third best class of each row (m, 3), or fewer where there are fewer; the first of equal ones."""
    predictions = np.empty((len(scores), min(PREDICTIONS, scores.shape[1])), dtype=np.int64)
    for start in range(0, len(scores), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        predictions[rows] = np.argsort(-scores[rows], axis=1, kind="stable")[:, :PREDICTIONS]
    return predictions


def _pool_confidence(pool: Floats, classifier: Floats, logit_scale: float) -> Floats:
    """Log-probabilities (m, c) of the pool, made in chunks of rows."""
    confidence = np.empty((len(pool), len(classifier)))
    for start in range(0, len(pool), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        confidence[rows] = log_probabilities(cosine_logits(pool[rows], classifier, logit_scale))
    return confidence


def _spread(second: Floats) -> Floats:
    """Unit rows (m, e) times sqrt(e), float32."""
    return np.asarray(second * np.float32(second.shape[1] ** 0.5))
