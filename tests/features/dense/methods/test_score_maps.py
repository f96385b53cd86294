from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.maps import LOW_SCORE, SMALL
from evenly.features.dense.method import UNLABELLED, GivenRegions, Vocabulary, cell_labels
from evenly.features.dense.methods.score_maps import GAMMAS, ScoreMaps
from evenly.features.dense.regions import Regions, decoded_mask, encoded_mask
from evenly.features.dense.rows import Dense, unit_length

NAMES = ["cup", "dog", "tree"]


def things(rows: np.ndarray) -> Vocabulary:
    return Vocabulary(texts=NAMES, labels=NAMES, rows=rows)


def planted(layout: list[str], rows: np.ndarray, noise: float = 0.0) -> Dense:
    """A picture of 10 pixels a cell, whose cells show the things of a layout of letters (c, d, t)."""
    places = np.array([["cdt".index(letter) for letter in line] for line in layout])
    drawn = np.random.default_rng(0).normal(size=(*places.shape, rows.shape[1]))
    cells = unit_length((rows[places] + noise * drawn).astype(np.float32))[None]
    height, width = places.shape
    return Dense(
        image=unit_length(cells.mean(axis=(1, 2))),
        cells=cells,
        sizes=np.array([[10 * width, 10 * height]]),
        frames=np.array([[0.0, 0.0, 10 * width, 10 * height]]),
    )


ROWS = unit_length(np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32))


def test_planted_things_are_cut_out_with_their_names_boxes_and_masks() -> None:
    dense = planted(["ttttttt", "tccttdt", "tccttdt", "ttttttt"], ROWS)
    regions = ScoreMaps().score(dense, things(ROWS), GivenRegions())
    boxes = {str(label): box.tolist() for label, box in zip(regions.labels, regions.boxes, strict=True)}
    assert set(regions.reasons) == {""}
    assert boxes["tree"] == [0, 0, 70, 40]
    assert boxes["cup"] == pytest.approx([10, 10, 30, 30], abs=1)
    assert boxes["dog"] == pytest.approx([50, 10, 60, 30], abs=1)
    (cup,) = np.flatnonzero(regions.labels == "cup")
    assert decoded_mask(regions.masks[cup], (70, 40))[15:25, 15:25].all()


def test_two_parts_of_a_thing_that_do_not_touch_are_two_regions() -> None:
    regions = ScoreMaps().score(planted(["cttc", "cttc"], ROWS), things(ROWS), GivenRegions())
    assert sorted(regions.labels) == ["cup", "cup", "tree"]


def test_weak_and_small_regions_stay_with_their_reason() -> None:
    dense = planted(["tttttt", "tccttt", "tccttt", "tttttt"], ROWS)
    assert set(ScoreMaps(min_score=1).score(dense, things(ROWS), GivenRegions()).reasons) == {LOW_SCORE}
    small = ScoreMaps(min_area=0.5).score(dense, things(ROWS), GivenRegions())
    assert dict(zip(small.labels, small.reasons, strict=True)) == {"cup": SMALL, "tree": ""}


def test_texts_lean_towards_the_picture_by_the_equation() -> None:
    dense = planted(["ct", "td"], ROWS, noise=0.3)
    method = ScoreMaps(gamma=0.4)
    seen = np.concatenate([dense.image, dense.cells.reshape(-1, 16)]).astype(np.float64)
    for place, text in enumerate(ROWS.astype(np.float64)):
        weights = np.exp(seen @ text / 0.07)
        leaning = text + 0.4 * (weights / weights.sum()) @ seen
        leaning /= np.linalg.norm(leaning)
        assert np.allclose(method.leaning(dense, ROWS)[0, place], leaning, atol=1e-6)
        assert np.allclose(method.cosines(dense, ROWS)[0, place], dense.cells[0] @ leaning, atol=1e-5)


def test_gamma_is_the_one_by_which_known_cells_have_their_label() -> None:
    dense = planted(["cctt", "cctt", "dddd"], ROWS, noise=0.2)
    known = Regions.from_rows(
        [
            {"box": (0, 0, 20, 20), "label": "cup"},
            {"box": (20, 0, 40, 20), "label": "tree"},
            {"box": (0, 20, 40, 30), "label": "dog"},
        ]
    )
    turned = unit_length(ROWS + 0.9 * np.random.default_rng(3).normal(size=ROWS.shape).astype(np.float32))
    labels = cell_labels(dense, known, NAMES)
    winners = [replace(ScoreMaps(), gamma=gamma).cosines(dense, turned).argmax(axis=1) for gamma in GAMMAS]
    shares = [np.mean([(labels == winner)[labels == thing].mean() for thing in range(3)]) for winner in winners]
    fitted = ScoreMaps().fit(dense, known, things(turned))
    assert fitted.gamma == GAMMAS[int(np.argmax(shares))]
    assert ScoreMaps().with_arrays(fitted.arrays()) == fitted


def test_cells_have_the_label_that_covers_half_of_them_by_mask_before_box() -> None:
    dense = planted(["cct", "cct"], ROWS)
    mask = np.zeros((20, 30), bool)
    mask[:, 20:] = True
    known = Regions.from_rows(
        [
            {"box": (0, 0, 16, 20), "label": "cup"},
            {"box": (0, 0, 30, 20), "mask": encoded_mask(mask), "label": "tree"},
            {"box": (0, 0, 30, 20), "label": "dog", "reason": "outside"},
            {"box": (0, 0, 30, 20), "label": "not asked for"},
        ]
    )
    assert cell_labels(dense, known, NAMES).tolist() == [[[0, 0, 2], [0, 0, 2]]]
    assert set(cell_labels(dense, known, ["dog"]).ravel()) == {UNLABELLED}
