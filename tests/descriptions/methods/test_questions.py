import re

import pytest

from evenly.descriptions.chat.request import content_address
from evenly.descriptions.method import Surroundings
from evenly.descriptions.methods.questions import SHAPES, Questions
from evenly.descriptions.texts.grounding import Subject

TIGER = Subject(name="tiger", gloss="large feline of forests having a tawny coat with black stripes")
AROUND = Surroundings(classes=("tiger",), names=("tiger",))


def sentences(request):
    shape = next(place for place, one in enumerate(SHAPES) if one in request["messages"][0]["content"])
    colors = ("red", "white", "black", "green", "blue", "brown", "yellow", "orange", "pink", "gray")
    return {"sentences": [f"A cat has {colors[request['seed']]} fur of kind {shape + 1}."]}


def test_six_questions_bring_ten_different_sentences_each(asked, server):
    rows = asked(Questions(), "cat", sentences)
    assert len(server.requests) == len(SHAPES) * 10 == 60
    assert len({row["text"] for row in rows if row["verdict"] == "accepted"}) == 60
    assert [row["sample"] for row in rows] == [*range(10)] * 6
    assert {request["temperature"] for request in server.requests} == {0.99}


def test_every_shape_is_another_question():
    requests = Questions().questions(TIGER)
    assert len({content_address(request.content(identity="i", model="m")) for request in requests}) == len(SHAPES)
    assert all("large feline" in request.messages[0].content for request in requests)


def test_a_sentence_that_comes_again_is_asked_for_again_and_no_more_than_that(asked, server):
    rows = asked(Questions(), "cat", {"sentences": ["A cat has soft gray fur and a tail."]}, samples=2)
    assert [row["reason"] for row in rows].count("") == 1
    assert {row["reason"] for row in rows} == {"", "repeats"}
    assert len(server.requests) == 60 + 59


def test_a_sentence_without_the_name_gets_it_in_front(asked):
    rows = asked(Questions(), "cat", {"sentences": ["It has soft gray fur and a tail."]})
    assert rows[0]["text"] == "cat: It has soft gray fur and a tail."


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("A tiger has a tawny coat with black stripes.", ""),
        ("A tiger has a coat with stripes, an example of its class.", "prompt_echo"),
        ("A tiger with a coat is often called the king of beasts.", "prompt_echo"),
        ("A tiger has the ability to attack animals and can grow old.", "little_to_see"),
        ("A tiger has a tawny coat with blue stripes.", "adds_attribute"),
        ("A tiger with black stripes, a black coat.", "repeats"),
    ],
)
def test_what_is_doubted_of_a_small_model_only(sentence, reason):
    assert Questions(small_model=True).refuse(TIGER, sentence, AROUND) == reason
    assert Questions().refuse(TIGER, sentence, AROUND) == ""


def test_a_small_model_is_held_to_the_words_of_the_definition():
    (pattern,) = {request.schema["properties"]["sentences"]["items"]["pattern"] for request in small(TIGER)}
    assert re.fullmatch(pattern, "A tiger has a tawny coat with black stripes.")
    assert not re.fullmatch(pattern, "A tiger has a golden coat with black stripes.")
    (free,) = {
        request.schema["properties"]["sentences"]["items"]["pattern"] for request in small(Subject(name="tiger"))
    }
    assert re.fullmatch(free, "A tiger has a golden coat with black stripes.")
    assert not re.fullmatch(free, "Tigers have a golden coat.")


def small(subject):
    return Questions(small_model=True).questions(subject)
