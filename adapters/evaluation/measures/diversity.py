"""Diversity of images given their texts: the Schur complement entropy of Dissecting CLIP (arXiv:2412.18645).

Random Fourier features of a Gaussian kernel, the same frequencies for both modalities; with x = texts and y = images,
C_yy = S + T, where T = C_yx (C_xx + ridge I)^-1 C_xy is what the texts explain and S is the rest. Differs from the
public code in float64 instead of float32, a ridge of 1e-6 instead of 1e-12, and frequencies that are hashed, not drawn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.features import Floats, Integers
from evenly.adapters.training import seeded_normal

SIGMA = 3.5
FREQUENCIES = 2500
RIDGE = 1e-6
SMALLEST = 1e-10  # eigenvalues are clamped here, as published
_CHUNK = 1024  # rows, or frequencies, made at a time


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """`given_texts`: diversity of the images beyond their texts; `by_texts`: the part that the texts explain.

    Each is exp(-sum of l log(l / sum l)) over the eigenvalues l of its part, at least 1. The weights l are not
    normalised, so neither is a number of modes. `unexplained` is the trace of S, in 0 to 1: that of C_yy is 1.
    """

    given_texts: float
    by_texts: float
    unexplained: float
    n: int


def schur_complement_entropy(
    images: Floats,
    texts: Floats,
    *,
    sigma: float = SIGMA,
    frequencies: int = FREQUENCIES,
    ridge: float = RIDGE,
    seed: int = 0,
) -> Diversity:
    """Diversity of images (n, d) given the texts (n, d) of the same pairs, all by one encoder.

    `sigma` is the width of the kernel in the unit of the rows. The published 3.5 makes a nearly flat kernel on unit
    rows (at least exp(-4 / 24.5) = 0.85), with scores near 1: hand in rows of their own length, or a smaller sigma, and
    compare only scores of one sigma. `frequencies` give twice as many features D. Time grows with n D^2 + D^3 and
    memory with 3 D^2, or with n^2 D + n^3 and 3 n^2 where n is below D; both ways give the same numbers.
    """
    _check(images, texts, sigma=sigma, frequencies=frequencies, ridge=ridge)
    omegas = seeded_normal((frequencies, images.shape[1]), seed=seed, name="schur complement entropy") / sigma
    wide = omegas.astype(np.float64)
    if len(images) < 2 * frequencies:
        residual, explained = _spectra_by_rows(images, texts, wide, ridge)
    else:
        residual, explained = _spectra_by_features(images, texts, wide, ridge)
    return Diversity(
        given_texts=_score(residual, size=2 * frequencies),
        by_texts=_score(explained, size=2 * frequencies),
        unexplained=float(np.clip(residual.sum() / (residual.sum() + explained.sum()), 0, 1)),
        n=len(images),
    )


def group_weighted_unexplained(
    images: Floats,
    texts: Floats,
    groups: Integers,
    *,
    sigma: float = SIGMA,
    frequencies: int = FREQUENCIES,
    ridge: float = RIDGE,
    seed: int = 0,
) -> Callable[[Floats], Floats]:
    """`Diversity.unexplained` as a function of weights (r, g) of the groups, numbered `groups` (n,): (r,).

    Rows are read once, however many weights: held are 2 (2 frequencies)^2 numbers for each group.
    """
    _check(images, texts, sigma=sigma, frequencies=frequencies, ridge=ridge)
    omegas = seeded_normal((frequencies, images.shape[1]), seed=seed, name="schur complement entropy") / sigma
    n_groups, size = int(groups.max()) + 1, 2 * frequencies
    of_texts, of_both = np.zeros((n_groups, size, size)), np.zeros((n_groups, size, size))
    counts = np.bincount(groups, minlength=n_groups).astype(np.float64)
    for group in range(n_groups):
        x, y = (_features(rows[groups == group], omegas.astype(np.float64)) for rows in (texts, images))
        of_texts[group], of_both[group] = x.T @ x / frequencies, x.T @ y / frequencies

    def unexplained(weights: Floats) -> Floats:
        totals = weights @ counts
        shares = np.empty(len(weights))
        for number, row in enumerate(weights / totals[:, None]):
            c_xx = np.tensordot(row, of_texts, 1) + ridge * np.eye(size)
            c_xy = np.tensordot(row, of_both, 1)
            shares[number] = 1 - np.sum(c_xy * np.linalg.solve(c_xx, c_xy))  # the trace of C_yy is 1
        return shares.clip(0, 1)

    return unexplained


def _score(eigenvalues: Floats, *, size: int) -> float:
    """exp(-sum of l log(l / sum l)) over `size` eigenvalues: those given, and zeros."""
    padded = np.concatenate([eigenvalues, np.zeros(size - len(eigenvalues))]).clip(SMALLEST)
    return float(np.exp(-(padded * np.log(padded / padded.sum())).sum()))


def _spectra_by_features(images: Floats, texts: Floats, omegas: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Eigenvalues of S and of T from covariances (D, D)."""
    residual, explained = _parts(images, texts, omegas, ridge)
    return np.linalg.eigvalsh(residual), np.linalg.eigvalsh(explained)


