import numpy as np
import pytest

from evenly.features.dense.maps import LOW_SCORE
from evenly.features.dense.method import GivenRegions
from evenly.features.dense.naming import UNSEEN, Naming, label_places, region_means, share_right, to_name
from evenly.features.dense.regions import Regions, encoded_mask
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError

NAMES = ["cup", "dog"]


def pictures(n: int = 2) -> Dense:
    cells = unit_length(np.random.default_rng(0).normal(size=(n, 2, 3, 8)).astype(np.float32))
    image = unit_length(cells.mean(axis=(1, 2)))
    return Dense(
        image=image, cells=cells, sizes=np.array([[30, 20]] * n), frames=np.array([[0.0, 0.0, 30.0, 20.0]] * n)
    )


def test_means_weigh_cells_by_what_a_region_covers_of_them_by_mask_before_box() -> None:
    dense = pictures()
    mask = np.zeros((20, 30), bool)
    mask[:10, 10:20] = True
    regions = Regions.from_rows(
        [
            {"box": (5, 0, 20, 10)},
            {"picture": 1, "box": (0, 0, 30, 20), "mask": encoded_mask(mask)},
            {"picture": 1, "box": (90, 90, 99, 99)},
        ]
    )
    means = region_means(dense, regions, dense.cells)
    assert np.allclose(means[0], (0.5 * dense.cells[0, 0, 0] + dense.cells[0, 0, 1]) / 1.5, atol=1e-6)
    assert np.allclose(means[1], dense.cells[1, 0, 1], atol=1e-6)
    assert not means[2].any()


def test_regions_get_their_likeliest_name_or_the_reason_why_not() -> None:
    regions = Regions.from_rows(
        [{"picture": 1, "box": (0, 0, 1, 1), "label": "as given"}, {}, {}, {"label": "as given", "reason": "outside"}]
    )
    probabilities = np.array([[0.3, 0.7], [0.45, 0.4], [0, 0], [1, 0]])
    named = Naming(min_score=0.5).named(regions, probabilities, NAMES, source="masked_crops")
    assert named.labels.tolist() == ["dog", "cup", "cup", "as given"]
    assert named.reasons.tolist() == ["", LOW_SCORE, UNSEEN, "outside"]
    assert named.scores[:3].tolist() == [0.7, 0.45, 0]
    assert named.sources.tolist() == [*["masked_crops"] * 3, ""]
    assert named.picture[0] == 1


def test_probabilities_are_a_softmax_of_scaled_cosines_and_zero_for_a_row_of_zeros() -> None:
    rows = unit_length(np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32))
    rows[1] = 0
    things = unit_length(np.random.default_rng(2).normal(size=(3, 8)).astype(np.float32))
    exact = np.exp(100 * rows[0].astype(np.float64) @ things.T.astype(np.float64))
    probabilities = Naming().probabilities_of(rows, things)
    assert np.allclose(probabilities[0], exact / exact.sum(), rtol=1e-9)
    assert not probabilities[1].any()


def test_labels_count_alike_and_others_not_at_all() -> None:
    regions = Regions.from_rows([{"label": label} for label in ["cup", "cup", "cup", "dog", "tree"]])
    labels = label_places(regions, NAMES)
    assert share_right(np.array([0, 0, 0, 0, 0]), labels) == 0.5
    assert share_right(labels, label_places(regions, ["bird"])) == 0


def test_regions_to_name_must_be_there() -> None:
    with pytest.raises(RowsError, match="`regions` must be"):
        to_name(GivenRegions())
