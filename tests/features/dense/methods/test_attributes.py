"""Attributes of regions: what is known of them, the loss by its equation, and heads that regions with either teach."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.linalg import polar

from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.attributes import KnownAttributes, RegionAttributes
from evenly.features.dense.naming import region_means
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from evenly.features.refining.heads import ARRAYS
from evenly.features.refining.objective import Batch, Sides
from evenly.features.refining.pairs import PairRows

D = 12
KINDS = {"colour": ("red", "blue", "green"), "state": ("open", "closed")}
NAMES = [f"thing {number}" for number in range(4)]
RANDOM = np.random.default_rng(0)
WORDS = ["red", "blue", "green", "open", "closed", "thing"]
ROWS = unit_length(RANDOM.normal(size=(len(NAMES) + len(WORDS), D)).astype(np.float32))
TURN = polar(np.eye(D) + 0.45 * RANDOM.normal(size=(D, D)))[0].astype(np.float32)
TRAINED = RegionAttributes(attributes=KINDS, rank=12, epochs=20, batch_size=16, scale=20.0)


def encode(texts):
    """The sum of the rows of the words of each text, which is unit."""
    rows = [np.sum([ROWS[len(NAMES) + WORDS.index(word)] for word in text.split()[1:]], axis=0) for text in texts]
    return unit_length(np.array(rows, np.float32))


THINGS = Vocabulary(texts=NAMES, labels=NAMES, rows=ROWS[: len(NAMES)], encode=encode)
BOXES = [(10.0 * x, 10.0 * y, 10.0 * x + 10, 10.0 * y + 10) for y in range(2) for x in range(2)]


def planted(n, seed, *, has_label=lambda _: True, has_colour=lambda _: True):
    """Pictures of four cells, each of a thing and a colour, whose texts' rows are turned."""
    random = np.random.default_rng(seed)
    things, colours = random.integers(len(NAMES), size=(n, 4)), random.integers(3, size=(n, 4))
    cells = (ROWS[things] + ROWS[len(NAMES) + colours]) @ TURN
    cells = unit_length((cells + 0.1 * random.normal(size=(n, 4, D))).astype(np.float32)).reshape(n, 2, 2, D)
    rows = [
        {"picture": picture, "box": box}
        | ({"label": NAMES[things[picture, cell]]} if has_label(picture) else {})
        | ({"attributes": {KINDS["colour"][colours[picture, cell]]: 1.0}} if has_colour(picture) else {})
        for picture in range(n)
        for cell, box in enumerate(BOXES)
    ]
    frames = np.array([[0.0, 0.0, 20.0, 20.0]] * n)
    image = unit_length(cells.mean(axis=(1, 2)))
    return Dense(image=image, cells=cells, sizes=np.full((n, 2), 20), frames=frames), Regions.from_rows(rows)


def shares_right(method):
    """The shares of names and of colours of regions of other pictures that are right."""
    dense, regions = planted(30, 2)
    scored = method.score(dense, THINGS, GivenRegions(regions=regions))
    likeliest = [max(KINDS["colour"], key=named.get) for named in scored.attributes]
    colours = [next(iter(stated)) for stated in regions.attributes]
    return (scored.labels == regions.labels).mean(), np.mean([a == b for a, b in zip(likeliest, colours, strict=True)])


@pytest.fixture(scope="module")
def fitted():
    return TRAINED.fit(*planted(60, 1), THINGS)


def test_what_is_stated_excludes_others_of_its_kind_and_what_is_not_stated_is_unknown():
    stated = [{"red": 1.0}, {"red": 0.0, "open": 1.0}, {"blue": 1.0, "green": 1.0}, {"old": 1.0}]
    regions = Regions.from_rows([{"attributes": attributes} for attributes in stated])
    unknown = np.nan
    truths = RegionAttributes(attributes=KINDS).truths(regions)
    assert np.array_equal(truths[0], [1, 0, 0, unknown, unknown], equal_nan=True)
    assert np.array_equal(truths[1], [0, unknown, unknown, 1, 0], equal_nan=True)
    assert np.array_equal(truths[2], [0, 1, 1, unknown, unknown], equal_nan=True)
    assert np.isnan(truths[3]).all()
    listed = RegionAttributes(attributes=("red", "blue", "open")).truths(regions)
    assert np.array_equal(listed[0], [1, unknown, unknown], equal_nan=True)
    assert np.array_equal(listed[1], [0, unknown, 1], equal_nan=True)


def test_the_loss_is_that_of_the_equation_and_what_is_unknown_is_not_in_it():
    import torch

    random, n = np.random.default_rng(5), 9
    rows = unit_length(random.normal(size=(n, D)).astype(np.float32))
    texts = TRAINED.texts(THINGS).rows
    truths = random.choice([0.0, 1.0, np.nan], size=(n, 5)).astype(np.float32)
    nobody = np.zeros(n, np.bool_)
    names = np.array([str(place) for place in range(n)])
    pairs = PairRows(image=rows, text=rows, uids=names, captions=names, groups=names, labels=names)
    same = lambda sides: sides  # noqa: E731
    negatives = torch.ones(n, n, dtype=torch.bool)
    batch = partial(
        Batch, pairs=pairs, negatives=negatives, progress=0.0, refined=same, texts=lambda rows, _names: rows
    )
    sides = Sides(image=torch.from_numpy(rows), text=torch.from_numpy(rows))
    known = KnownAttributes(replace(TRAINED, gamma=2.0), truths, nobody, texts)
    loss = known.loss(batch(places=np.arange(n), generator=torch.Generator()), sides, sides).item()

    cosines = rows.astype(np.float64) @ texts.astype(np.float64).T
    counts = [max(1, (column == 1).sum()) for column in truths.T]
    effective = np.array([(1 - 0.9) / (1 - 0.9**count) for count in counts])
    weights, total = effective / effective.mean(), 0.0
    for region in range(n):
        for word in range(5):
            p = 1 / (1 + np.exp(-20 * (cosines[region, word] - cosines[region, 5])))
            right = {1.0: p, 0.0: 1 - p}.get(float(truths[region, word]))
            total -= 0.0 if right is None else weights[word] * (1 - right) ** 2 * np.log(right)
    assert loss == pytest.approx(total / (~np.isnan(truths)).any(axis=1).sum(), rel=1e-5)


