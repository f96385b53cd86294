"""Patterns that hold the replies of a model of about a billion parameters or fewer to plain words.

Each is a full match, within the regular expressions that llama.cpp turns into a grammar.
"""

import re
from collections.abc import Iterable

from evenly.descriptions.texts.words import SMALL_WORDS

_WORD = "[a-z]{1,14}(-[a-z]{1,14})?"
_PLAIN_NAME = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+)*")
_SEEN = ", seen (from (the front|the side|above|below)|close up)"
_SENTENCE_WORD = "[A-Za-z]{1,14}([-'][a-z]{1,14})?,?"

WORDS = f"{_WORD}( {_WORD}){{0,2}}"
"""One to three words."""
FEATURE = f"(has|with|made of) {_WORD}( {_WORD}){{1,9}}"
"""A phrase for what can be seen."""
SENTENCE = f"(A|An|The|It) {_SENTENCE_WORD}( {_SENTENCE_WORD}){{4,24}}\\."
"""A sentence of 6 to 26 words."""


def sentence_about(name: str) -> str:
    """A sentence of up to 14 words after a name and "has" or "with"; SENTENCE for a name of unusual letters."""
    if not _PLAIN_NAME.fullmatch(name):
        return SENTENCE
    return f"(A|The) {name} (has|with) (an?|its|two|[a-z]{{3,12}}) [a-z]{{1,14}}(,? [a-z]{{1,14}}){{1,12}}\\."


def sentence_of(name: str, words: Iterable[str]) -> str:
    """A sentence as of `sentence_about` that is made of these words and small ones; sentence_about without any.

    What a small model adds of its own is mostly wrong: held to the words of a definition it can only put them in order.
    """
    plain = sorted({word for word in words if re.fullmatch("[a-z]{3,20}", word) and word not in SMALL_WORDS})
    if not plain or not _PLAIN_NAME.fullmatch(name):
        return sentence_about(name)
    after_an = [word for word in plain if word[0] in "aeiou"]
    after_a = [word for word in plain if word not in after_an]
    starts = [f"(({a}|the|its) )?({'|'.join(nouns)})" for a, nouns in (("a", after_a), ("an", after_an)) if nouns]
    thing = f"({'|'.join(starts)})( ({'|'.join(plain)})){{0,2}}"
    return f"(A|The) {name} (has|with) {thing}((,| and|, and| with| of| that has) {thing}){{0,3}}({_SEEN})?\\."
