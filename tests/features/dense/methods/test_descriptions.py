from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.descriptions import DescribedParts, windows
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length

RANDOM = np.random.default_rng(0)
TEXTS = ["a dog with a tail", "a cup", "a cup with a handle", "a tree"]
THINGS = Vocabulary(
    texts=TEXTS, labels=["dog", "cup", "cup", "tree"], rows=unit_length(RANDOM.normal(size=(4, 16)).astype(np.float32))
)
NAMES = ["dog", "cup", "tree"]


def pictures(cells: np.ndarray) -> Dense:
    n, height, width, _ = cells.shape
    sides = (10 * width, 10 * height)
    frames = np.array([[0.0, 0.0, *sides]] * n)
    image = unit_length(cells.mean(axis=(1, 2)))
    return Dense(image=image, cells=cells, sizes=np.array([sides] * n), frames=frames)


NOISE = pictures(unit_length(RANDOM.normal(size=(2, 2, 3, 16)).astype(np.float32)))
BOXES = Regions.from_rows([{"box": (0, 0, 10, 20)}, {"box": (10, 0, 30, 10)}])


@pytest.mark.parametrize("over_regions", ["max", "mean"])
def test_scores_join_picture_and_regions_by_the_equation_of_the_public_code(over_regions: str) -> None:
    method = DescribedParts(over_regions=over_regions, weight=0.3)
    scores = method.joined(*method.parts(NOISE, THINGS, BOXES)[:2])
    cells, texts = NOISE.cells[0].astype(np.float64), THINGS.rows.astype(np.float64)
    regions = np.stack([cells[:, 0].mean(axis=0), cells[0, 1:].mean(axis=0)])
    regions /= np.linalg.norm(regions, axis=1, keepdims=True)
    for place, of_thing in enumerate([texts[:1], texts[1:3], texts[3:]]):
        name = of_thing.mean(axis=0) / np.linalg.norm(of_thing.mean(axis=0))
        best = (regions @ of_thing.T).max(axis=1)  # our_eval.py of grain-clip, which takes the mean of these
        exact = 0.7 * NOISE.image[0] @ name + 0.3 * getattr(best, over_regions)()
        assert scores[0, place] == pytest.approx(exact, abs=1e-6)
        assert scores[1, place] == pytest.approx(NOISE.image[1] @ name, abs=1e-6)  # has no regions


def test_a_thing_has_the_window_that_shows_it_and_the_description_that_fits() -> None:
    cells = unit_length(RANDOM.normal(size=(1, 4, 4, 16)).astype(np.float32))
    cells[0, 1:3, 2:4] = THINGS.rows[2]
    method = DescribedParts(window=0.5, weight=1, min_score=0.99)
    regions = method.score(pictures(cells), THINGS, GivenRegions())
    assert regions.rows() == [
        {
            "picture": 0, "box": [20, 10, 40, 30], "label": "cup", "phrase": "a cup with a handle",
            "source": "descriptions", "score": 1.0,
        }
    ]  # fmt: skip


def test_boxes_of_another_source_are_kept_to_and_those_that_do_not_count_passed_over() -> None:
    method = DescribedParts(within="boxes", weight=1, min_score=-1)
    assert method.needs == {"regions"}
    refused = replace(BOXES, reasons=np.array(["", "outside"], object))
    regions = method.score(NOISE, THINGS, GivenRegions(regions=refused))
    assert {tuple(box) for box in regions.boxes[regions.picture == 0]} == {(0, 0, 10, 20)}
    assert {tuple(box) for box in regions.boxes[regions.picture == 1]} == {(0, 0, 30, 20)}
    assert sorted(regions.labels) == sorted(NAMES * 2)


def test_windows_end_at_the_edges_of_the_picture() -> None:
    dense = replace(NOISE, frames=np.array([[-10.0, 0, 20, 20], [0, 0, 30, 20]]), sizes=np.array([[9, 20], [30, 20]]))
    boxes = windows(dense, 0.4)
    assert boxes.boxes[boxes.picture == 0].tolist() == [[0, 0, 9, 10], [0, 10, 9, 20]]
    assert len(boxes.of_picture(1)) == 6


def test_weight_and_threshold_are_those_that_name_most_things_right() -> None:
    cells = unit_length(RANDOM.normal(size=(12, 4, 4, 16)).astype(np.float32))
    shown = RANDOM.permuted(np.tile(np.arange(3), (12, 1)), axis=1)[:, :2]
    rows = THINGS.rows[[0, 1, 3]]
    for picture, (first, second) in enumerate(shown):
        cells[picture, :2, :2], cells[picture, 2:, 2:] = rows[first], rows[second]
    known = [{"picture": picture, "label": NAMES[thing]} for picture, things in enumerate(shown) for thing in things]
    method = DescribedParts(window=0.5).fit(pictures(cells), Regions.from_rows(known), THINGS)
    regions = method.score(pictures(cells), THINGS, GivenRegions())
    assert method.weight > 0
    assert {*zip(regions.picture, regions.labels, strict=True)} == {
        (picture, NAMES[thing]) for picture, things in enumerate(shown) for thing in things
    }
    assert DescribedParts(window=0.5).with_arrays(method.arrays()) == method
    assert DescribedParts().fit(pictures(cells), Regions.from_rows([]), THINGS) == DescribedParts()
