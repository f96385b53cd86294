"""English words of grammar, and single letters: as concepts they would take draws and say nothing of a picture."""

import re

_WORDS = """
a an the
i me my myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
its itself they them their theirs themselves one oneself this that these those who whom whose which what whoever
whatever whichever
all any another both each either every few fewer many more most much neither no none other others several some such
anybody anyone anything everybody everyone everything nobody nothing somebody someone something
about above across after against along amid among around as at before behind below beneath beside besides between
beyond by despite down during except for from in inside into like near of off on onto out outside over per since than
through throughout till to toward towards under underneath unlike until up upon via versus vs with within without
and but if nor or so yet because although though unless whereas whether while
am are be been being is was were do does did doing done have has had having can could may might must ought shall should
will would
here how not there then too very when where why just only also even ever never now
"""
FUNCTION_WORDS = frozenset(_WORDS.split())
_ARTICLE = re.compile(r"(?:an?|the)[\W_]+(?=\w)")


def without_content(entry: str) -> str:
    """Why `entry` names nothing that a picture shows: single_letter, function_word (all of its words are), or ""."""
    first, _, others = entry.casefold().partition(" ")
    first = first.strip(".'")
    if not others and len(first) == 1 and first != first.upper():  # a single Chinese character is a word
        return "single_letter"
    is_one = first in FUNCTION_WORDS and FUNCTION_WORDS.issuperset(word.strip(".'") for word in others.split())
    return "function_word" if is_one else ""


def without_article(entry: str) -> str:
    """`entry` case-folded and without the English article at its beginning ("A'man" -> "man"), "" where it has none."""
    folded = entry.casefold()
    article = _ARTICLE.match(folded)
    return folded[article.end() :] if article else ""
