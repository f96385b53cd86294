import pyarrow as pa
import pytest

from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.errors import ClassListError
from evenly.descriptions.texts.grounding import Grounding, ungrounded


def subjects(grounding, text):
    return grounding.subjects(parse_class_list(text, "list"))


@pytest.mark.parametrize(
    ("name", "synset"),
    [
        ("cat", "n02121620"),
        ("Fire_Truck", "n03345487"),
        ("fire  truck", "n03345487"),
        ("car", "n02958343"),  # first lemma of the automobile, second of the cable car
        ("crane", "n02012849"),  # first lemma of bird and machine: the first in the table
    ],
)
def test_a_name_has_the_sense_in_which_it_stands_earliest(grounding, name, synset):
    (subject,) = subjects(grounding, name)
    assert subject.synset == synset
    assert subject.name == name
    assert subject.gloss


def test_a_synset_or_gloss_of_the_list_wins(grounding):
    crane, mouse = subjects(grounding, "crane\tn03126707\nmouse\ta pointing device")
    assert crane.synset == "n03126707"
    assert "machine" in crane.gloss or "lift" in crane.gloss
    assert (mouse.synset, mouse.lemmas, mouse.gloss) == (None, (), "a pointing device")


def test_a_name_without_a_sense_is_kept_and_said_to_be_ungrounded(grounding):
    found = subjects(grounding, "cat\nblorptrix")
    assert [subject.name for subject in found] == ["cat", "blorptrix"]
    assert found[1].gloss is None
    assert ungrounded(found) == ("blorptrix",)


def test_all_unknown_synsets_are_told_at_once(grounding):
    with pytest.raises(ClassListError) as caught:
        subjects(grounding, "cat\tn99999999\ndog\tn02084071\nowl\tn00000000")
    assert len(caught.value.problems) == 2
    assert "n99999999" in caught.value.problems[0]
    assert "'owl'" in caught.value.problems[1]


def test_the_choice_does_not_depend_on_where_other_lemmas_stand():
    table = pa.table(
        {"synset": ["n1", "n2", "n3"], "lemmas": [["x", "cup"], ["cup", "y"], ["cup"]], "gloss": ["a", "b", "c"]}
    )
    (subject,) = subjects(Grounding(table), "cup")
    assert subject.synset == "n2"


def test_the_vocabulary_holds_words_of_lemmas_and_glosses(grounding):
    assert {"whisker", "fluffy", "feline", "wheel"} <= grounding.vocabulary
    assert not {"berotated", "faier"} & grounding.vocabulary


@pytest.mark.parametrize(
    ("name", "noun", "synset"),
    [
        ("animals", "animal", "n00015388"),
        ("Musical Instruments", "musical instrument", "n03800933"),
        ("children", "child", "n09917593"),
        ("shapes", "shape", None),  # no synset of the table, but a word of its glosses
        ("glasses", "", "n04272054"),  # spectacles, as it stands
        ("Athens", "", None),
        ("Mercedes", "", None),
    ],
)
def test_a_plural_has_the_sense_of_its_singular_unless_it_has_one_of_its_own(grounding, name, noun, synset):
    (subject,) = subjects(grounding, name)
    assert (subject.name, subject.noun, subject.synset) == (name, noun, synset)
    assert bool(subject.lemmas) == bool(subject.gloss) == (synset is not None)


def test_a_plural_with_a_gloss_or_synset_of_the_list_is_a_group_too(grounding):
    workers, faces = subjects(grounding, "workers\tn09632518\nfaces\tfronts of heads")
    assert (workers.noun, workers.gloss) == ("worker", "a person who works at a specific occupation")
    assert (faces.noun, faces.gloss, faces.lemmas) == ("face", "fronts of heads", ())
