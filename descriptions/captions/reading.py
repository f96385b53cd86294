"""A caption read out of a reply, of which nothing is trusted."""

import re
import unicodedata

from evenly.descriptions.captions.questions import KEY
from evenly.descriptions.texts.replies import UnreadableReplyError, read_object

MOST_CHARACTERS = 4_000
_SPACES = re.compile(r"\s+")
_AROUND = "\"'\u201c\u201d\u2018\u2019 "


def read_caption(reply: str, *, outcome: str = "reply") -> str:
    """The caption in a reply, on one line, in NFC, without control characters and quotes around it.

    Raises UnreadableReplyError: empty, refusal, truncated, not_json, wrong_schema or too_long.
    """
    value = read_object(reply, outcome=outcome).get(KEY)
    if not isinstance(value, str):
        raise UnreadableReplyError("wrong_schema")
    if outcome == "truncated":
        raise UnreadableReplyError("truncated")
    if len(value) > MOST_CHARACTERS:
        raise UnreadableReplyError("too_long")
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", value))
    text = "".join(character for character in text if unicodedata.category(character) not in _HIDDEN).strip(_AROUND)
    if not text:
        raise UnreadableReplyError("empty")
    return text


_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
"""Categories of characters that are not seen: controls, marks of direction, private and unassigned ones."""
