"""Flags of captions by their text alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.captions.quality import FLAGS, echoes_text, flag_captions


@pytest.mark.parametrize(
    ("caption", "flags"),
    [
        ("a red fox sits in the snow", []),
        ("Two dogs play. A cat watches.", []),
        ("the Eiffel Tower at night", []),
        ("the flag of South Africa", []),
        ("a man with a hat", []),
        ("the number 2024 on a wall, 3.5 m high", []),
        ("the dog's bowl and the cats' toys", []),
        ("a picture frame on the wall", []),
        ("", ["empty"]),
        ("1234 !!", ["empty"]),
        ("I'm sorry, I cannot describe this.", ["refusal"]),
        ("I\u2019m unable to see the picture", ["refusal"]),
        ("a a dog", ["repeats"]),
        ("a dog on a dog on a dog on a dog", ["repeats"]),
        ("mail me at a.b@example.org now", ["contact"]),
        ("see https://example.org/x for more", ["contact"]),
        ("shop at example.com", ["contact"]),
        ("by @someone on the web", ["contact"]),
        ("call +1 (555) 010-9999 today", ["contact"]),
        ("Dr. Miller in the garden", ["person"]),
        ("Mary Smith and a horse", ["person"]),
        ("a sign that reads STOP", ["quotes_text"]),
        ('a shirt with "LOVE" on it', ["quotes_text"]),
        ("a shirt with \u201clove\u201d on it", ["quotes_text"]),
        ("The image shows a dog.", ["about_the_picture"]),
        ("In this picture we can see a dog.", ["about_the_picture"]),
        ("a **bold** dog", ["markup"]),
        ("<b>a dog</b>", ["markup"]),
    ],
)
def test_a_caption_has_the_flags_of_what_is_in_it(caption, flags):
    assert flag_captions([caption]) == [flags]


def test_no_caption_has_no_flags():
    assert flag_captions([None]) == [[]]


@given(st.lists(st.text(max_size=200)))
def test_any_text_has_flags_in_their_order_and_quickly(captions):
    for flags in flag_captions(captions):
        assert flags == [name for name in FLAGS if name in flags]


@pytest.mark.parametrize(
    "hostile", ["a" * 50_000, "a " * 100_000, "<" * 50_000, '"' * 50_001, "1 " * 50_000, "@" * 9999]
)
def test_a_hostile_text_costs_little(hostile):
    flag_captions([hostile])


@pytest.mark.parametrize(
    ("caption", "written", "is_echo"),
    [
        ("Summer sale", "SUMMER SALE\n50% off", True),
        ("summer sale: all shoes", "SUMMERSALE all shoes", True),
        ("a poster with the words summer sale", "SUMMER SALE", False),
        ("a red fox", "RED", False),
        ("red fox", "RED", False),
        ("an ox", "box", False),
        ("50% off!", "now 50 % OFF", True),
        ("summer", "", False),
        ("summer", None, False),
        (None, "SUMMER", False),
        ("", "SUMMER", False),
        ("...", "", False),
    ],
)
def test_a_caption_echoes_what_is_written_if_most_of_its_words_stand_there(caption, written, is_echo):
    assert echoes_text(caption, written) is is_echo
