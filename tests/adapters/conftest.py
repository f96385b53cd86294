"""Real rows to fit on: scikit-learn's 8 x 8 digits as unit pixel rows, with mean pictures in place of texts."""

from dataclasses import dataclass

import numpy as np
import pytest

from adapters.features_record import Features, unit_rows


@dataclass(frozen=True)
class Digits:
    features: Features
    labels: np.ndarray
    groups: np.ndarray
    prototypes: dict[str, np.ndarray]
    classes: tuple[str, ...]

    def part(self, start: int, stop: int) -> tuple[Features, np.ndarray]:
        """Rows with the prototypes of the names, and their labels."""
        rows = slice(start, stop)
        return self.features.with_prototypes(self.prototypes["names"]).rows(rows), self.labels[rows]


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
    )
