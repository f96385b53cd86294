import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.binding import ProbeSet, binding_table
from evenly.adapters.evaluation.measures.bootstrap import bootstrap_accuracy
from evenly.adapters.features import unit_rows

OBJECTS, ATTRIBUTES, D = 4, 5, 64
GENERATOR = np.random.default_rng(0)
THING, COLOUR, BOUND = (
    GENERATOR.normal(size=(OBJECTS, D)),
    GENERATOR.normal(size=(ATTRIBUTES, D)),
    GENERATOR.normal(size=(OBJECTS, ATTRIBUTES, D)),
)
TEXTS = unit_rows((THING[:, None] + COLOUR + BOUND).reshape(-1, D)).reshape(OBJECTS, ATTRIBUTES, D)


def probe(binding: float, *, n: int = 200, one_object: int = 0, **more) -> ProbeSet:
    """Pictures whose features hold the colours as a bag, and the bound pairs as far as `binding` goes."""
    generator = np.random.default_rng(1)
    objects = np.array([generator.choice(OBJECTS, 2, replace=False) for _ in range(n)])
    attributes = np.array([generator.choice(ATTRIBUTES, 2, replace=False) for _ in range(n)])
    objects[:one_object, 1] = attributes[:one_object, 1] = -1
    image = np.zeros((n, D))
    for row in range(n):
        for thing, colour in zip(objects[row], attributes[row], strict=True):
            if thing >= 0:
                image[row] += THING[thing] + COLOUR[colour] + binding * BOUND[thing, colour]
    image = unit_rows(image + 0.3 * generator.normal(size=image.shape))
    return ProbeSet(image=image, texts=TEXTS, objects=objects, attributes=attributes, **more)


def test_a_model_that_binds_finds_the_own_attribute():
    row = binding_table(probe(3.0), seed=0, n=50).iloc[0]
    assert row["own"] > 0.95
    assert row["swap"] < 0.05
    assert row["beats"] > 0.95


def test_a_bag_of_concepts_swaps_half_of_the_time():
    row = binding_table(probe(0.0), seed=0, n=50).iloc[0]
    assert row["own"] == pytest.approx(0.5, abs=0.1)
    assert row["swap"] == pytest.approx(0.5, abs=0.1)
    assert row["beats"] == pytest.approx(0.5, abs=0.1)


def test_numbers_equal_the_loop_over_questions():
    given = probe(0.5, n=60, one_object=15)
    own, swap, pictures = [], [], []
    for row in range(60):
        for place in range(2):
            thing = given.objects[row, place]
            if thing < 0:
                continue
            answer = int(np.argmax([given.image[row] @ given.texts[thing, colour] for colour in range(ATTRIBUTES)]))
            own.append(answer == given.attributes[row, place])
            pictures.append(row)
            other = given.attributes[row, 1 - place]
            if other >= 0:
                swap.append(answer == other)
    table = binding_table(given, seed=0)
    row = table.iloc[0]
    assert (row["questions"], row["pictures"], row["rivals"]) == (105, 60, 90)
    assert tuple(row[["own", "own_low", "own_high"]]) == bootstrap_accuracy(own, groups=pictures, seed=0)
    assert row["swap"] == pytest.approx(np.mean(swap))
    assert table["part"].tolist() == ["all", "one object", "two objects"]
    assert table["questions"].tolist() == [105, 15, 90]
    assert np.isnan(table["swap"][1])


def test_two_objects_of_one_colour_have_no_rival():
    given = probe(0.5, n=10)
    same = given.attributes.copy()
    same[:4, 1] = same[:4, 0]
    row = binding_table(
        ProbeSet(image=given.image, texts=TEXTS, objects=given.objects, attributes=same), seed=0, n=5
    ).iloc[0]
    assert (row["questions"], row["rivals"]) == (20, 12)


def test_strengths_have_a_row_each():
    strength = np.where(np.arange(400).reshape(200, 2) % 3 == 0, "strong", "weak")
    table = binding_table(probe(0.3, one_object=20, strength=strength), seed=0, n=50)
    assert table["part"].tolist() == ["all", "one object", "two objects", "strong", "weak"]
    assert table["questions"][3:].sum() == table["rivals"][0] == 360


def test_intervals_take_a_picture_as_one():
    given = probe(0.3)
    whole = binding_table(given, seed=0).iloc[0]
    grouped = binding_table(given, seed=0, groups=np.arange(200) // 4).iloc[0]
    assert whole["own"] == grouped["own"]
    assert whole["own_low"] != grouped["own_low"]
    assert whole["own_low"] <= whole["own"] <= whole["own_high"]


def test_no_pictures_are_no_error():
    none = np.empty((0, 2), np.int64)
    table = binding_table(
        ProbeSet(image=np.empty((0, D), np.float32), texts=TEXTS, objects=none, attributes=none), seed=0
    )
    assert table["questions"].tolist() == [0, 0, 0]
    assert table["own"].isna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": TEXTS[:, :, :9]}, r"`texts` must have shape \(objects, attributes, 64\)"),
        ({"objects": np.zeros((3, 2), np.int64)}, r"`objects` must have shape \(200, 2\)"),
        ({"objects": np.full((200, 2), OBJECTS)}, "`objects` must lie in 0 to 3"),
        ({"attributes": np.full((200, 2), -1)}, "`attributes` must lie in 0 to 4, or be -1 in the second column"),
        ({"objects": np.tile([0, -1], (200, 1))}, "must lack the second object in the same rows"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = probe(0.5)
    fields = {"image": given.image, "texts": TEXTS, "objects": given.objects, "attributes": given.attributes}
    with pytest.raises(InvalidFeaturesError, match=message):
        ProbeSet(**fields | change)


def test_a_strength_may_not_be_named_like_another_part():
    with pytest.raises(ParameterError, match="`strength` must not use the words"):
        binding_table(probe(0.5, strength=np.full((200, 2), "all")), seed=0)
