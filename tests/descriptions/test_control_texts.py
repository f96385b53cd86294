"""Controls for descriptions: same number of texts, same names, other content."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.descriptions.control_texts import DescribedText, random_texts, repeated_names, shuffled_texts

CLASSES = ("bird", "fire truck", "cat")
TEXTS = (
    DescribedText(owner=0, text="bird, which has wings", phrase="wings"),
    DescribedText(owner=0, text="Two birds with red heads.", phrase="Two birds with red heads."),
    DescribedText(owner=1, text="fire truck, which is a red car", phrase="a red car"),
    DescribedText(owner=1, text="A Fire-Truck's ladder is long.", phrase="A Fire-Truck's ladder is long."),
    DescribedText(owner=2, text="cat, which has fur", phrase="fur"),
)
WORDS = ("zinc", "ode", "fjord", "gulp", "ion")


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_texts_move_to_another_class_and_take_its_name(seed):
    dealt = shuffled_texts(TEXTS, CLASSES, seed=seed)
    assert [len(texts) for texts in dealt] == [2, 2, 1]
    assert all(name in text.casefold() for name, texts in zip(CLASSES, dealt, strict=True) for text in texts)
    own = {one.text for one in TEXTS}
    assert not own & {text for texts in dealt for text in texts}
    contents = Counter(text.replace(name, "#") for name, texts in zip(CLASSES, dealt, strict=True) for text in texts)
    assert contents == Counter(
        (
            "#, which has wings",
            "Two #s with red heads.",
            "#, which is a red car",
            "A #'s ladder is long.",
            "#, which has fur",
        )
    )


def test_seeds_differ_and_the_order_of_the_rows_does_not_matter():
    dealt = [shuffled_texts(TEXTS, CLASSES, seed=seed) for seed in range(8)]
    assert len({str(one) for one in dealt}) > 1
    assert shuffled_texts(TEXTS, CLASSES, seed=3) == dealt[3]


def test_a_text_that_two_classes_share_is_sent_to_a_third():
    texts = [
        DescribedText(owner=owner, text=f"{CLASSES[owner]}, which has {phrase}", phrase=phrase)
        for owner, phrase in ((0, "legs"), (1, "legs"), (2, "fur"), (2, "ears"))
    ]
    for seed in range(20):
        dealt = shuffled_texts(texts, CLASSES, seed=seed)
        assert all(text.endswith("legs") for text in dealt[2])
        assert not any(text.endswith("legs") for text in (*dealt[0], *dealt[1]))


def test_where_one_class_holds_most_texts_some_stay():
    texts = [DescribedText(owner=0, text=f"bird {n}", phrase=str(n)) for n in range(3)]
    texts.append(DescribedText(owner=2, text="cat 9", phrase="9"))
    dealt = shuffled_texts(texts, CLASSES, seed=0)
    assert [len(some) for some in dealt] == [3, 0, 1]
    assert "bird 9" in dealt[0]


def test_random_texts_keep_names_joins_and_the_number_of_words():
    made = random_texts(TEXTS, CLASSES, words=WORDS, seed=5)
    assert (
        made == random_texts(TEXTS, CLASSES, words=WORDS, seed=5) != random_texts(TEXTS, CLASSES, words=WORDS, seed=6)
    )
    assert made[0][0].removeprefix("bird, which has ") in WORDS
    for owner, texts in enumerate(made):
        real = [one.text.replace("Fire-Truck", "fire truck") for one in TEXTS if one.owner == owner]
        assert [len(text.split()) for text in texts] == [len(text.split()) for text in real]
        assert all(CLASSES[owner] in text for text in texts)
    assert " birds " in made[0][1]
    assert "fire truck's " in made[1][1]
    assert set(made[1][0].removeprefix("fire truck, which is ").split()) <= set(WORDS)
    inside = DescribedText(owner=0, text="wings make a bird", phrase="wings")
    assert set(random_texts([inside], CLASSES, words=WORDS, seed=0)[0][0].split()) <= {*WORDS, "bird"}
    with pytest.raises(ValueError, match="words"):
        random_texts(TEXTS, CLASSES, words=(), seed=0)


def test_names_are_as_many_as_the_texts():
    assert repeated_names(TEXTS, CLASSES) == [["bird"] * 2, ["fire truck"] * 2, ["cat"]]


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name.strip() == name)


@settings(max_examples=100, deadline=None)
@given(
    names=st.lists(NAMES, min_size=2, max_size=5, unique=True),
    phrases=st.lists(st.tuples(st.integers(0, 4), st.text(max_size=12)), max_size=12),
    seed=st.integers(0, 9),
)
def test_any_names_and_phrases_keep_their_numbers(names, phrases, seed):
    texts = [
        DescribedText(owner=owner % len(names), text=f"{names[owner % len(names)]}, {phrase}", phrase=phrase)
        for owner, phrase in phrases
    ]
    counts = [sum(one.owner == label for one in texts) for label in range(len(names))]
    for made in (
        shuffled_texts(texts, names, seed=seed),
        random_texts(texts, names, words=WORDS, seed=seed),
        repeated_names(texts, names),
    ):
        assert [len(some) for some in made] == counts