def test_of_a_kind_one_attribute_at_most_is_likely_and_those_of_a_list_do_not_exclude_each_other():
    logits = np.random.default_rng(3).normal(size=(50, 5)) * 4
    shares = RegionAttributes(attributes=KINDS).probabilities(logits)
    assert ((shares[:, :3] >= 0.5).sum(axis=1) <= 1).all()
    assert np.allclose(shares[:, 3], np.exp(logits[:, 3]) / (1 + np.exp(logits[:, 3:]).sum(axis=1)))
    listed = RegionAttributes(attributes=tuple("abcde")).probabilities(logits)
    assert np.allclose(listed, 1 / (1 + np.exp(-logits)))


def test_heads_name_things_and_attributes_of_other_pictures(fitted):
    plain, learned = shares_right(TRAINED), shares_right(fitted)
    assert learned[0] > plain[0] + 0.2
    assert learned[1] > plain[1] + 0.1
    assert TRAINED.needs == {"regions"}


def test_regions_of_a_class_alone_and_of_attributes_alone_teach_what_they_have():
    even = lambda picture: picture % 2 == 0  # noqa: E731
    halves = TRAINED.fit(*planted(120, 1, has_label=even, has_colour=lambda picture: not even(picture)), THINGS)
    plain, learned = shares_right(TRAINED), shares_right(halves)
    assert learned[0] > plain[0] + 0.2
    assert learned[1] > plain[1] + 0.1
    unnamed = TRAINED.fit(*planted(60, 1, has_label=lambda _: False), THINGS)
    assert shares_right(unnamed)[1] > plain[1] + 0.1


def test_phrases_made_of_attributes_do_not_make_groups(fitted):
    dense, regions = planted(60, 1)
    phrases = [f"{next(iter(named))} {label}" for named, label in zip(regions.attributes, regions.labels, strict=True)]
    again = TRAINED.fit(dense, replace(regions, phrases=np.array(phrases, object)), THINGS)
    assert all(np.array_equal(values, again.arrays()[name]) for name, values in fitted.arrays().items())


def test_scores_are_those_of_the_heads_by_the_equation_and_regions_that_do_not_count_have_none(fitted):
    dense, regions = planted(2, 3)
    regions = replace(regions, reasons=np.array(["small", *[""] * 7], object))
    scored = fitted.score(dense, THINGS, GivenRegions(regions=regions))
    heads = {name: fitted.learned[name].astype(np.float64) for name in ARRAYS}
    strength = fitted.learned["strength"][0]
    unit = []
    for raw, side in ((region_means(dense, regions, dense.cells), "image"), (TRAINED.texts(THINGS).rows, "text")):
        x = raw.astype(np.float64)
        exact = x + strength * x @ heads[f"{side}_down"] @ heads[f"{side}_up"]
        unit.append(exact / np.linalg.norm(exact, axis=1, keepdims=True))
    cosines = unit[0] @ unit[1].T
    shares = fitted.probabilities(20 * (cosines[:, :-1] - cosines[:, -1:]))
    assert np.allclose([[*named.values()] for named in scored.attributes[1:]], shares[1:], atol=2e-4)
    assert [*scored.attributes[1]] == ["red", "blue", "green", "open", "closed"]
    assert scored.attributes[0] == {}


def test_regions_keep_what_they_state_and_get_the_rest(fitted):
    dense, regions = planted(2, 3, has_label=lambda picture: picture == 0, has_colour=lambda picture: picture == 1)
    given, named = GivenRegions(regions=regions), fitted.score(dense, THINGS, GivenRegions(regions=regions))
    kept = replace(fitted, stated="kept").with_arrays(fitted.arrays()).score(dense, THINGS, given)
    assert np.array_equal(kept.labels, np.where(regions.labels == "", named.labels, regions.labels))
    assert np.isnan(kept.scores[:4]).all()
    assert np.array_equal(kept.scores[4:], named.scores[4:])
    assert [*kept.attributes[:4]] == [*named.attributes[:4]]
    for attributes, stated in zip(kept.attributes[4:], regions.attributes[4:], strict=True):
        assert {word: attributes[word] for word in KINDS["colour"]} == dict.fromkeys(KINDS["colour"], 0.0) | stated


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attributes": ()}, "different words"),
        ({"attributes": {"colour": ("red", "red")}}, "different words"),
        ({"template": "a thing"}, "hold {}"),
    ],
)
def test_words_that_are_none_and_a_template_without_a_place_are_refused(options, words):
    with pytest.raises(RowsError, match=words):
        RegionAttributes(**options)


def test_regions_that_state_no_attribute_or_the_same_are_refused():
    with pytest.raises(RowsError, match="others lack"):
        TRAINED.fit(*planted(20, 1, has_colour=lambda _: False), THINGS)
    dense, regions = planted(20, 1)
    with pytest.raises(RowsError, match="others lack"):
        replace(TRAINED, attributes=("red",)).fit(dense, regions, THINGS)
