"""What deviations from published code do, where an adapter can be fitted either way: on scikit-learn's digits.

`python -m benchmarks.published_variants` takes half a minute and downloads nothing. Rows are unit pixels of 8 x 8
pictures, a class's text is one picture of it, the second backbone 4 x 4 means, captions the pictures moved by a line:
stand-ins, so that differences between variants say something and accuracies do not. Validation rows choose.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters import ADAPTERS
from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.adapters.features import Features, Integers, LabelledFeatures, unit_rows
from evenly.adapters.search import tune

Variant = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]
SHOTS, SEEDS = (4, 16), (0, 1, 2)
LEARNED = 900
"""Rows that train and validation rows are drawn from; the others are judged."""
VARIANTS: tuple[Variant, ...] = (
    ("precision times n / d", "gda", {}, {"precision_scale": "published"}),
    ("KL over classes", "caps", {}, {"kl_over": "dimensions"}),
    ("fourth moment over its mean instead of 250", "amu", {}, {"moment_scale": "published"}),
    ("learning rate and average searched", "real_linear", {}, {"learning_rate": 1e-4, "wise": 0.5}),
)
"""What deviates, in which adapter, the parameters of ours, and those of the published code."""


def main() -> None:
    """Print the accuracy on test rows either way, and the paired difference with its 95 % interval."""
    features, labels = _digits()
    print(f"{'deviation':44} {'adapter':16} shots   ours  published  ours less published")
    for what, name, ours, published in VARIANTS:
        for shots in SHOTS:
            first, second = (_right(name, given, features, labels, shots) for given in (published, ours))
            rows = np.tile(np.arange(len(first) // len(SEEDS)), len(SEEDS))
            gain = paired_bootstrap(first, second, groups=rows, seed=0)
            interval = f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
            print(f"{what:44} {name:16} {shots:5}  {second.mean():.3f}  {first.mean():9.3f}  {interval}")


def _right(
    name: str, given: Mapping[str, Any], features: Features, labels: Integers, shots: int
) -> npt.NDArray[np.bool_]:
    """Whether each judged row is told right, seed after seed, by the adapter fitted on `shots` rows of each class."""
    judged, right = np.arange(LEARNED, len(labels)), []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(LEARNED)
        train = np.concatenate([order[labels[order] == c][:shots] for c in range(10)])
        validation = np.setdiff1d(order, train)[:200]
        kind = ADAPTERS[name]
        tuned = tune(
            kind,
            train=LabelledFeatures(features=features.rows(train), labels=labels[train]),
            validation=LabelledFeatures(features=features.rows(validation), labels=labels[validation]),
            fixed=given,
            guard=False,
        )
        right.append(tuned.adapter.predict(features.rows(judged)) == labels[judged])
    return np.concatenate(right)


def _digits() -> tuple[Features, Integers]:
    from sklearn.datasets import load_digits

    raw = load_digits()
    image, labels = unit_rows(raw.data), raw.target.astype(np.int64)
    texts = np.array([np.flatnonzero(labels == c)[0] for c in range(10)])
    rest = np.setdiff1d(np.arange(len(labels)), texts)
    rows = image[rest]
    features = Features(
        image=rows,
        prototypes=image[texts],
        second=unit_rows(rows.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)),
        captions=unit_rows(np.roll(rows, 8, axis=1)),
    )
    return features, labels[rest]


if __name__ == "__main__":
    main()
