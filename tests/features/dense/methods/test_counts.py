from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.counts import ThingCounts, bin_loss, count_loss, true_counts
from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError

D, H, W = 16, 5, 7
THINGS = ["fox", "owl"]
RANDOM = np.random.default_rng(0)


def encode(texts):
    """A direction for each text, the same each time."""
    return unit_length(np.stack([np.random.default_rng(list(text.encode())).normal(size=D) for text in texts]))


VOCABULARY = Vocabulary(texts=THINGS, labels=THINGS, rows=encode(THINGS), encode=encode)


def planted(n: int, seed: int) -> tuple[Dense, Regions]:
    """Pictures of 50 x 70 pixels: each cell is a row of nothing, of a fox or of an owl in it."""
    random = np.random.default_rng(seed)
    kinds = random.choice(3, size=(n, H, W), p=[0.9, 0.06, 0.04])
    cells = encode(["nothing", "the fox", "the owl"])[kinds] + 0.05 * random.normal(size=(n, H, W, D))
    rows = [
        {"picture": picture, "box": (10.0 * x + 2, 10.0 * y + 2, 10.0 * x + 9, 10.0 * y + 9), "label": THINGS[kind - 1]}
        for (picture, y, x), kind in np.ndenumerate(kinds)
        if kind
    ]
    dense = Dense(
        image=unit_length(cells.mean(axis=(1, 2))), cells=unit_length(cells),
        sizes=np.full((n, 2), (70, 50)), frames=np.array([[0.0, 0.0, 70.0, 50.0]] * n),
    )  # fmt: skip
    return dense, Regions.from_rows(rows)


SETTINGS = {"bins": (0, 1, 2), "block": 2, "rank": 8, "epochs": 8, "batch_size": 8, "step": 0.01}


@pytest.fixture(scope="module")
def fitted() -> ThingCounts:
    return ThingCounts(**SETTINGS).fit(*planted(60, 1), VOCABULARY)


def test_bins_are_told_by_texts_of_their_counts():
    assert ThingCounts().prompts == [
        "there is no {}", "there is one {}", "there are two {}", "there are three {}",
        "there are between four and six {}", "there are seven or more {}",
    ]  # fmt: skip
    assert ThingCounts().anchors.tolist() == [0, 1, 2, 3, 5, 7]


