"""Equations of public code NoelShin/reco 5c5e1bc, in float64, with the cells of one picture for each maximum."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.method import GivenRegions
from evenly.features.dense.methods.cosegment import Cosegment, prototype_of
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from tests.features.dense.methods.test_score_maps import ROWS, planted, things

NOTHING = Regions.from_rows([])
LOOKS = unit_length(np.random.default_rng(7).normal(size=(3, 16)).astype(np.float32))  # as a second backbone sees them


def pool(layouts: list[list[str]], second: np.ndarray | None = LOOKS) -> Dense:
    """Pictures whose cells look like LOOKS, and read as ROWS with much noise."""
    parts = [planted(layout, ROWS, noise=0.3) for layout in layouts]
    looks = None if second is None else np.concatenate([planted(layout, second, noise=0.1).cells for layout in layouts])
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("image", "cells", "sizes")}
    return Dense(frames=np.concatenate([part.frames for part in parts]), second=looks, **joined)


POOL = pool([["cct", "ctt"], ["tcc", "ttc"], ["ddt", "dtt"], ["tdd", "ttd"]])


@pytest.mark.parametrize("kind", ["mean", "weighted", "winner"])
def test_the_prototype_is_that_of_the_seeds_by_the_equations(kind) -> None:
    random = np.random.default_rng(0)
    rows, weights = random.normal(size=(4, 2, 3, 5)), random.random((4, 2, 3))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    flat = rows.reshape(24, 5)
    adjacency = flat @ flat.T * weights.reshape(24)[None]
    grid = np.stack([adjacency[:, 6 * picture : 6 * picture + 6].max(axis=1) for picture in range(4)], axis=1)
    places = [6 * picture + grid.mean(axis=1)[6 * picture : 6 * picture + 6].argmax() for picture in range(4)]
    seeds = flat[places]
    expected = {
        "mean": seeds.mean(axis=0),
        "weighted": (seeds * np.array([1, 0.75, 0.5, 0.25])[:, None]).sum(axis=0) / 2.5,
        "winner": seeds[(seeds @ seeds.T).sum(axis=1).argmax()],
    }[kind]
    assert np.allclose(prototype_of(rows, weights, kind), expected / np.linalg.norm(expected), rtol=0, atol=1e-9)


def test_maps_are_likenesses_to_prototypes_times_those_to_texts() -> None:
    method = Cosegment(retrieved=2).fit(POOL, NOTHING, things(ROWS))
    prototypes = method.arrays()["prototypes"].astype(np.float64)
    of_prototypes, of_texts = (
        1 / (1 + np.exp(-POOL.second.astype(np.float64) @ prototypes.T)),
        1 / (1 + np.exp(-10 * POOL.cells.astype(np.float64) @ ROWS.T)),
    )
    assert np.allclose(method.maps(POOL, ROWS), np.moveaxis(of_prototypes * of_texts, 3, 1), atol=1e-6)


def test_what_retrieved_pictures_share_finds_a_thing_where_its_text_does_not() -> None:
    method = Cosegment(retrieved=2).fit(POOL, NOTHING, things(ROWS))
    cup, dog, _ = method.arrays()["prototypes"] @ LOOKS.T
    assert (cup.argmax(), dog.argmax()) == (0, 1)
    assert method.needs == {"second"}
    picture = replace(pool([["ccd", "tdd"]]), cells=np.zeros((1, 2, 3, 16), np.float32))  # texts say nothing
    assert method.maps(picture, ROWS)[0, :2].argmax(axis=0)[[0, 0, 0, 1, 1], [0, 1, 2, 1, 2]].tolist() == [
        0,
        0,
        1,
        1,
        1,
    ]
    assert method.score(POOL, things(ROWS), GivenRegions()).sources[0] == "cosegment"


def test_cells_that_look_like_context_are_no_seeds() -> None:
    shared = pool([["ctt", "ttt"], ["ttc", "ttt"]])
    blind = replace(shared, cells=np.zeros_like(shared.cells))  # texts choose no cell
    plain = Cosegment(retrieved=2).fit(blind, NOTHING, things(ROWS)).arrays()["prototypes"] @ LOOKS.T
    without = (
        Cosegment(retrieved=2, context=("tree",)).fit(blind, NOTHING, things(ROWS)).arrays()["prototypes"] @ LOOKS.T
    )
    assert plain[0].argmax() == 2  # most of both pictures is tree
    assert without[0].argmax() == 0
    assert without[2].argmax() == 2


def test_it_needs_pictures_first_and_then_the_same_rows_and_things() -> None:
    assert Cosegment().needs == Cosegment().fit(POOL[:0], NOTHING, things(ROWS)).needs == {"training", "second"}
    alone, own = replace(POOL, second=None), Cosegment(retrieved=2, compare="cells")
    fitted = own.fit(alone, NOTHING, things(ROWS))
    assert (own.needs, fitted.needs) == ({"training"}, frozenset())
    again = Cosegment(compare="cells").with_arrays(fitted.arrays())
    assert np.array_equal(again.maps(alone, ROWS), fitted.maps(POOL, ROWS))
    for method, texts in ((own, ROWS), (fitted, ROWS[:2])):
        with pytest.raises(RowsError, match="Fit the method to pictures with these things"):
            method.maps(POOL, texts)
    with pytest.raises(RowsError, match="`second` must be rows of a second backbone"):
        Cosegment().fit(alone, NOTHING, things(ROWS))
