"""The exports are read by code of others: shapes, order of classes, and never an empty list."""

import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.descriptions.descriptions import SCHEMA
from evenly.descriptions.exports import TEXT_EXPORTS, export_cupl, export_fudd, export_vcd
from evenly.descriptions.methods.description import join

CLASSES = ("zebra", "ant", "fire_truck")


def table(*rows):
    blank = dict.fromkeys(SCHEMA.names) | {"phrase": "", "text": "", "verdict": "accepted", "reason": ""}
    return pa.Table.from_pylist([blank | row for row in rows], SCHEMA)


def described(name, *phrases):
    return [{"class": name, "method": "description", "phrase": one, "text": join(name, one)} for one in phrases]


def sentence(name, text, *, method="prompts", verdict="accepted"):
    return {"class": name, "method": method, "phrase": text, "text": text, "verdict": verdict}


def differs(name, other, text, *, attribute="", reply="1"):
    phrase = f"{attribute}: {text}" if attribute else text
    row = {"class": name, "method": "differential", "other": other, "phrase": phrase, "request_id": reply}
    return row | {"text": f"{name}, which has {text}"}


def test_a_list_of_all_the_exports_is_kept():
    assert list(TEXT_EXPORTS) == ["vcd", "cupl", "fudd"]


def published_vcd_texts(content):
    """What classify_by_description_release makes of a file: its rule, written again from loading_helpers.py."""

    def joined(descriptor):
        if descriptor.startswith("a"):
            return f"which is {descriptor}"
        if descriptor.startswith(("has", "often", "typically", "may", "can")):
            return f"which {descriptor}"
        return f"which {'is' if descriptor.startswith('used') else 'has'} {descriptor}"

    return {name: [f"{name.replace('_', ' ')}, {joined(one)}" for one in some] for name, some in content.items()}


def test_vcd_reads_the_texts_that_stand_in_the_table():
    phrases = ("black stripes", "has long legs", "a mane", "antlers", "an ear", "often dirty", "used on farms")
    rows = described("zebra", *phrases)
    made = export_vcd(table(*rows), CLASSES[:1])
    assert published_vcd_texts(made.content)["zebra"] == [row["text"] for row in rows]
    assert made.content["zebra"][3] == "has antlers"
    assert (made.texts, made.fallbacks, made.notes) == (len(phrases), (), ())


def test_vcd_says_how_many_descriptors_are_joined_otherwise():
    made = export_vcd(table(*described("zebra", "made of wood", "red")), CLASSES[:1])
    assert made.notes == ("1 descriptors are joined to the class name by other words than here",)


def test_classes_keep_their_order_and_none_is_left_empty():
    made = export_vcd(table(*described("fire_truck", "a ladder")), CLASSES)
    assert json.loads(json.dumps(made.content)) == {
        "zebra": ["a type of zebra"],
        "ant": ["a type of ant"],
        "fire_truck": ["a ladder"],
    }
    assert tuple(made.content) == CLASSES
    assert made.fallbacks == ("zebra", "ant")
    assert made.texts == 1


def test_cupl_takes_whole_sentences_once_each_and_no_rejected_ones():
    rows = (
        sentence("ant", "An ant is black."),
        sentence("ant", "An ant is black.", method="questions"),
        sentence("ant", "Ants are small.", method="questions"),
        sentence("zebra", "A zebra.", verdict="rejected"),
        *described("zebra", "stripes"),
    )
    made = export_cupl(table(*rows), CLASSES[:2])
    assert made.content == {"zebra": ["a photo of a zebra."], "ant": ["An ant is black.", "Ants are small."]}
    assert (made.texts, made.fallbacks) == (2, ("zebra",))


