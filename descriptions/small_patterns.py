"""Patterns that hold the replies of a model of about a billion parameters or fewer to plain words.

Each is a full match, within the regular expressions that llama.cpp turns into a grammar.
"""

import re

_WORD = "[a-z]{1,14}(-[a-z]{1,14})?"
_SENTENCE_WORD = "[A-Za-z]{1,14}([-'][a-z]{1,14})?,?"

WORDS = f"{_WORD}( {_WORD}){{0,2}}"
"""One to three words."""
FEATURE = f"(has|with|made of) {_WORD}( {_WORD}){{1,9}}"
"""A phrase for what can be seen."""
SENTENCE = f"(A|An|The|It) {_SENTENCE_WORD}( {_SENTENCE_WORD}){{4,24}}\\."
"""A sentence of 6 to 26 words."""


def sentence_about(name: str) -> str:
    """A pattern of a sentence that begins with a name and "has" or "with"; SENTENCE for a name of unusual letters."""
    if not re.fullmatch(r"[A-Za-z]+(?:[ -][A-Za-z]+)*", name):
        return SENTENCE
    return f"(A|The) {name} (has|with) (an?|its|two|[a-z]{{3,12}}) [a-z]{{1,14}}(,? [a-z]{{1,14}}){{1,18}}\\."
