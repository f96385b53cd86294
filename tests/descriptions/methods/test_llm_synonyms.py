import pytest

from evenly.descriptions.method import Surroundings
from evenly.descriptions.methods.llm_synonyms import LlmSynonyms
from evenly.descriptions.texts.grounding import Subject

GLOSSES = {
    "kitty": "informal terms referring to a domestic cat",
    "puss": "feline mammal",
    "sofa": "an upholstered seat",
}
CAT = Subject(name="cat", synset="n1", lemmas=("cat", "true cat"), gloss="feline mammal with thick soft fur")
AROUND = Surroundings(
    classes=("cat", "dog"), names=("cat", "true cat", "dog", "hound"), gloss_of=GLOSSES.get, grounded=True
)


def test_names_are_texts_as_they_are(asked):
    rows = asked(LlmSynonyms(), "sofa", {"names": ["couch", "settee"]})
    assert [(row["text"], row["verdict"]) for row in rows] == [("couch", "accepted"), ("settee", "accepted")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Cats", "only_class_name"),
        ("the dog", "names_another_class"),
        ("not a cat", "negation"),
        ("кошка", "wrong_language"),
        ("gato\u202egato", "control_characters"),
        ("<i>{kitty}</i>", "markup"),
        ("one of those small furry house animals", "too_long"),
        ("Sorry, none", "refusal"),
        ("", "empty"),
    ],
)
def test_each_name_is_checked(asked, name, reason):
    rows = asked(LlmSynonyms(), "cat\ndog", {"names": [name]})
    assert [row["reason"] for row in rows if row["class"] == "cat"] == [reason]


@pytest.mark.parametrize(
    ("name", "reason", "of_a_small_model"),
    [
        ("true cat", "", ""),
        ("hounds", "names_another_class", "names_another_class"),
        ("soft fur", "in_definition", "in_definition"),
        ("puss", "", ""),
        ("sofa", "", "another_kind"),
        ("moggy", "", "unknown_name"),
    ],
)
def test_what_is_refused_beyond_the_checks(name, reason, of_a_small_model):
    assert LlmSynonyms().refuse(CAT, name, AROUND) == reason
    assert LlmSynonyms(small_model=True).refuse(CAT, name, AROUND) == of_a_small_model


def test_without_a_grounding_a_small_models_nouns_cannot_be_looked_up():
    bare = Surroundings(classes=("cat",), names=("cat",))
    assert LlmSynonyms(small_model=True).refuse(Subject(name="cat"), "moggy", bare) == ""


@pytest.mark.parametrize("answer", ["", "couch, settee", "[1]", '{"names": []}', '{"names": ["couch"'])
def test_a_reply_that_is_no_list_is_one_rejected_row(asked, answer):
    (row,) = asked(LlmSynonyms(), "sofa", answer)
    assert row["verdict"] == "rejected"
    assert row["reason"] in {"empty", "not_json", "wrong_schema"}
