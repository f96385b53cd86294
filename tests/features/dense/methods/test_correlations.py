"""Equations of public code wysoczanska/clip_dinoiser a954aae, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, pad

from evenly.features.dense.method import GivenRegions
from evenly.features.dense.methods.correlations import Correlations, background_loss, correlation_loss
from evenly.features.dense.methods.score_maps import ScoreMaps
from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from tests.features.dense.methods.test_score_maps import ROWS, planted, things

LAYOUT = ["ttttttt", "tccttdt", "tccttdt", "ttttttt"]
KNOWN = Regions.from_rows(
    [{"box": (10, 10, 30, 30), "label": "cup"}, {"box": (50, 10, 60, 30), "label": "somebody's"}]
)  # the tree is background


def noisy(noise: float = 0.9) -> Dense:
    """The planted things, whose cells are hard to read by themselves and easy to tell apart by a second backbone."""
    clear, blurred = planted(LAYOUT, ROWS), planted(LAYOUT, ROWS, noise=noise)
    return replace(blurred, second=clear.cells @ np.linalg.qr(np.random.default_rng(4).normal(size=(16, 16)))[0])


def double(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape)


def test_cells_are_pooled_by_the_equation() -> None:
    cells, second = double(2, 3, 4, 8), double(2, 3, 4, 5)
    second /= np.linalg.norm(second, axis=-1, keepdims=True)
    dense = Dense(
        image=double(2, 8), cells=cells, sizes=np.full((2, 2), 9), frames=np.tile([0.0, 0, 9, 9], (2, 1)), second=second
    )
    pooled = Correlations().pooled(dense)
    corrs = torch.einsum("bijc,bklc->bijkl", *[torch.from_numpy(second)] * 2).flatten(1, 2)
    corrs[corrs < 0.2] = 0.0
    means = torch.einsum("bnij,bijc->bnc", corrs, torch.from_numpy(cells))
    means /= corrs.flatten(-2).sum(dim=-1)[..., None] + 1e-6
    assert np.allclose(pooled, means.reshape(cells.shape).numpy(), rtol=0, atol=1e-9)


def test_taught_correlations_are_cosines_of_a_convolution_with_repeated_edges() -> None:
    cells, weight, bias = double(2, 3, 4, 8), double(6, 8, 3, 3), double(6)
    dense = Dense(image=double(2, 8), cells=cells, sizes=np.full((2, 2), 9), frames=np.tile([0.0, 0, 9, 9], (2, 1)))
    method = Correlations().with_arrays({"objects_weight": weight.transpose(2, 3, 1, 0), "objects_bias": bias})
    given = pad(torch.from_numpy(cells).movedim(3, 1), (1, 1, 1, 1), mode="replicate")
    rows = conv2d(given, torch.from_numpy(weight), torch.from_numpy(bias)).flatten(2)
    rows = rows / rows.norm(dim=1, keepdim=True)
    assert np.allclose(method.correlations(dense), (rows.mT @ rows).numpy(), rtol=0, atol=1e-9)


def test_losses_are_cross_entropies_of_what_is_near_and_of_what_is_covered() -> None:
    def entropy(logits: np.ndarray, truth: np.ndarray) -> float:
        likely = 1 / (1 + np.exp(-logits))
        return -np.mean(np.where(truth, np.log(likely), np.log(1 - likely)))

    objects, near = double(2, 6, 3, 4), double(2, 12, 12) > 0
    rows = objects.reshape(2, 6, 12) / np.linalg.norm(objects.reshape(2, 6, 12), axis=1, keepdims=True)
    expected = entropy(np.maximum(rows.swapaxes(1, 2) @ rows, 0), near)
    loss = correlation_loss(torch.from_numpy(objects), torch.from_numpy(near))
    assert float(loss) == pytest.approx(expected, abs=1e-9)
    logits, covered = double(3, 1, 3, 4), (double(3, 3, 4) > 0).astype(np.float64)
    covered[2] = np.nan  # a picture without regions
    of_known = entropy(logits[:2, 0], covered[:2] == 1)
    assert float(background_loss(torch.from_numpy(logits), torch.from_numpy(covered))) == pytest.approx(
        of_known, abs=1e-9
    )
    assert float(background_loss(torch.from_numpy(logits), torch.full((3, 3, 4), torch.nan))) == 0


def test_pooling_tells_things_apart_that_single_cells_do_not_and_is_taught_to_do_so_alone() -> None:
    dense, names = noisy(), np.array([["cdt".index(letter) for letter in line] for line in LAYOUT])
    single = ScoreMaps().cosines(dense, ROWS)[0].argmax(axis=0)
    assert (single == names).mean() < 0.9
    method = Correlations(gamma=0.6, dimension=8, epochs=40, step=0.02)
    assert method.needs == {"second"}
    assert (method.maps(dense, ROWS)[0].argmax(axis=0) == names).all()
    taught = method.fit(dense, KNOWN, things(ROWS))
    alone = replace(dense, second=None)
    assert taught.needs == frozenset()
    assert (taught.maps(alone, ROWS)[0].argmax(axis=0) == names).all()
    with pytest.raises(RowsError, match="`second` must be rows of a second backbone"):
        method.score(alone, things(ROWS), GivenRegions())


def test_cells_of_no_region_become_background_unless_they_are_surely_a_thing() -> None:
    dense = noisy(0.1)
    taught = Correlations(gamma=0.6, dimension=8, epochs=150, step=0.02, delta=1, scale=10)
    taught = taught.fit(dense, KNOWN, things(ROWS))
    background = taught.background(dense, taught.maps(dense, ROWS))
    assert background is not None
    letters = np.array([list(line) for line in LAYOUT])
    assert background[0][letters == "t"].all()
    assert not background[0][letters == "c"].any()
    assert not in_corner(taught, dense)  # the tree is background by the regions it was taught by
    for sure in (replace(taught, delta=0), replace(taught, scale=500)):
        assert in_corner(sure.with_arrays(taught.arrays()), dense) == ["tree"]


def in_corner(method: Correlations, dense: Dense) -> list[str]:
    regions = method.score(dense, things(ROWS), GivenRegions())
    return [
        str(label)
        for label, mask in zip(regions.labels, regions.masks, strict=True)
        if decoded_mask(mask, (70, 40))[0, 0]
    ]


def test_what_is_taught_repeats_is_kept_in_single_precision_and_knows_no_background_without_regions() -> None:
    dense, method = noisy(), Correlations(dimension=4, epochs=2)
    state = torch.random.get_rng_state()
    taught = [method.fit(dense, KNOWN, things(ROWS)).arrays() for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(values, taught[1][name]) for name, values in taught[0].items())
    assert {values.dtype for values in taught[0].values()} == {np.dtype(np.float32)}
    nothing = method.fit(dense, Regions.from_rows([]), things(ROWS))
    assert set(nothing.arrays()) == {"objects_weight", "objects_bias"}
    assert nothing.background(dense, nothing.maps(dense, ROWS)) is None