def _parts(images: Floats, texts: Floats, omegas: Floats, ridge: float) -> tuple[Floats, Floats]:
    """S and T, each (D, D)."""
    size = 2 * len(omegas)
    c_xx, c_xy, c_yy = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for start in range(0, len(images), _CHUNK):
        x = _features(texts[start : start + _CHUNK], omegas) / np.sqrt(len(omegas))
        y = _features(images[start : start + _CHUNK], omegas) / np.sqrt(len(omegas))
        c_xx += x.T @ x
        c_xy += x.T @ y
        c_yy += y.T @ y
    for total in (c_xx, c_xy, c_yy):
        np.divide(total, len(images), out=total)
    c_xx[np.diag_indices(size)] += ridge
    explained = c_xy.T @ np.linalg.solve(c_xx, c_xy)
    explained = (explained + explained.T) / 2
    return c_yy - explained, explained


def _spectra_by_rows(images: Floats, texts: Floats, omegas: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Non-zero eigenvalues of S and of T from kernels (n, n).

    With X (n, D) the text features, I - X (X^T X + n r I)^-1 X^T = n r (K_x + n r I)^-1, which is diagonal among the
    eigenvectors of the kernel K_x.
    """
    n = len(images)
    k_x, basis = np.linalg.eigh(_kernel(texts, omegas))
    left = n * ridge / (k_x.clip(0) + n * ridge)
    k_y = basis.T @ (_kernel(images, omegas) / n) @ basis
    residual, explained = np.sqrt(left), np.sqrt(1 - left)
    return (
        np.linalg.eigvalsh(residual[:, None] * k_y * residual),
        np.linalg.eigvalsh(explained[:, None] * k_y * explained),
    )


def _kernel(rows: Floats, omegas: Floats) -> Floats:
    """The inner products (n, n) of the features of the rows."""
    kernel = np.zeros((len(rows), len(rows)))
    for block in _blocks(omegas):
        features = _features(rows, block)
        kernel += features @ features.T
    return kernel / len(omegas)


def _blocks(omegas: Floats) -> Iterator[Floats]:
    for start in range(0, len(omegas), _CHUNK):
        yield omegas[start : start + _CHUNK]


def _features(rows: Floats, omegas: Floats) -> Floats:
    """Cosines and sines (n, 2 k) of the rows at k frequencies, not yet divided by the root of their number."""
    angles = rows.astype(np.float64) @ omegas.T
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def _check(images: Floats, texts: Floats, *, sigma: float, frequencies: int, ridge: float) -> None:
    if images.ndim != 2 or images.shape != texts.shape or not len(images):
        raise InvalidFeaturesError(
            f"`texts` must have the shape (n, d) of `images`, n at least 1; got {texts.shape} and {images.shape}. "
            "Hand in both of the same pairs and encoder."
        )
    for name, rows in (("images", images), ("texts", texts)):
        if not np.isfinite(rows).all():
            raise InvalidFeaturesError(f"`{name}` must be finite; got NaN or infinity. Leave these rows out.")
    if sigma <= 0 or frequencies < 1 or ridge <= 0:
        raise ParameterError(
            f"`sigma`, `frequencies` and `ridge` must be above 0; got {sigma}, {frequencies}, {ridge}. "
            f"{SIGMA}, {FREQUENCIES} and {RIDGE} are usual."
        )
