import numpy as np

from evenly.demo.draws import DEMO_SEED
from evenly.demo.ground.classes import members_of, read_classes
from evenly.demo.ground.gate import asked_rows, gate_problems, gate_questions, right_answers
from evenly.demo.ground.plans import HUES, plan_ground
from evenly.demo.ground.textures import TEXTURES

BY_NAME = {question.name: question for question in gate_questions()}


def truth_row(kind, *, background="on dots", colour="red", count=2, label="bird", is_recoloured=True):
    thing = {"count": count, "colour": colour, "is_recoloured": is_recoloured}
    return {"kind": kind, "background": background, "things": [thing], "label": label, "group": "1F989"}


def test_a_question_is_asked_of_the_pictures_that_show_its_answer():
    rows = [
        truth_row("texture"),
        truth_row("texture", is_recoloured=False, count=3),
        truth_row("white", background="on white", count=1, is_recoloured=False),
        truth_row("pair", label="several things"),
        truth_row("texture", colour=None),
    ]
    asked = {name: asked_rows(question, rows) for name, question in BY_NAME.items()}
    assert {name: places for name, (places, _) in asked.items()} == {
        "background": [0, 1, 4],
        "colour": [0],
        "count": [0, 1, 4],
        "class": [0, 1, 2, 4],
    }
    assert asked["background"][1][0] == list(TEXTURES).index("on dots")
    assert asked["colour"][1][0] == HUES.index("red")
    assert asked["count"][1].tolist() == [1, 2, 1]
    assert asked["class"][1][0] == list(read_classes()).index("bird")


def test_every_answer_is_asked_for_and_texts_are_captions_words():
    plans = plan_ground(members_of(None, DEMO_SEED), ("openmoji",), DEMO_SEED)
    for plan in (plan for plan in plans if plan.part in {"val", "test"}):
        assert plan.background in {"on white", *TEXTURES}
    assert {name: len(question.texts) for name, question in BY_NAME.items()} == {
        "background": 8,
        "colour": 6,
        "count": 3,
        "class": 41,
    }
    texts = BY_NAME["class"].texts
    assert ["a bird", "two birds", "three birds"] in texts
    assert ["an insect", "two insects", "three insects"] in texts


def test_an_answer_is_the_choice_whose_mean_text_is_nearest():
    texts = np.array([[[1, 0], [0, 1]], [[0, -1], [0, -1]]], np.float32)  # the first choice points to (1, 1)
    images = np.array([[0.6, 0.8], [0.0, -1.0], [1.0, 0.0]], np.float32)
    assert right_answers(images, texts, np.array([0, 1, 0])).tolist() == [True, True, True]
    assert right_answers(images, texts, np.array([0, 0, 1])).tolist() == [True, False, False]


def test_the_gate_looks_at_val_alone_and_says_what_it_lacks():
    def row(part, question, refined):
        return {"part": part, "question": question, "refined": refined, "frozen": 0.1, "pictures": 9}

    good = [row("val", "background", 0.9), row("val", "colour", 0.5), row("val", "class", 0.25)]
    assert not gate_problems([*good, row("val", "count", 0.0), row("test", "background", 0.0)])
    assert gate_problems([row("val", "background", 0.899), *good[1:]]) == [
        "`background` must be told in 0.90 of val or more; got 0.899"
    ]
