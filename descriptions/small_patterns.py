"""Patterns that hold the replies of a model of about a billion parameters or fewer to plain words.

Each is a full match, within the regular expressions that llama.cpp turns into a grammar.
"""

_WORD = "[a-z]{1,14}(-[a-z]{1,14})?"
_SENTENCE_WORD = "[A-Za-z]{1,14}([-'][a-z]{1,14})?,?"

WORDS = f"{_WORD}( {_WORD}){{0,2}}"
"""One to three words."""
FEATURE = f"(has|with|made of) {_WORD}( {_WORD}){{1,9}}"
"""A phrase for what can be seen."""
SENTENCE = f"(A|An|The|It) {_SENTENCE_WORD}( {_SENTENCE_WORD}){{4,24}}\\."
"""A sentence of 6 to 26 words."""


def after(*openings: str, most: int = 6) -> str:
    """A pattern of one of the openings and one to `most` words."""
    return f"({'|'.join(openings)}) {_WORD}( {_WORD}){{0,{most - 1}}}"
