"""Real rows to fit on: scikit-learn's 8 x 8 digits as unit pixel rows, with mean pictures in place of texts.

`complete` rows hold every field of the record, so that any adapter can be fitted on them.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from evenly.adapters.features import Features, LabelledFeatures, unit_rows
from tests.adapters.small_tower import SmallTower


def labelled(features: Features, labels: np.ndarray) -> LabelledFeatures:
    return LabelledFeatures(features=features, labels=labels)


@dataclass(frozen=True)
class Digits:
    features: Features
    labels: np.ndarray
    groups: np.ndarray
    prototypes: dict[str, np.ndarray]
    classes: tuple[str, ...]
    extras: dict[str, np.ndarray]

    def complete(self, start: int, stop: int) -> tuple[Features, np.ndarray]:
        """`part` with every field: views, norms, captions, a second backbone, an unlabelled pool, further texts."""
        rows, labels = self.part(start, stop)
        image = rows.image
        more = {
            "norms": np.linspace(8, 12, len(image), dtype=np.float32),
            "views": np.stack([moved(image, 1), moved(image, 7)]),
            "captions": unit_rows(image + moved(image, 8)),
            "second": coarse(image),
        }
        return replace(rows, **more, **self.extras), labels

    def part(self, start: int, stop: int) -> tuple[Features, np.ndarray]:
        """Rows with the prototypes of the names, and their labels."""
        rows = slice(start, stop)
        return self.features.with_prototypes(self.prototypes["names"]).rows(rows), self.labels[rows]


def moved(rows: np.ndarray, steps: int) -> np.ndarray:
    """Pictures rolled by `steps` pixels; 8 pixels are a line."""
    return np.roll(rows, steps, axis=-1)


def coarse(rows: np.ndarray) -> np.ndarray:
    """What another backbone might see: 4 x 4 means, unit rows (n, 16)."""
    return unit_rows(rows.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16))


def further_fields(image: np.ndarray, first: dict[int, np.ndarray], names: np.ndarray) -> dict[str, np.ndarray]:
    """The fields that are not per row: a pool of 200 unlabelled images, and texts made of the first of each class."""
    pool = image[1500:1700]
    pairs = np.array([(a, b) for a in range(10) for b in range(10) if a != b], dtype=np.int64)
    return {
        "unlabelled": pool,
        "unlabelled_second": coarse(pool),
        "class_texts": np.concatenate([image[first[c]] for c in range(10)]),
        "class_text_labels": np.repeat(np.arange(10, dtype=np.int64), 5),
        "descriptor_texts": unit_rows(moved(image[np.concatenate([first[c][:3] for c in range(10)])], 1)),
        "descriptor_text_labels": np.repeat(np.arange(10, dtype=np.int64), 3),
        "pair_texts": unit_rows(names[pairs[:, 0]] - 0.3 * names[pairs[:, 1]]),
        "pair_text_classes": pairs,
        "context_prototypes": np.stack([names, moved(names, 1), moved(names, 8)]),
        "negation_prototypes": unit_rows(names.mean(axis=0) * 2 - names),
        "rejection_prototypes": unit_rows(np.stack([image.mean(axis=0), np.ones(64)])),
        "tower": SmallTower(tuple("0123456789"), dict(zip("0123456789", names, strict=True))),
    }


@pytest.fixture(scope="session")
def digits() -> Digits:
    from sklearn.datasets import load_digits

    raw = load_digits()
    image, labels = unit_rows(raw.data), raw.target.astype(np.int64)
    first = {c: np.flatnonzero(labels == c)[:5] for c in range(10)}

    def means(rows: slice) -> np.ndarray:
        return unit_rows(np.stack([image[first[c][rows]].mean(axis=0) for c in range(10)]))

    rest = np.setdiff1d(np.arange(len(labels)), np.concatenate(list(first.values())))
    return Digits(
        features=Features(image=image[rest], encoder="pixels"),
        labels=labels[rest],
        groups=np.array([f"pair {i // 2}" for i in range(len(rest))]),
        prototypes={"names": means(slice(1)), "descriptions": means(slice(5)), "synonyms": means(slice(3, 5))},
        classes=tuple(str(c) for c in range(10)),
        extras=further_fields(image, first, means(slice(1))),
    )
