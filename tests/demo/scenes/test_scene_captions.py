import re
from collections import Counter, defaultdict

from evenly.demo.draws import DEMO_SEED
from evenly.demo.scenes.captions import (
    LATE,
    SENTENCES,
    long_caption,
    short_caption,
    statement_of,
    vague_caption,
    wrong_captions,
)
from evenly.demo.scenes.plans import NEIGHBOURS, plan_scene

PLANS = [plan_scene(number, DEMO_SEED) for number in range(400)]


def sentences(text):
    return re.findall(r"[^.]+\.", text)


def test_a_statement_says_what_is_true_of_the_picture(scenes):
    said = Counter()
    for scene in scenes:
        statement = statement_of(scene.plan)
        assert set(statement.relations) <= set(scene.relations)
        assert statement.text() in short_caption(scene.plan)
        said.update(relation for _, relation, _ in statement.relations)
    assert set(said) == {"left_of", "right_of", "above", "below", "on", "under"}


def test_a_long_caption_has_thirty_sentences_of_which_a_late_one_is_of_the_scene():
    for plan in PLANS:
        caption = long_caption(plan)
        said = [sentence.strip() for sentence in sentences(caption.text)]
        assert len(said) == SENTENCES
        assert said[caption.place - 1] == caption.sentence
        assert caption.place in LATE
        assert statement_of(plan).text() in caption.sentence


def test_the_late_sentence_alone_tells_a_scene_from_its_neighbours():
    families = defaultdict(list)
    for plan in PLANS:
        families[plan.number // NEIGHBOURS].append(long_caption(plan))
    for captions in families.values():
        assert len({caption.sentence for caption in captions}) == NEIGHBOURS
        assert (
            len(
                {
                    caption.text.replace(caption.sentence + " ", "", 1).replace(" " + caption.sentence, "", 1)
                    for caption in captions
                }
            )
            == 1
        )


def test_wrong_captions_are_of_every_kind_that_the_scene_has_and_differ_from_the_right_one():
    kinds = Counter()
    for plan in PLANS:
        wrong = wrong_captions(plan)
        kinds.update(wrong.keys())
        assert {"object", "count"} <= wrong.keys()
        assert ("relation" in wrong) == (len(plan.groups) > 1)
        assert ("colour" in wrong) == any(group.colour for group in plan.groups)
        assert len({short_caption(plan), *wrong.values()}) == len(wrong) + 1
    assert min(kinds.values()) > 100


def test_a_wrong_relation_has_the_words_of_the_right_one_and_swapped_colours_too():
    swapped = 0
    for plan in PLANS:
        wrong, right = wrong_captions(plan), short_caption(plan)
        if "relation" in wrong and len(plan.groups) == 2:
            assert sorted(wrong["relation"].split()) == sorted(right.split())
        if len({group.colour for group in plan.groups if group.colour}) > 1:
            assert sorted(re.sub(r"\ban\b", "a", wrong["colour"]).split()) == sorted(
                re.sub(r"\ban\b", "a", right).split()
            )
            swapped += 1
    assert swapped > 20


def test_a_vague_caption_names_no_thing_of_the_scene():
    for plan in PLANS:
        words = re.findall(r"[a-z]+", vague_caption(plan))
        assert not {group.name for group in plan.groups} & set(words)


def test_nouns_have_the_article_of_their_first_sound():
    texts = " ".join(short_caption(plan) for plan in PLANS)
    assert {"an umbrella", "a bus", "an orange"} <= set(re.findall(r"\ban? \w+", texts))
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", texts)
