import html.parser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.safe_text import as_html, visible


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


class Reader(html.parser.HTMLParser):
    """What a browser would show, and the elements it would make."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.shown, self.elements = "", []

    def handle_data(self, data):
        self.shown += data

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, attributes))

    handle_startendtag = handle_starttag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


@given(st.lists(st.tuples(st.text(), st.sampled_from(["", "bold", "bold red", "no style"])), max_size=4))
def test_every_text_is_shown_as_itself_and_makes_no_element(pieces):
    shown = [(visible(text), style) for text, style in pieces]
    reader = read(as_html([shown]))
    assert reader.shown == "".join(text for text, _ in shown)
    assert {tag for tag, _ in reader.elements} <= {"pre", "span"}
    assert len(reader.elements) == 1 + sum(style in {"bold", "bold red"} for _, style in shown)


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=alert(1)>", "</pre><script>", '"><a href="javascript:x">', "&lt;b&gt;"]
)
def test_markup_is_text(text):
    reader = read(as_html([[(text, "dim")], [("next line", "")]]))
    assert reader.shown == f"{text}\nnext line"
    assert [tag for tag, _ in reader.elements] == ["pre", "span"]


def test_a_formula_stands_where_none_is_typeset():
    (tag, attributes), *_ = read(as_html([[("$x$", "")]])).elements
    assert tag == "pre"
    assert "mathjax_ignore" in dict(attributes)["class"]
