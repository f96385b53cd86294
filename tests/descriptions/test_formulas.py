"""The oracle of descriptions: how texts are made of phrases, filtered and pooled, against the public code."""

import numpy as np
import pytest

from evenly.descriptions.control_texts import DescribedText, random_texts, shuffled_texts
from evenly.descriptions.methods.description import join
from evenly.descriptions.methods.synonyms import consistent_synonyms
from evenly.descriptions.selection import description_pool

RNG = np.random.default_rng(3)
PHRASES = ("a long neck", "an orange beak", "used for eating", "has wings", "often in pairs", "typically grey")
PHRASES += ("may have spots", "can fly", "four legs", "two wheels", "red feathers")


def descriptor_sentence(name, descriptor):
    # sachit-menon/classify_by_description_release descriptor_strings.py make_descriptor_sentence, d1a3d89
    if descriptor.startswith(("a", "an", "used")):
        return f"{name}, which is {descriptor}"
    if descriptor.startswith(("has", "often", "typically", "may", "can")):
        return f"{name}, which {descriptor}"
    return f"{name}, which has {descriptor}"


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_text_joins_name_and_phrase_as_published(phrase):
    assert join("tiger", phrase) == descriptor_sentence("tiger", phrase)


@pytest.mark.parametrize(
    ("phrase", "ours"),
    [("antlers", "which has"), ("cannon wheels", "which has"), ("made of wood", "which is"), ("is round", "which")],
)
def test_where_the_first_letters_mislead_the_whole_word_counts(phrase, ours):
    assert join("deer", phrase) == f"deer, {ours} {phrase}"
    assert join("deer", phrase) != descriptor_sentence("deer", phrase)


def test_a_synonym_stays_where_its_own_class_is_nearest():
    # REAL (arXiv:2401.12425): the argmax of its text over all class texts is its own class; nearest by cosine
    classes, synonyms, owners = RNG.normal(size=(6, 8)), RNG.normal(size=(40, 8)), RNG.integers(6, size=40)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (synonyms, classes)]
    kept = consistent_synonyms(synonyms, owners, classes)
    assert np.array_equal(kept, (unit[0] @ unit[1].T).argmax(axis=1) == owners)
    assert 0 < kept.sum() < 40


def test_the_pool_holds_each_description_once_and_none_that_names_a_class():
    # CompVis/DisCLIP (arXiv:2412.11917): the union of all descriptions, deduplicated, free of class names
    phrases = {"cat": ["has fur", "like a dog"], "dog": ["has fur", "long ears"]}
    pool = description_pool(phrases, ["cat", "dog"])
    assert pool.texts == ("has fur", "long ears")
    assert pool.text_indices == ((0,), (0, 1))


def test_controls_keep_numbers_and_names():
    # arXiv:2412.11917 (random assignment) and WaffleCLIP, arXiv:2306.07282 (random words): as many texts and words
    phrases = [f"p{i} q{i}" for i in range(9)]
    classes = ["ax", "bx", "cx"]
    texts = [
        DescribedText(owner=i % 3, text=f"{classes[i % 3]}, which has {phrase}", phrase=phrase)
        for i, phrase in enumerate(phrases)
    ]
    dealt = shuffled_texts(texts, classes, seed=0)
    assert sorted(text[2:] for of_class in dealt for text in of_class) == sorted(one.text[2:] for one in texts)
    own = [{one.text for one in texts if one.owner == label} for label in range(3)]
    for label, name in enumerate(classes):
        assert all(text.startswith(f"{name}, ") and text not in own[label] for text in dealt[label])
    for name, of_class in zip(classes, random_texts(texts, classes, words=["one", "two"], seed=0), strict=True):
        for text in of_class:
            words = text.removeprefix(f"{name}, which has ").split()
            assert len(words) == 2
            assert {*words} <= {"one", "two"}
