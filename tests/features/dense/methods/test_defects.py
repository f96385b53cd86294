"""Equations of public code xiaozhen228/Bayes-PFL (flows.py, loss.py, VPB.py), derived again in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch.distributions import Normal

from evenly.features.dense.maps import LOW_SCORE
from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.defects import (
    Defects,
    dice_loss,
    flowed,
    focal_loss,
    orthogonal_loss,
    planar,
)
from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError

D, NAMES, E = 16, ["cup", "dog"], 3
RANDOM = np.random.default_rng(0)
PURE = unit_length(RANDOM.normal(size=(2, D)).astype(np.float32))
DAMAGE = unit_length(RANDOM.normal(size=D).astype(np.float32))
METHOD = Defects(dimension=4, epochs=6, step=0.03, steps=2)


def encode(texts: list[str]) -> np.ndarray:
    """Rows of texts, whose states say little and nothing about damage."""
    rows = [PURE[int("dog" in text)] + 0.3 * np.random.default_rng(len(text)).normal(size=D) for text in texts]
    return unit_length(np.array(rows, np.float32))


THINGS = Vocabulary(texts=NAMES, labels=NAMES, rows=PURE, encode=encode)


def double(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=shape))


def planted(n: int, seed: int) -> tuple[Dense, Regions]:
    """Pictures of 4 x 4 cells of 10 pixels, every second of which has a defect in one cell."""
    random = np.random.default_rng(seed)
    cells = np.repeat(PURE[random.integers(2, size=n)], 16, axis=0).reshape(n, 16, D)
    cells = cells + 0.15 * random.normal(size=cells.shape)
    rows = []
    for picture in range(0, n, 2):
        place = int(random.integers(16))
        cells[picture, place] += DAMAGE
        y, x = divmod(place, 4)
        rows.append({"picture": picture, "box": (10 * x, 10 * y, 10 * x + 10, 10 * y + 10), "label": "defect"})
    cells = unit_length(cells.astype(np.float32)).reshape(n, 4, 4, D)
    dense = Dense(
        image=unit_length(cells.mean(axis=(1, 2))),
        cells=cells,
        sizes=np.full((n, 2), 40),
        frames=np.array([[0.0, 0, 40, 40]] * n),
    )
    return dense, Regions.from_rows([*rows, {"picture": 1, "box": (0, 0, 10, 10), "label": "cup"}])


@pytest.fixture(scope="module")
def fitted() -> Defects:
    return METHOD.fit(*planted(120, 1), THINGS)


def test_a_planar_step_and_the_logarithm_of_its_determinant_are_those_of_autograd() -> None:
    z, u, w = double(3, 5)
    b = torch.tensor(0.3, dtype=torch.float64)
    moved, determinant = planar(z, u, w, b)
    assert torch.allclose(moved, z + u * torch.tanh(w @ z + 0.3), rtol=0, atol=1e-12)
    jacobian = torch.autograd.functional.jacobian(lambda point: planar(point, u, w, b)[0], z)
    assert determinant.exp().item() == pytest.approx(abs(torch.linalg.det(jacobian).item()) + 1e-5, abs=1e-12)


def test_samples_go_through_all_steps_and_their_divergence_is_that_of_densities() -> None:
    steps, e = 4, 3
    parameters, noise = double(2, e * (2 + 2 * steps) + steps), double(2, e)
    z, divergence = flowed(parameters, noise, steps)
    for row in range(2):
        mean, log_variance = parameters[row, :e], parameters[row, e : 2 * e]
        u, w = parameters[row, 2 * e : -steps].reshape(2, steps, e)
        start = point = mean + noise[row] * torch.exp(log_variance / 2)
        determinants = torch.zeros(())
        for step in range(steps):
            inner = torch.tanh(w[step] @ point + parameters[row, step - steps])
            determinants = determinants + torch.log(torch.abs(1 + u[step] @ w[step] * (1 - inner**2)) + 1e-5)
            point = point + u[step] * inner
        expected = Normal(mean, torch.exp(log_variance / 2)).log_prob(start).sum() - Normal(0, 1).log_prob(point).sum()
        assert torch.allclose(z[row], point, rtol=0, atol=1e-9)
        assert torch.allclose(divergence[row], expected - determinants, rtol=0, atol=1e-9)


def test_losses_are_those_of_the_public_code() -> None:
    likely, truth = expit(double(2, 5, 6).numpy()), double(2, 5, 6).numpy() > 0.5
    right = np.where(truth, likely, 1 - likely)
    focal = -((1 - right) ** 2) * np.log(right)
    given = torch.from_numpy(likely), torch.from_numpy(truth.astype(np.float64))
    assert focal_loss(*given).item() == pytest.approx(focal[truth].mean() + focal[~truth].mean(), abs=1e-6)
    dice = 1 - (2 * likely[truth].sum() + 1e-5) / (likely.sum() + truth.sum() + 1e-5)
    assert dice_loss(*given).item() == pytest.approx(dice, abs=1e-9)
    texts = unit_length(double(2, 1, 2, 3, 7).numpy())
    cosines = np.einsum("nsabd,nsacd->nsabc", texts, texts)
    cosines[..., np.arange(3), np.arange(3)] = 0
    of_sides = (cosines**2).mean(axis=(3, 4)).sum(axis=2).mean()
    assert orthogonal_loss(torch.from_numpy(texts)).item() == pytest.approx(of_sides, abs=1e-6)


def test_texts_read_the_cells_and_biases_of_three_flows_move_them_by_the_equation(fitted: Defects) -> None:
    dense, _ = planted(2, 3)
    texts, noise = double(2, 2, 3, D).numpy(), torch.from_numpy(fitted.learned["noise"]).double()
    weights = {name: values.astype(np.float64) for name, values in fitted.learned.items()}
    tensors = {name: torch.from_numpy(values) for name, values in weights.items()}
    exact = replace(dense, image=dense.image.astype(np.float64), cells=dense.cells.astype(np.float64))
    logits = fitted.logits(tensors, exact, texts, noise)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=-1, keepdims=True)  # noqa: E731
    turned = lambda rows, side: rows + rows @ weights[f"{side}_in"] @ weights[f"{side}_out"]  # noqa: E731
    for picture, sample in ((0, 0), (1, 4)):
        image = exact.image[picture]
        seen, _ = flowed(torch.from_numpy(image @ weights["conditioned"]), noise[0, sample, 0], 2)
        for side in (0, 1):
            state, _ = flowed(tensors["agnostic"][side], noise[0, sample, 1 + side], 2)
            bias = seen.numpy() @ weights["biases"][2] + state.numpy() @ weights["biases"][side]
            rows = unit(texts[picture, side] + weights["bank"][side] + bias)
            cells = unit(turned(exact.cells[picture].reshape(16, D), "cells"))
            read = unit(rows + softmax(turned(rows, "query") @ cells.T / D**0.5, axis=1) @ cells)
            scales = np.exp(weights["temperatures"])
            of_picture = scales[0] * rows @ unit(turned(image, "image"))
            assert np.allclose(logits.pictures[picture, sample, side], of_picture, rtol=0, atol=1e-9)
            assert np.allclose(logits.cells[picture, sample, side], scales[1] * read @ cells.T, rtol=0, atol=1e-9)


def test_without_fit_the_texts_alone_decide_by_the_likeliest_thing() -> None:
    dense, _ = planted(4, 3)
    cells, pictures = Defects(scale=5).maps(dense, THINGS)
    for place in range(4):
        name = NAMES[int((PURE @ dense.image[place]).argmax())]
        normal, abnormal = (encode([pair[side].format(name) for pair in Defects().states]) for side in (0, 1))
        likely = expit(5 * dense.cells[place] @ (abnormal - normal).T).mean(axis=2)
        assert np.allclose(cells[place], likely, atol=1e-6)
        assert pictures[place] == pytest.approx(expit(5 * (abnormal - normal) @ dense.image[place]).mean(), abs=1e-6)


def ranked(values: np.ndarray, truth: np.ndarray) -> float:
    return float((values[truth][:, None] > values[~truth]).mean())


def test_defects_of_other_pictures_are_ranked_and_outlined_once_some_were_seen(fitted: Defects) -> None:
    dense, regions = planted(60, 2)
    damaged = np.arange(60) % 2 == 0
    cells, _ = fitted.maps(dense, THINGS)
    assert ranked(Defects().maps(dense, THINGS)[0].max(axis=(1, 2)), damaged) < 0.75
    assert ranked(cells.max(axis=(1, 2)), damaged) > 0.9
    found = fitted.score(dense, THINGS, GivenRegions())
    best = np.array([found.scores[found.picture == place].max() for place in range(60)])
    assert (best[damaged] >= 0.5).mean() > 0.7
    assert (best[~damaged] < 0.5).mean() > 0.7
    assert {*found.labels} == {"defect"}
    hits = []
    for place in np.flatnonzero(damaged):
        of_picture = found.of_picture(place)
        mask = decoded_mask(of_picture.masks[of_picture.scores.argmax()], (40, 40))
        x0, y0, x1, y1 = regions.boxes[regions.picture == place][-1].astype(int)
        hits.append(mask[y0:y1, x0:x1].any())
    assert np.mean(hits) > 0.8


def test_each_picture_keeps_a_row_which_says_low_score_below_the_least(fitted: Defects) -> None:
    dense, _ = planted(20, 4)
    found = replace(fitted, min_score=0.5).with_arrays(fitted.arrays()).score(dense, THINGS, GivenRegions())
    assert {*found.picture} == {*range(20)}
    assert {*found.reasons} == {"", LOW_SCORE}
    assert all((found.scores < 0.5) == (found.reasons == LOW_SCORE))


def test_the_picture_has_its_share_in_the_score(fitted: Defects) -> None:
    dense, _ = planted(3, 4)
    _, pictures = fitted.maps(dense, THINGS)
    whole = replace(fitted, weight=1.0).with_arrays(fitted.arrays()).score(dense, THINGS, GivenRegions())
    assert np.allclose(whole.scores, pictures[whole.picture], atol=1e-4)


def test_neither_the_order_of_pictures_nor_their_number_changes_a_bit(fitted: Defects) -> None:
    dense, regions = planted(120, 1)
    order = np.random.default_rng(4).permutation(120)
    moved = replace(regions, picture=np.argsort(order)[regions.picture])
    state = torch.random.get_rng_state()
    again = METHOD.fit(dense[order], moved, THINGS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(values, again.arrays()[name]) for name, values in fitted.arrays().items())
    cells, pictures = fitted.maps(dense, THINGS)
    alone = [again.maps(dense[place : place + 1], THINGS) for place in range(5)]
    assert np.array_equal(cells[:5], np.concatenate([of_one for of_one, _ in alone]))
    assert np.array_equal(pictures[:5], np.concatenate([of_one for _, of_one in alone]))


@pytest.mark.parametrize("kept", [[], range(0, 120, 2)])
def test_pictures_of_one_kind_teach_nothing_and_are_refused(kept: list[int]) -> None:
    dense, regions = planted(120, 1)
    if kept:
        dense, regions = dense[np.array(kept)], replace(regions[np.arange(60)], picture=np.arange(60))
    else:
        regions = regions[np.array([60])]
    with pytest.raises(RowsError, match="`regions` must be `defect` on some pictures and not on others"):
        METHOD.fit(dense, regions, THINGS)