def test_densities_are_shares_of_bins_times_anchors_by_the_equation(fitted: ThingCounts):
    dense, _ = planted(3, 2)
    learned = {name: values.astype(np.float64) for name, values in fitted.learned.items()}
    blocks = np.zeros((3, 3, 4, D))
    for y, x in np.ndindex(3, 4):
        blocks[:, y, x] = dense.cells[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(axis=(1, 2))
    wide = np.pad(blocks @ learned["cells_down"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    narrow = learned["mixing_bias"] + sum(
        wide[:, y : y + 3, x : x + 4] @ learned["mixing"][:, :, y, x].T for y in range(3) for x in range(3)
    )
    rows = blocks + np.maximum(narrow, 0) @ learned["cells_up"]
    prompts = [prompt.format(name) for name in THINGS for prompt in fitted.prompts]
    texts = encode(prompts).reshape(2, 3, D).astype(np.float64)
    texts = texts + np.maximum(texts @ learned["texts_down"] + learned["texts_bias"], 0) @ learned["texts_up"]
    rows, texts = (values / np.linalg.norm(values, axis=-1, keepdims=True) for values in (rows, texts))
    shares = softmax(np.exp(learned["log_scale"]) * np.einsum("nhwd,cbd->ncbhw", rows, texts), axis=2)
    expected = np.einsum("ncbhw,b->nchw", shares, learned["anchors"])
    densities, shown = fitted.densities(dense, VOCABULARY)
    sums = np.add.reduceat(np.add.reduceat(densities, range(0, H, 2), axis=2), range(0, W, 2), axis=3)
    assert np.allclose(sums, expected, atol=1e-4)
    assert np.allclose(densities[:, :, 0, 0], densities[:, :, 1, 1])
    assert np.allclose(shown, 1 - shares[:, :, 0].prod(axis=(2, 3)), atol=1e-4)


def test_losses_are_those_of_the_paper_but_for_the_transport():
    logits, density = RANDOM.normal(size=(2, 3, 4, 5, 6)), RANDOM.random((2, 3, 5, 6))
    counts = RANDOM.integers(3, size=(2, 3, 5, 6)).astype(float)
    bins = RANDOM.integers(4, size=(2, 3, 5, 6))
    chances = np.take_along_axis(softmax(logits, axis=2), bins[:, :, None], axis=2)
    assert np.allclose(bin_loss(*map(torch.tensor, (logits, bins))), -np.log(chances).sum(axis=(2, 3, 4)))
    total, truth = density.sum(axis=(2, 3)), counts.sum(axis=(2, 3))
    shares, true_shares = density / total[..., None, None], counts / truth[..., None, None]
    exact = abs(total - truth) + 0.01 * truth * abs(shares - true_shares).sum(axis=(2, 3))
    assert np.allclose(count_loss(*map(torch.tensor, (density, counts))), exact)


def test_what_was_learned_counts_things_of_other_pictures(fitted: ThingCounts):
    dense, regions = planted(40, 3)
    truth = true_counts(dense, regions, THINGS).sum(axis=(2, 3))
    wrong = [np.abs(method.densities(dense, VOCABULARY)[0].sum(axis=(2, 3)) - truth).mean()
             for method in (fitted, ThingCounts(**SETTINGS))]  # fmt: skip
    assert wrong[0] < 0.6 * np.abs(truth - truth.mean(axis=0)).mean() < wrong[1]
    again = ThingCounts(**SETTINGS).fit(*planted(60, 1), VOCABULARY).arrays()
    assert all(np.array_equal(values, again[name]) for name, values in fitted.arrays().items())
    assert 2 < fitted.anchors[2] < 3


def test_counts_are_the_sums_of_densities_and_masks_the_cells_that_hold_them(fitted: ThingCounts):
    dense, _ = planted(20, 4)
    regions = fitted.score(dense, VOCABULARY, GivenRegions())
    counts = fitted.densities(dense, VOCABULARY)[0].sum(axis=(2, 3))
    assert len(regions) == (counts >= fitted.min_count).sum() > 10
    for row in range(len(regions)):
        density, mask = np.array(regions.densities[row]), decoded_mask(regions.masks[row], (70, 50))
        assert round(sum(regions.densities[row]), 4) == regions.counts[row]
        assert abs(counts[regions.picture[row], THINGS.index(regions.labels[row])] - regions.counts[row]) < 2e-3
        cells = mask[5::10, 5::10]
        assert mask.sum() == 100 * cells.sum()
        assert density[cells.ravel()].sum() >= 0.8 * density.sum() - 1e-6
        assert density[cells.ravel()].min() >= density[~cells.ravel()].max(initial=0)
        lines, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert regions.boxes[row].tolist() == [columns[0], lines[0], columns[-1] + 1, lines[-1] + 1]


def test_a_picture_has_the_same_bits_in_any_batch(fitted: ThingCounts):
    dense, _ = planted(9, 5)
    whole = fitted.densities(dense, VOCABULARY)[0]
    parts = [fitted.densities(dense[np.array([place])], VOCABULARY)[0] for place in range(9)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_nothing_is_counted_where_the_picture_has_ended_or_the_grid_has(fitted: ThingCounts):
    dense, regions = planted(4, 6)
    padded = replace(dense, frames=np.array([[0.0, -30.0, 70.0, 80.0]] * 4))
    densities, _ = fitted.densities(padded, VOCABULARY)
    assert not densities[:, :, [0, -1]].any()
    assert densities[:, :, 1:-1].all()
    middle = replace(dense, frames=np.array([[10.0, 10.0, 60.0, 40.0]] * 4))
    seen = true_counts(middle, regions, THINGS).sum()
    assert seen == true_counts(dense, regions, THINGS)[:, :, 1:-1, 1:-1].sum() < len(regions)
    masks = fitted.score(middle, VOCABULARY, GivenRegions()).masks
    assert not any(decoded_mask(mask, (70, 50))[:10].any() for mask in masks)


def test_bins_that_do_not_rise_and_regions_of_other_things_are_refused():
    with pytest.raises(RowsError, match=r"rise from 0; got \(0, 2, 2\)"):
        ThingCounts(bins=(0, 2, 2))
    dense, regions = planted(4, 6)
    with pytest.raises(RowsError, match="must have labels among"):
        ThingCounts().fit(dense, replace(regions, labels=np.full(len(regions), "cat", object)), VOCABULARY)
