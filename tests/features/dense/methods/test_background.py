"""Cells by hand, and the equations in float64: no public code of BIRDet is known."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.maps import LOW_SCORE
from evenly.features.dense.method import GivenRegions, Vocabulary, covered_shares
from evenly.features.dense.methods.background import PARTIAL_BOX, Background, nearest_mean, without_parts
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import unit_length
from tests.features.dense.methods.test_score_maps import NAMES, ROWS, planted

LAYOUT = ["ttttttt", "tccttdt", "tccttdt", "ttttttt"]
BANK = {"meadow": ROWS[2], "sea": -ROWS[2]}
CUP_AND_DOG = Vocabulary(
    texts=NAMES[:2], labels=NAMES[:2], rows=ROWS[:2], encode=lambda texts: np.stack([BANK[text] for text in texts])
)
KNOWN = Regions.from_rows([{"box": (10, 10, 30, 30), "label": "cup"}, {"box": (50, 10, 60, 30), "label": "dog"}])


def labels(method: Background, noise: float = 0.0) -> list[str]:
    return sorted(method.score(planted(LAYOUT, ROWS, noise), CUP_AND_DOG, GivenRegions()).labels)


def test_cells_that_look_like_the_scene_make_no_region() -> None:
    things, all_of_it = (
        Background(scenes=scenes, top=1).score(planted(LAYOUT, ROWS), CUP_AND_DOG, GivenRegions()).boxes.tolist()
        for scenes in (("meadow", "sea"), ("sea",))
    )
    assert min(things) == pytest.approx([10, 10, 30, 30], abs=1)
    assert sorted(things)[1] == pytest.approx([50, 10, 60, 30], abs=1)
    assert [0, 0] in [box[:2] for box in all_of_it], "the rest of the picture is taken for a thing"


def test_background_is_the_unit_mean_of_the_nearest_scenes_and_shares_the_softmax() -> None:
    dense = planted(LAYOUT, ROWS, noise=0.3)
    bank = unit_length(np.random.default_rng(2).normal(size=(5, 16)).astype(np.float32))
    likest = sorted(range(5), key=lambda place: -float(dense.image[0] @ bank[place]))[:2]
    mean = bank[likest].astype(np.float64).sum(axis=0)
    assert np.allclose(nearest_mean(dense.image, bank, 2), mean / np.linalg.norm(mean), atol=1e-6)
    vocabulary = replace(CUP_AND_DOG, encode=lambda _texts: bank)
    background = mean / np.linalg.norm(mean)
    powers = np.exp(10 * dense.cells[0].astype(np.float64) @ np.stack([background, *ROWS[:2]]).T)
    shares = powers / powers.sum(axis=-1, keepdims=True)
    assert np.allclose(Background(top=2, scale=10).maps(dense, vocabulary)[0], shares.transpose(2, 0, 1), atol=1e-5)


def test_a_learned_row_is_the_minimum_of_the_cross_entropy_over_cells_of_no_region_and_of_regions() -> None:
    dense, method = planted(LAYOUT, ROWS, noise=0.3), Background(scale=10, penalty=0.01)
    fitted = method.fit(dense, KNOWN, CUP_AND_DOG).arrays()
    cells = dense.cells.reshape(-1, 16).astype(np.float64)
    is_background = np.array([letter == "t" for line in LAYOUT for letter in line])

    def loss(row: np.ndarray, bias: float) -> float:
        logits = np.concatenate([(cells @ row + bias)[:, None], 10 * cells @ ROWS[:2].T], axis=1)
        of_background = np.exp(logits[:, 0]) / np.exp(logits).sum(axis=1)
        return -np.log(np.where(is_background, of_background, 1 - of_background)).mean() + 0.01 * row @ row

    row, bias = fitted["row"].astype(np.float64), float(fitted["bias"][0])
    for step in 0.01 * np.random.default_rng(0).normal(size=(20, 17)):
        assert loss(row, bias) < loss(row + step[:16], bias + step[16])
    taught = Background().fit(dense, KNOWN, CUP_AND_DOG)
    assert (taught.maps(dense, CUP_AND_DOG)[0].argmax(axis=0).ravel() == 0).tolist() == is_background.tolist()
    assert Background(scenes=("sea",)).fit(dense, KNOWN, CUP_AND_DOG).arrays().keys() == {"row", "bias"}
    assert labels(replace(method, scale=100).fit(dense, KNOWN, CUP_AND_DOG), noise=0.3) == ["cup", "dog"]


def test_nothing_is_learned_without_regions() -> None:
    nothing, dense = Regions.from_rows([]), planted(LAYOUT, ROWS)
    assert Background().fit(dense, nothing, CUP_AND_DOG).arrays() == {}
    assert np.isnan(covered_shares(dense, nothing)).all()
    assert covered_shares(dense, KNOWN)[0, 1].tolist() == [0, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({}, PARTIAL_BOX),  # .6 of it lies in the better one, though IoU is .06
        ({"box": (90, 0, 100, 11)}, ""),  # half of it
        ({"label": "dog"}, ""),
        ({"picture": 1}, ""),
        ({"score": 0.9}, ""),  # no better one
        ({"reason": LOW_SCORE}, LOW_SCORE),
    ],
)
def test_a_part_of_a_better_box_of_its_label_goes(entry: dict[str, object], reason: str) -> None:
    better = {"box": (0, 0, 95, 100), "label": "cup", "score": 0.9}
    part = {"box": (85, 0, 100, 50), "label": "cup", "score": 0.6} | entry
    assert without_parts(Regions.from_rows([better, part]), 0.5).reasons.tolist() == ["", reason]
    assert without_parts(Regions.from_rows([part, better]), 0.5).reasons.tolist() == [reason, ""]
    assert without_parts(Regions.from_rows([better, part]), 1).reasons.tolist()[1] in {"", LOW_SCORE}
    ignored = better | {"reason": LOW_SCORE}
    assert without_parts(Regions.from_rows([ignored, part]), 0.5).reasons.tolist()[1] in {"", LOW_SCORE}
