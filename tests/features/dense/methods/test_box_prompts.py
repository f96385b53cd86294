from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.box_prompts import BoxPrompts, region_pairs
from evenly.features.dense.naming import region_means
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from evenly.features.refining.heads import ARRAYS

D, NAMES = 12, [f"thing {number}" for number in range(8)]
RANDOM = np.random.default_rng(0)
TEXTS = unit_length(RANDOM.normal(size=(len(NAMES), D)).astype(np.float32))
THINGS = Vocabulary(texts=NAMES, labels=NAMES, rows=TEXTS)
TURN = np.linalg.qr(RANDOM.normal(size=(D, D)))[0].astype(np.float32)
BOXES = [(10.0 * x, 10.0 * y, 10.0 * x + 10, 10.0 * y + 10) for y in range(2) for x in range(2)]


def planted(n: int, seed: int) -> tuple[Dense, Regions]:
    """Pictures of four cells, each a thing whose row is its text's, turned."""
    random = np.random.default_rng(seed)
    things = random.integers(len(NAMES), size=(n, 4))
    cells = TEXTS[things] @ TURN + 0.1 * random.normal(size=(n, 4, D)).astype(np.float32)
    cells = unit_length(cells.reshape(n, 2, 2, D))
    rows = [
        {"picture": picture, "box": box, "label": NAMES[thing]}
        for picture in range(n)
        for box, thing in zip(BOXES, things[picture], strict=True)
    ]
    frames = np.array([[0.0, 0.0, 20.0, 20.0]] * n)
    image = unit_length(cells.mean(axis=(1, 2)))
    return Dense(image=image, cells=cells, sizes=np.full((n, 2), 20), frames=frames), Regions.from_rows(rows)


@pytest.fixture(scope="module")
def fitted() -> BoxPrompts:
    return BoxPrompts(rank=8, epochs=12, batch_size=16).fit(*planted(60, 1), THINGS)


def test_the_order_of_pictures_changes_nothing_that_is_learned(fitted: BoxPrompts) -> None:
    dense, regions = planted(60, 1)
    order = np.random.default_rng(4).permutation(60)
    turned = replace(regions, picture=np.argsort(order)[regions.picture])
    again = BoxPrompts(rank=8, epochs=12, batch_size=16).fit(dense[order], turned, THINGS)
    assert all(np.array_equal(values, again.arrays()[name]) for name, values in fitted.arrays().items())


def test_last_bits_of_rows_as_another_machine_has_them_move_no_picture_to_the_other_part() -> None:
    dense, regions = planted(40, 1)
    named = replace(dense, ids=np.array([f"picture {number}" for number in range(40)]))
    labels = np.zeros(len(regions), np.int64)
    (here, chooses), (elsewhere, again) = (
        region_pairs(rows, regions, labels, THINGS)
        for rows in (named, replace(named, image=np.nextafter(named.image, np.float32(2))))
    )
    assert 0 < chooses.sum() < len(chooses)
    assert np.array_equal(chooses, again)
    assert np.array_equal(here.uids, elsewhere.uids)
    assert np.array_equal(named[np.arange(3, 9)].ids, named.ids[3:9])


def test_regions_that_teach_nothing_are_refused() -> None:
    dense, regions = planted(6, 1)
    with pytest.raises(RowsError, match=r"two labels.*got 1 labels"):
        BoxPrompts().fit(dense, replace(regions, labels=np.full(len(regions), NAMES[0], object)), THINGS)


def right(method: BoxPrompts) -> float:
    dense, regions = planted(30, 2)
    return float((method.score(dense, THINGS, GivenRegions(regions=regions)).labels == regions.labels).mean())


def test_heads_of_both_sides_name_regions_of_other_pictures(fitted: BoxPrompts) -> None:
    assert right(fitted) > right(BoxPrompts()) + 0.2
    assert fitted.needs == {"regions"}
    assert BoxPrompts().needs == {"regions", "training"}


def test_rows_are_those_of_the_heads_by_the_equation(fitted: BoxPrompts) -> None:
    dense, regions = planted(5, 3)
    means = region_means(dense, regions, dense.cells)
    rows, things = fitted.refined(means, THINGS)
    heads = {name: fitted.learned[name].astype(np.float64) for name in ARRAYS}
    strength = fitted.learned["strength"][0]
    for refined, raw, side in ((rows, means, "image"), (things, TEXTS, "text")):
        x = raw.astype(np.float64)
        exact = x + strength * x @ heads[f"{side}_down"] @ heads[f"{side}_up"]
        assert np.allclose(refined, exact / np.linalg.norm(exact, axis=1, keepdims=True), atol=1e-6)


def test_what_was_learned_comes_back_from_its_arrays_and_is_the_same_each_time(fitted: BoxPrompts) -> None:
    again = BoxPrompts(rank=8, epochs=12, batch_size=16).fit(*planted(60, 1), THINGS).arrays()
    other = replace(fitted).with_arrays(fitted.arrays())
    assert all(np.array_equal(values, again[name]) for name, values in fitted.arrays().items())
    assert right(other) == right(fitted)


def test_of_one_phrase_all_regions_learn_or_all_choose_so_it_is_refused() -> None:
    dense, regions = planted(30, 1)
    same = replace(regions, phrases=np.full(len(regions), "a thing", object))
    with pytest.raises(RowsError, match="others to choose by"):
        BoxPrompts(rank=8, epochs=1, batch_size=16).fit(dense, same, THINGS)
