import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.safe_text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red fox", "a red fox"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("two\nlines\r\tend", "two\\nlines\\r\\tend"),
        ("\x9b2J", "\\x9b2J"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("a\ud800b", "a\\ud800b"),
        ("a\u2028b", "a\\u2028b"),
        ("\U000e0041", "\\U000e0041"),
        ("ein Füchslein, 狐, ثعلب", "ein Füchslein, 狐, ثعلب"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
    ],
)
def test_what_would_act_is_shown_and_what_is_read_stays(text, shown):
    assert visible(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_one_printable_line(text):
    shown = visible(text)
    shown.encode("utf-8")
    assert all(letter.isprintable() or letter in "\u200c\u200d" or letter.isspace() for letter in shown)
    assert not set(shown) & set("\x1b\n\r\x07\x08\u202e")
