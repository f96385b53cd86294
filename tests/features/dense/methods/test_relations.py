"""Orders of two things: read in captions, recombined as ComCLIP does, and held against where the things are."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.relations import Relations, recombined
from evenly.features.dense.orders import OrderParser
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError

WIDTH = 64


def rows_of(texts) -> np.ndarray:
    """The sum of a random row for each word but "a": the order of words is not seen."""
    words = [[word for word in text.lower().split() if word != "a"] for text in texts]
    draws = {word: np.random.default_rng(list(word.encode())).normal(size=WIDTH) for of in words for word in of}
    return unit_length(np.array([sum(draws[word] for word in of) for of in words], np.float32))


THINGS = Vocabulary(
    texts=["cup", "mug", "plate", "wine glass"],
    labels=["cup", "cup", "plate", "glass"],
    rows=rows_of(["cup", "mug", "plate", "wine glass"]),
    encode=rows_of,
)


def picture(**things) -> Dense:
    """A picture of 4 x 4 cells of 10 pixels; things by their name, each with its line and column."""
    cells = unit_length(np.random.default_rng(1).normal(size=(1, 4, 4, WIDTH)).astype(np.float32))
    for name, (line, column) in things.items():
        cells[0, line : line + 2, column : column + 2] = rows_of([name.replace("_", " ")])[0]
    image = unit_length(cells.mean(axis=(1, 2)))
    return Dense(image=image, cells=cells, sizes=np.array([[40, 40]]), frames=np.array([[0.0, 0.0, 40.0, 40.0]]))


def read(caption, **options):
    parser = OrderParser(labels={"cup": "cup", "mug": "cup", "plate": "plate", "wine glass": "glass"}, **options)
    return [
        (*order.phrases, order.relation, order.place, order.swapped.caption) for _, order in parser.orders([caption])
    ]


@pytest.mark.parametrize(
    ("caption", "order"),
    [
        ("a red cup above a plate", ("a red cup", "a plate", "above", (0, -1), "a plate above a red cup")),
        ("Photo: two Mugs standing on the big plate.",
         ("two Mugs", "the big plate", "on", (0, -1), "Photo: the big plate standing on two Mugs.")),
        ("a plate and a cup (blue) to the left of wine glasses (two), outdoors",
         ("a cup (blue)", "wine glasses (two)", "to the left of", (-1, 0),
          "a plate and wine glasses (two) to the left of a cup (blue), outdoors")),
        ("plate beneath cup", ("plate", "cup", "beneath", (0, 1), "cup beneath plate")),
        ("a mug on the right side of (a plate) the plate",
         ("a mug", "the plate", "on the right side of", (1, 0), "the plate on the right side of (a plate) a mug")),
    ],
)  # fmt: skip
def test_an_order_is_read_with_its_words_and_exchanged(caption, order):
    assert read(caption) == [order]


@pytest.mark.parametrize(
    "caption",
    ["", "a cup", "a cup and a plate", "a cup. Above a plate", "a cupboard above a plate", "a cup above a cup",
     "a cup beside a plate", "a table (with a cup above a plate)", "(" * 5000 + "above"],
)  # fmt: skip
def test_what_says_no_order_of_two_things_is_none(caption):
    assert read(caption) == []


def test_further_relations_and_verbs_count_where_they_are_wanted():
    assert read("a cup in a plate", relations=("in",))[0][2:4] == ("in", (0, 0))
    assert read("a cup slowly fills the tall plate", verbs=True) == [
        ("a cup", "the tall plate", "slowly fills", (0, 0), "the tall plate slowly fills a cup")
    ]
    assert read("a cup and a plate", verbs=True) == []
    assert read("a cup falling over a plate", verbs=True)[0][2] == "over"


@pytest.mark.parametrize("turned", [False, True])
def test_rows_are_recombined_as_the_public_code_does(turned):
    draw = np.random.default_rng(3).normal(size=(7, WIDTH))
    image, parts, texts = draw[0], draw[1:4], draw[4:]
    texts = np.abs(texts) * np.sign(parts) * (-1 if turned else 1)
    whole = image.copy()
    scores = [text @ part for part, text in zip(parts, texts, strict=True)]  # comclip.py 75ef16e, inference_one_pair
    for score, part in zip([score / sum(scores) for score in scores], parts, strict=True):
        whole += score * part
    assert (sum(scores) < 0) == turned
    exact = whole / np.linalg.norm(whole)
    assert recombined(image[None], parts[None], texts[None])[0] == pytest.approx(exact, abs=1e-6)
    assert recombined(image[None], parts[None], 0 * texts[None])[0] == pytest.approx(image / np.linalg.norm(image))


def test_by_the_equation_alone_the_order_of_words_is_not_seen_and_by_place_it_is():
    dense = picture(cup=(0, 1), plate=(2, 1))
    right, wrong = (GivenRegions(captions=[text]) for text in ("a cup above a plate", "a plate above a cup"))
    assert Relations(geometry=0).score(dense, THINGS, right).scores.tolist() == [0.5, 0.5]
    regions = Relations(window=0.5).score(dense, THINGS, right)
    assert regions.boxes.tolist() == [[10, 0, 30, 20], [10, 20, 30, 40]]
    assert (regions.labels.tolist(), regions.phrases.tolist()) == (["cup", "plate"], ["a cup", "a plate"])
    assert regions.scores.min() > 0.9
    sharp = Relations(geometry=0.01, sharpness=1000).score(dense, THINGS, right).scores
    assert sharp == pytest.approx(1 / (1 + np.exp(-100 * 0.01 * 2 * 0.5)), abs=1e-4)  # half of the picture apart
    refused = Relations(min_score=0.3).score(dense, THINGS, wrong)
    assert refused.reasons.tolist() == ["relation", "relation"]
    assert refused.scores == pytest.approx(1 - regions.scores, abs=1e-4)


@pytest.mark.parametrize(
    ("caption", "holds"),
    [("a mug left of a plate", False), ("a mug right of a plate", True), ("a plate on the left of a mug", True)],
)
def test_words_of_place_are_held_against_the_picture(caption, holds):
    score = Relations().score(picture(mug=(1, 2), plate=(1, 0)), THINGS, GivenRegions(captions=[caption])).scores[0]
    assert (score > 0.5) == holds


def test_captions_without_an_order_have_no_regions_and_pictures_keep_their_places():
    one = picture(cup=(0, 1), plate=(2, 1))
    dense = Dense(**{name: None if rows is None else np.repeat(rows, 3, axis=0) for name, rows in vars(one).items()})
    regions = Relations().score(dense, THINGS, GivenRegions(captions=["a cup", "a cup on a plate", ""]))
    assert regions.picture.tolist() == [1, 1]
    assert len(Relations().score(dense, THINGS, GivenRegions(captions=["", "", ""]))) == 0
    with pytest.raises(RowsError, match="`captions` must be those of the pictures"):
        Relations().score(dense, THINGS, GivenRegions())


def test_the_weight_of_places_is_learned_of_boxes_with_labels():
    dense = picture(cup=(0, 1), plate=(2, 1))
    boxes = [{"label": "plate", "box": (10, 20, 30, 40)}, {"label": "cup", "box": (10, 0, 30, 20)}]
    fitted = Relations(geometry=0).fit(dense, Regions.from_rows(boxes), THINGS)
    assert fitted.geometry > 0.1
    misled = [box | {"label": name} for box, name in zip(boxes, ("cup", "plate"), strict=True)]
    assert Relations().fit(dense, Regions.from_rows(misled), THINGS).geometry == 0
    assert Relations().fit(dense, Regions.from_rows(boxes[:1]), THINGS) == Relations()
    assert replace(fitted, geometry=9.0).with_arrays(fitted.arrays()) == fitted
