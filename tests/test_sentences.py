"""README and the beginnings of the docs' pages have short sentences, and one's own data come before our figures."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
MOST_WORDS = 35
# A sentence ends at its mark; a paragraph, a heading, an item of a list and a cell of a table end one, too.
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_HEADING = re.compile(r"^(#.*)$", re.MULTILINE)
_ENDS = re.compile(r"\n\s*\n|\n(?=\s*[-*] |\s*\d+\. )|\|")
_MARK = re.compile(r"(?<=[.!?])[)\"]?\s+(?=[\w`\"(*\[])")


def sentences(page: str) -> Iterator[str]:
    """The sentences of a page; words in code count as one."""
    plain = _HEADING.sub(r"\n\1\n", re.sub(r"`[^`]*`", "code", _LINK.sub(r"\1", _CODE.sub("\n", page))))
    for block in _ENDS.split(plain):
        yield from (text for text in _MARK.split(" ".join(block.split())) if text)


def too_long(page: str) -> list[str]:
    return [text for text in sentences(page) if len(re.findall(r"\S*\w\S*", text)) > MOST_WORDS]


def test_sentences_end_where_readers_see_their_end():
    page = "# A head\nOne, `two words` more. Two? (Three.)\n- an item\n- [a link](there.md) and\n  more\n\n|a|b|\n"
    items = ["- an item", "- a link and more", "a", "b"]
    assert list(sentences(page)) == ["# A head", "One, code more.", "Two?", "(Three.)", *items]


def test_no_sentence_of_the_readme_is_long():
    assert too_long((ROOT / "README.md").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_sentence_at_the_beginning_of_a_page_is_long(page):
    """Before the first heading below the title: what a reader sees who looks whether the page is for them."""
    assert too_long(page.read_text(encoding="utf-8").split("\n## ")[0]) == []


def test_ones_own_data_come_before_our_figures():
    headings = re.findall(r"^## (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Your own data"
    assert headings.index("Your own data") < headings.index("A real run") < headings.index("Adapters compared")
