"""Faults of a caption by its text alone: repeats, contact data, names of people, words that the picture shows.

Rules, not models: a flag says what was seen in the text, and the same text always has the same flags. Repeated n-grams
are how captioners that were trained on a score fail (Cho et al. 2022, arXiv:2205.13115).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from evenly.curation.captions.given_names import GIVEN_NAMES

REPEATED_SHARE = 0.2
"""Of the runs of two words, this share repeats an earlier one."""

OVER_CONTEXT = "over_context"
"""The flag of a caption that is longer than the encoder reads, which its text alone does not say."""
ECHOES_TEXT = "echoes_text"
"""The flag of a caption that says what is written in the picture, where that was read."""
UNSEEN = "unseen"
"""The flag of a caption that names a concept which is unseen in the picture: curation/captions/unseen.py."""

_EMAIL = r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.\w"
_URL = r"(?:https?://|www\.)\S+|(?<![\w-])[\w-]{1,63}\.(?:com|net|org|info|io|co|shop|de|uk)\b"
_HANDLE = r"(?<!\w)@\w{3,}"
_PHONE = r"(?<![\w.])\+?\d(?:[ ()./-]{0,2}\d){8,14}(?!\w)"
_CONTACT = re.compile(f"{_EMAIL}|{_URL}|{_HANDLE}|{_PHONE}", re.IGNORECASE)
_QUOTED = re.compile(
    r"\"[^\"]+\"|(?<!\w)'[^']{2,}'(?!\w)"
    r"|\b(?:says|said|reads|reading|written|titled|entitled|labell?ed|captioned|words?)\b\s*[:,]?\s+[\"'A-Z]{2}"
)
_ABOUT = re.compile(
    r"^\W*(?:(?:in|on) )?(?:this|the|an?) (?:image|picture|photo|photograph|illustration|drawing|icon) "
    r"(?:shows|depicts|features|displays|contains|presents|captures|is (?:of|showing)|we (?:can )?see)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i'?m sorry|i am sorry|i apologi[sz]e|as an ai|i (?:can(?:no|')t|am unable to)|i'm unable to"
    r"|unable to (?:see|view|assist|process|help|provide))\b",
    re.IGNORECASE,
)
_TITLE = re.compile(r"\b(?:Mrs?|Ms|Dr|Prof)\.? [A-Z][a-z]+|\b(?:Miss|Sir|Lady|President|Pope) [A-Z][a-z]+")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_LETTERS = re.compile(r"\w+")
_WITHIN = 4  # letters
_TWO_NAMES = re.compile(r"\b([A-Z][a-z]+)(?: [A-Z]\.)? (?:Mac|Mc|O'|[Vv]an |[Dd]e )?[A-Z][a-z]+")
_QUOTES = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"') | dict.fromkeys("\u2018\u2019", "'"))
_MARKUP = re.compile(r"<[^>]{1,200}>|\[[^\]]{1,200}\]\(|[*_#`]{2,}|^\s*[-*#>]\s", re.MULTILINE)


def _repeats(text: str) -> bool:
    words = [word.casefold() for word in _WORD.findall(text)]
    runs = list(pairwise(words))
    is_doubled = any(first == second for first, second in runs)
    return is_doubled or (len(runs) > 3 and 1 - len(set(runs)) / len(runs) >= REPEATED_SHARE)


def _names_person(text: str) -> bool:
    """A title with a name, or a given name with another capitalised word after it."""
    return _TITLE.search(text) is not None or any(match[1] in GIVEN_NAMES for match in _TWO_NAMES.finditer(text))


FLAGS: Mapping[str, Callable[[str], bool]] = {
    "empty": lambda text: not _WORD.search(text),
    "refusal": lambda text: _REFUSAL.search(text) is not None,
    "repeats": _repeats,
    "contact": lambda text: _CONTACT.search(text) is not None,
    "person": _names_person,
    "quotes_text": lambda text: _QUOTED.search(text) is not None,
    "about_the_picture": lambda text: _ABOUT.search(text) is not None,
    "markup": lambda text: _MARKUP.search(text) is not None,
}
"""Flag -> whether a caption has it.

empty: no word; refusal: a captioner's excuse; repeats: a word twice in a row or repeated runs; contact: an address of
mail or web, an account, a telephone number; person: a title or a given name that is frequent in the United States, with
a name after it; quotes_text: what is written in the picture; about_the_picture: "The image shows"; markup: tags and
formatting.
"""


def echoes_text(caption: str | None, picture_text: str | None) -> bool:
    """Return whether most words of a caption stand in its picture.

    A word of four letters and more may also stand within what was read, since readers lose spaces.
    """
    words, read = (_LETTERS.findall((text or "").casefold()) for text in (caption, picture_text))
    joined = "".join(read)
    echoed = sum(word in read or (len(word) >= _WITHIN and word in joined) for word in words)
    return 2 * echoed > len(words)


def flag_captions(captions: Sequence[str | None]) -> list[list[str]]:
    """Return the flags of each caption, in the order of FLAGS; those of no caption are none."""
    return [[] if text is None else _flags(text.translate(_QUOTES)) for text in captions]


def _flags(text: str) -> list[str]:
    return [name for name, is_flagged in FLAGS.items() if is_flagged(text)]
