import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from evenly.descriptions.methods.synonyms import Synonyms, consistent_synonyms
from evenly.descriptions.texts.checks import check_reply
from evenly.descriptions.texts.grounding import Subject

TRUCK = Subject(name="Fire truck", synset="n03345487", lemmas=("fire engine", "fire truck"), gloss="a truck")


def test_synonyms_are_the_lemmas_without_the_own_name():
    assert Synonyms().known(TRUCK) == ("fire engine",)
    assert Synonyms().questions(TRUCK) == ()
    assert Synonyms().text(TRUCK, "fire engine") == "fire engine"


def test_why_there_are_none():
    assert Synonyms().why_none(Subject(name="x")) == "no_synset"
    assert Synonyms().why_none(Subject(name="clock", synset="n03046257", lemmas=("clock",))) == "no_other_name"


def test_a_synonym_that_is_another_class_is_refused():
    assert (
        check_reply("plane", "airplane", ("airplane", "plane"), rules=Synonyms().rules).reason == "names_another_class"
    )
    assert check_reply("Felis catus", "cat", ("cat",), rules=Synonyms().rules).reason == ""


CLASSES = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)


def test_a_synonym_is_kept_where_no_other_class_is_nearer():
    synonyms = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.0, 0.0]], dtype=np.float32)
    assert consistent_synonyms(synonyms, [0, 0, 0, 0], CLASSES).tolist() == [True, False, True, False]


def test_the_length_of_vectors_does_not_count():
    classes = CLASSES * np.array([[0.01], [100.0]], dtype=np.float32)
    assert consistent_synonyms(np.array([[0.9, 0.1]]), [0], classes).tolist() == [True]


def test_a_vector_with_a_nan_is_never_consistent():
    assert consistent_synonyms(np.array([[np.nan, 1.0]]), [0], CLASSES).tolist() == [False]


def test_no_synonyms_give_no_verdicts():
    assert consistent_synonyms(np.zeros((0, 2)), [], CLASSES).tolist() == []


def test_arrays_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="must belong together"):
        consistent_synonyms(np.zeros((2, 2)), [0], CLASSES)
    with pytest.raises(ValueError, match="must belong together"):
        consistent_synonyms(np.zeros((1, 3)), [0], CLASSES)


@given(npst.arrays(np.float32, (4, 3), elements=st.floats(-1, 1, width=32)))
@example(np.array([[0, 1, 1], [0, 0.75, 0.75], [1, 1, 1], [1, 1, 1]], np.float32))
def test_a_class_name_is_consistent_with_itself(classes):
    kept = consistent_synonyms(classes, range(4), classes)
    assert kept.tolist() == (np.linalg.norm(classes.astype(np.float64), axis=1) > 0).tolist()
