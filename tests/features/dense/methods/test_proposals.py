"""Cells by hand, and the equations in float64: OpenSD's code is not released."""

import re
from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.maps import SMALL
from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.box_prompts import BoxPrompts
from evenly.features.dense.methods.proposals import DUPLICATE, WEIGHTS, Proposals, without_duplicates
from evenly.features.dense.naming import region_means
from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from tests.features.dense.methods.test_score_maps import NAMES, ROWS, planted, things

LAYOUT = ["ttttttt", "tccttdt", "tccttdt", "ttttttt"]
GIVEN = [{"box": (10, 10, 30, 30), "label": "cup"}, {"box": (50, 10, 60, 30), "label": "dog"}]
TURNED = unit_length(ROWS + 0.5 * np.random.default_rng(3).normal(size=ROWS.shape).astype(np.float32))
"""Texts that lie beside the cells of their things."""


def many(count: int = 12) -> tuple[Dense, Regions]:
    """Noisy pictures of a cup and a dog, with their boxes, each of a phrase of its own."""
    one = planted(LAYOUT, ROWS)
    noise = np.random.default_rng(6).normal(size=(count, *one.cells.shape[1:]))
    cells = unit_length((one.cells + 0.1 * noise).astype(np.float32))
    dense = Dense(
        image=unit_length(cells.mean(axis=(1, 2))),
        cells=cells,
        sizes=np.repeat(one.sizes, count, axis=0),
        frames=np.repeat(one.frames, count, axis=0),
    )
    rows = [entry | {"picture": place, "phrase": f"{place}"} for place in range(count) for entry in GIVEN]
    return dense, Regions.from_rows(rows)


def taught(**options: object) -> Proposals:
    rule = Proposals(epochs=2, rank=4, batch_size=8, **options)  # type: ignore[arg-type]
    return rule.fit(*many(), things(ROWS))


def test_what_looks_like_known_regions_is_proposed_with_box_mask_and_name() -> None:
    regions = taught(levels=(0.1, 0.5)).score(planted(LAYOUT, ROWS), things(ROWS), GivenRegions())
    counting = regions.kept
    counting = counting[counting.scores > 0.7]
    assert sorted(counting.labels) == ["cup", "dog"]
    assert set(regions.reasons) <= {"", SMALL, DUPLICATE}
    boxes = {str(label): box.tolist() for label, box in zip(counting.labels, counting.boxes, strict=True)}
    assert boxes["cup"] == pytest.approx([10, 10, 30, 30], abs=4)
    assert boxes["dog"] == pytest.approx([50, 10, 60, 30], abs=4)
    (cup,) = np.flatnonzero(counting.labels == "cup")
    assert decoded_mask(counting.masks[cup], (70, 40))[15:25, 15:25].all()


def test_both_classifiers_are_fused_by_the_equation_for_seen_names_and_text_alone_names_others() -> None:
    dense, regions = many()
    method = Proposals(scale=8, unseen=0.5, epochs=2, rank=4, batch_size=8).fit(dense, regions, things(TURNED))
    arrays = method.arrays() | {"weight": np.array([0.3])}
    means = region_means(dense, regions, dense.cells)

    def shares(rows: np.ndarray, texts: np.ndarray) -> np.ndarray:
        powers = np.exp(8 * rows.astype(np.float64) @ texts.T.astype(np.float64))
        return powers / powers.sum(axis=1, keepdims=True)

    by_text = shares(unit_length(means), TURNED)
    heads = {name.removeprefix("heads."): rows for name, rows in arrays.items() if name.startswith("heads.")}
    rows, texts = BoxPrompts().with_arrays(heads).refined(means, things(TURNED))
    trained = shares(rows, texts[:2])  # the tree was not seen
    expected = np.column_stack([by_text[:, :2] ** 0.7 * trained**0.3, by_text[:, 2] ** 0.5])
    assert np.allclose(method.with_arrays(arrays).fused(means, things(TURNED)), expected, rtol=0, atol=1e-6)
    by_text_alone = replace(method, weight=0.0).with_arrays(arrays).fused(means, things(TURNED))
    assert np.allclose(by_text_alone[:, :2], by_text[:, :2])
    other = Vocabulary(texts=["tree"], labels=["tree"], rows=TURNED[2:])
    assert np.allclose(method.with_arrays(arrays).fused(means, other), 1)
    assert not method.fused(0 * means, things(TURNED)).any()


def test_the_weight_names_most_regions_of_groups_held_out_and_repeats() -> None:
    dense, regions = many()
    first, second = (Proposals(epochs=2, rank=4, batch_size=8).fit(dense, regions, things(TURNED)) for _ in range(2))
    assert all(np.array_equal(rows, second.arrays()[name]) for name, rows in first.arrays().items())
    assert first.arrays()["weight"][0] in WEIGHTS
    assert first.arrays()["seen"].tobytes().decode().split("\n") == NAMES[:2]


def test_nothing_is_proposed_by_a_method_that_learned_nothing() -> None:
    assert Proposals().needs == {"training"}
    assert taught().needs == frozenset()
    with pytest.raises(RowsError, match=re.escape("`learned` must be what `fit` learned; got nothing")):
        Proposals().score(planted(LAYOUT, ROWS), things(ROWS), GivenRegions())


def test_of_two_boxes_that_overlap_the_one_of_the_lower_score_goes() -> None:
    best = {"box": (0, 0, 10, 10), "score": 0.9}
    boxes = [
        {"box": (0, 0, 10, 6), "score": 0.5},  # an IoU of .6 with the best
        {"box": (0, 0, 10, 5), "score": 0.4},  # of .5 with it, and of .83 with the one that went
        best,
        {"box": (0, 0, 10, 10), "score": 0.3, "picture": 1},
    ]
    assert without_duplicates(Regions.from_rows(boxes), 0.5).reasons.tolist() == [DUPLICATE, "", "", ""]
    small = Regions.from_rows([best | {"reason": SMALL}, boxes[0]])
    assert without_duplicates(small, 0.5).reasons.tolist() == [SMALL, ""]