def test_fudd_puts_both_sides_of_an_attribute_together_under_the_smaller_position():
    rows = (
        differs("ant", "zebra", "six legs", attribute="legs"),
        differs("ant", "zebra", "black skin", attribute="color"),
        differs("zebra", "ant", "stripes", attribute="color"),
        differs("zebra", "ant", "four legs", attribute="legs"),
    )
    made = export_fudd(table(*rows), CLASSES)
    assert made.content == {
        "0_1": {
            "classes": [0, 1],
            "prompt_pairs": [
                {"attr_type": "color", "prompt_pair": ["zebra, which has stripes", "ant, which has black skin"]},
                {"attr_type": "legs", "prompt_pair": ["zebra, which has four legs", "ant, which has six legs"]},
            ],
        }
    }
    assert (made.texts, made.fallbacks) == (4, ())


def test_fudd_repeats_rather_than_invents_and_reports_a_side_without_texts():
    rows = (
        differs("zebra", "ant", "stripes", attribute="color"),
        differs("zebra", "ant", "hooves", attribute="legs"),
        differs("ant", "zebra", "feelers", attribute="head"),
        differs("fire_truck", "ant", "wheels"),
    )
    made = export_fudd(table(*rows), CLASSES)
    assert [one["prompt_pair"] for one in made.content["0_1"]["prompt_pairs"]] == [
        ["zebra, which has stripes", "ant, which has feelers"],
        ["zebra, which has hooves", "ant, which has feelers"],
    ]
    assert made.content["1_2"]["prompt_pairs"] == [
        {"attr_type": "", "prompt_pair": ["a photo of a ant.", "fire_truck, which has wheels"]}
    ]
    assert made.fallbacks == ("ant against fire_truck",)
    assert made.texts == 4


def test_fudd_names_a_text_once_per_pair_and_counts_it_once():
    rows = (
        differs("zebra", "ant", "stripes", attribute="color"),
        differs("zebra", "ant", "stripes", attribute="pattern", reply="2"),
        differs("zebra", "fire_truck", "stripes"),
        differs("ant", "zebra", "feelers"),
    )
    made = export_fudd(table(*rows), CLASSES)
    assert [one["prompt_pair"][0] for one in made.content["0_1"]["prompt_pairs"]] == ["zebra, which has stripes"]
    assert made.texts == 2


def published_fudd_prompts(content, pair):
    """get_cls_pair_prompts of FuDD's prompt_factory.py for two class numbers, written again."""
    entry = content[f"{min(pair)}_{max(pair)}"]
    prompts = [[], []]
    for one in entry["prompt_pairs"]:
        for side in (0, 1):
            prompts[pair.index(entry["classes"][side])].append(one["prompt_pair"][side])
    return [set(some) for some in prompts]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_fudd_gives_each_side_exactly_its_texts(seed):
    rng = random.Random(seed)  # noqa: S311 - cases, no secret
    rows = [
        differs(
            *rng.sample(CLASSES, 2), f"thing {n}", attribute=rng.choice(("", "legs", "color")), reply=rng.choice("12")
        )
        for n in range(rng.randint(1, 12))
    ]
    made = export_fudd(table(*rows), CLASSES)
    for a, b in {tuple(sorted((CLASSES.index(row["class"]), CLASSES.index(row["other"])))) for row in rows}:
        for pair in ([a, b], [b, a]):
            for (own, other), prompts in zip(
                (pair, pair[::-1]), published_fudd_prompts(made.content, pair), strict=True
            ):
                names = (CLASSES[own], CLASSES[other])
                wanted = {row["text"] for row in rows if (row["class"], row["other"]) == names}
                assert prompts == (wanted or {f"a photo of a {names[0]}."})


@pytest.mark.parametrize("name", ['say "pwned"}', "{}", "{0}", "naïve café", "__class__"])
def test_odd_class_names_stay_data(name):
    for export in TEXT_EXPORTS.values():
        made = export(table(*described(name, "a tail")), (name, "ant"))
        assert json.loads(json.dumps(made.content)) == made.content
    assert list(export_vcd(table(*described(name, "a tail")), (name, "ant")).content) == [name, "ant"]
    assert export_cupl(table(), (name,)).content == {name: [f"a photo of a {name}."]}
