from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.masked_crops import WEIGHTS, MaskedCrops
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError

NAMES = ["cup", "dog", "tree"]
RANDOM = np.random.default_rng(0)
ROWS = unit_length(RANDOM.normal(size=(3, 16)).astype(np.float32))
THINGS = Vocabulary(texts=NAMES, labels=NAMES, rows=ROWS)
CELLS = unit_length(RANDOM.normal(size=(1, 2, 2, 16)).astype(np.float32))
DENSE = Dense(
    image=unit_length(CELLS.mean(axis=(1, 2))),
    cells=CELLS,
    sizes=np.array([[20, 20]]),
    frames=np.array([[0.0, 0.0, 20.0, 20.0]]),
)
LEFT = (0.0, 0.0, 10.0, 20.0)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def named(boxes: list, crops: np.ndarray, method: MaskedCrops) -> Regions:
    regions = Regions.from_rows([{"box": box} for box in boxes])
    return method.score(DENSE, THINGS, GivenRegions(regions=regions, crops=crops))


def test_crop_and_map_are_joined_by_the_equation_of_the_public_code() -> None:
    crops = unit_length(RANDOM.normal(size=(1, 16)).astype(np.float32))
    things = ROWS.astype(np.float64)
    by_crop = softmax(10 * crops[0].astype(np.float64) @ things.T)
    by_map = softmax(10 * CELLS[0, :, 0].astype(np.float64) @ things.T).mean(axis=0)
    exact = by_map ** (1 - 0.6) * by_crop**0.6  # semantic_inference of ov-seg
    regions = named([LEFT], crops, MaskedCrops(scale=10, weight=0.6))
    assert regions.labels.tolist() == [NAMES[exact.argmax()]]
    assert regions.scores[0] == pytest.approx(exact.max(), abs=1e-4)
    assert np.allclose(MaskedCrops(weight=0.6).ensemble(by_crop[None], by_map[None]), exact, rtol=0, atol=1e-12)


def test_a_region_that_one_half_does_not_see_is_named_by_the_other() -> None:
    crops = np.stack([np.zeros(16, np.float32), ROWS[1], np.zeros(16, np.float32)])
    beyond = (90.0, 90.0, 99.0, 99.0)
    regions = named([LEFT, beyond, beyond], crops, MaskedCrops())
    by_map = softmax(100 * CELLS[0, :, 0].astype(np.float64) @ ROWS.T.astype(np.float64)).mean(axis=0)
    assert regions.labels[:2].tolist() == [NAMES[by_map.argmax()], "dog"]
    assert regions.reasons.tolist() == ["", "", "unseen"]


@pytest.mark.parametrize("sees", ["crop", "map"])
def test_the_weight_is_one_by_which_known_regions_have_their_label(sees: str) -> None:
    labels = [0, 1, 2, 0]
    right, wrong = ROWS[labels], ROWS[[1, 2, 0, 1]]
    crops, cells = (right, wrong) if sees == "crop" else (wrong, right)
    dense = replace(DENSE, cells=cells.reshape(CELLS.shape))
    boxes = [(10 * x, 10 * y, 10 * x + 10, 10 * y + 10) for y in range(2) for x in range(2)]
    known = Regions.from_rows([{"box": box, "label": NAMES[label]} for box, label in zip(boxes, labels, strict=True)])
    method = MaskedCrops(scale=20).fit(dense, known, THINGS, crops=crops)
    assert method.weight > 0.5 if sees == "crop" else method.weight == WEIGHTS[0]
    assert (
        method.score(dense, THINGS, GivenRegions(regions=known, crops=crops)).labels.tolist() == known.labels.tolist()
    )
    assert MaskedCrops(scale=20).with_arrays(method.arrays()) == method


def test_regions_without_rows_of_their_crops_are_refused() -> None:
    with pytest.raises(RowsError, match="each of 1 regions; got None"):
        MaskedCrops().score(DENSE, THINGS, GivenRegions(regions=Regions.from_rows([{}])))
