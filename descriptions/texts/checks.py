"""Checks of one text from a model's reply. Replies are untrusted: whatever is not plainly fine gets a reason.

Reasons of a text: empty, too_short, too_long, control_characters, markup, wrong_language, refusal, prompt_echo,
only_class_name, repeats, names_another_class, names_own_class, unfinished, negation, unknown_word, no_visual_word,
no_place. Of single methods: see their `read` and `refuse`.
Of a whole reply (replies.py): empty, refusal, truncated, not_json, wrong_schema, too_long. Of synonyms, by their text
features (methods/synonyms.py): nearer_to_another_class.
"""

import html
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from evenly.descriptions.class_list import is_control
from evenly.descriptions.texts.vocabularies import has_visual_word
from evenly.descriptions.texts.words import longest_shared_run, loops, other_names_in, words_of

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_LINK = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()]{0,500}\)")
_BULLET = re.compile(r"^\s*(?:[-*•\u2013]|\d{1,2}[.)])\s+")
_EMPHASIS = re.compile(r"[*`#]+|(?<!\w)_+|_+(?!\w)|~~")
_LEFT_OVER = re.compile(r"[<>{}\[\]|\\^=@#]|https?:|www\.|&\w+;")
_REFUSAL = re.compile(
    r"^\W*(?:i['\u2019]?m sorry|i am sorry|sorry,|i apologi[sz]e|i can['\u2019]?t|i cannot|i can not|"
    r"i['\u2019]?m unable|i am unable|i won['\u2019]?t|unfortunately, i|as an ai|as a language model|"
    r"i do not have|i don['\u2019]?t have)",
    re.IGNORECASE,
)
_ECHO = re.compile(r"\b(?:the|this) (?:class|definition|photo of this)\b", re.IGNORECASE)
_NEVER_LAST = frozenset(
    {
        *("a", "an", "the", "and", "or", "but", "of", "in", "on", "at", "to", "for", "from", "by", "with", "without"),
        *(
            "as",
            "is",
            "are",
            "was",
            "be",
            "has",
            "have",
            "having",
            "that",
            "which",
            "its",
            "their",
            "no",
            "not",
            "than",
        ),
        *("into", "made", "so", "very", "such", "can", "may", "usually", "often", "when", "it"),
    }
)
_NEGATIONS = frozenset(
    {
        "no",
        "not",
        "none",
        "never",
        "without",
        "neither",
        "nor",
        "cannot",
        "can't",
        "isn't",
        "aren't",
        "don't",
        "lacking",
    }
)
_SCRIPTS = {"en": "LATIN"}
_AROUND = " \"',;:\u2018\u2019\u201c\u201d"
_INPUT_LIMIT = 20_000


@dataclass(frozen=True, kw_only=True)
class ReplyRules:
    """Checks of a text.

    A run of `echo_words` words that also stands in the instruction is an echo of it. `own_name` allows the class's name
    in the text, `negation` what the class is not or has not, which image-text encoders do not understand;
    `known_words` asks for words of the vocabulary only: small models invent some. A `template`
    holds {} once, where the class goes. With `singular` that of a plural class name is a text of its own.
    """

    min_words: int = 1
    max_words: int = 14
    max_characters: int = 120
    visual_word: bool = True
    own_name: bool = True
    negation: bool = True
    known_words: bool = False
    template: bool = False
    singular: bool = False
    language: str = "en"
    echo_words: int = 6


FEW_WORDS = ReplyRules(max_words=4, max_characters=60, visual_word=False, own_name=False, negation=False)
"""Of a name or an attribute, in one to four words."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A text without markup and control characters, safe to show, and the reason why it may not be used; "": it may."""

    text: str
    reason: str


def check_reply(
    text: str,
    class_name: str,
    other_classes: Sequence[str],
    *,
    rules: ReplyRules,
    noun: str = "",
    instruction: str = "",
    accepted: Sequence[str] = (),
    vocabulary: Collection[str] | None = None,
) -> Checked:
    """One phrase or sentence of a reply about a class, cleaned and judged.

    `other_classes` are the names of the list, in any order; the class's own may be among them. `noun` is the
    singular of a plural name. `instruction` is what the model was told, without the facts it was given: it may repeat
    facts. `accepted` are the texts the class has already. `vocabulary` holds the words (as words.words_of gives them)
    that a text may be made of where the rules ask for known words. The first reason in the order of the checks counts.
    Language is judged by script only: a reply in another language of the same script is left to `visual_word` and
    `known_words`.
    """
    names, words = (class_name, noun, tuple(other_classes)), None if vocabulary is None else frozenset(vocabulary)
    return _checked(text, names, rules=rules, instruction=instruction, accepted=tuple(accepted), vocabulary=words)


@lru_cache(maxsize=1 << 14)  # an estimate reads the same replies in each of its rounds
def _checked(
    text: str,
    names: tuple[str, str, tuple[str, ...]],
    *,
    rules: ReplyRules,
    instruction: str,
    accepted: tuple[str, ...],
    vocabulary: frozenset[str] | None,
) -> Checked:
    class_name, noun, other_classes = names
    own_words = {words_of(class_name), words_of(noun or class_name)}
    controls = any(is_control(character) and not character.isspace() for character in text[:_INPUT_LIMIT])
    cleaned = clean_text(text)
    words = words_of(cleaned)
    plain = cleaned.replace("{}", "thing") if rules.template else cleaned
    checks = (
        ("empty", lambda: not words),
        ("too_short", lambda: len(words) < rules.min_words),
        ("too_long", lambda: len(text) > rules.max_characters * 2 or len(cleaned) > rules.max_characters),
        ("too_long", lambda: len(words) > rules.max_words),
        ("control_characters", lambda: controls),
        ("no_place", lambda: rules.template and cleaned.count("{}") != 1),
        ("markup", lambda: _LEFT_OVER.search(plain)),
        ("wrong_language", lambda: not _in_script(cleaned, _SCRIPTS[rules.language])),
        ("refusal", lambda: is_refusal(cleaned)),
        ("prompt_echo", lambda: _ECHO.search(cleaned) or longest_shared_run(cleaned, instruction) >= rules.echo_words),
        (
            "only_class_name",
            lambda: (
                _without_articles(words) in own_words
                and not (rules.singular and noun and cleaned.casefold() == noun.casefold())
            ),
        ),
        ("repeats", lambda: loops(cleaned) or any(words_of(earlier) == words for earlier in accepted)),
        ("names_another_class", lambda: other_names_in(cleaned, class_name, other_classes)),
        ("names_own_class", lambda: not rules.own_name and other_names_in(cleaned, "", (class_name, noun))),
        ("unfinished", lambda: words_of(plain)[-1] in _NEVER_LAST),
        ("negation", lambda: not rules.negation and not _NEGATIONS.isdisjoint(words)),
        (
            "unknown_word",
            lambda: (
                rules.known_words
                and vocabulary is not None
                and not all(word in vocabulary or has_visual_word(word) for word in words)
            ),
        ),
        ("no_visual_word", lambda: rules.visual_word and not has_visual_word(cleaned)),
    )
    reason = next((reason for reason, fails in checks if fails()), "")
    return Checked(text=cleaned[: rules.max_characters], reason=reason)


def clean_text(text: str) -> str:
    """A text on one line without control characters, tags, bullets, emphasis and the quotation marks around it."""
    spaced = "".join(" " if character.isspace() else character for character in text[:_INPUT_LIMIT])
    plain = "".join(character for character in spaced if not is_control(character))
    plain = html.unescape(unicodedata.normalize("NFC", plain))
    plain = "".join(character for character in plain if not is_control(character))
    plain = _LINK.sub(r"\1", _TAG.sub(" ", plain))
    plain = _EMPHASIS.sub("", _BULLET.sub("", plain))
    return " ".join(plain.split()).strip(_AROUND)


def is_refusal(text: str) -> bool:
    """Whether a text begins like a model that declines to answer."""
    return _REFUSAL.match(text) is not None


def _without_articles(words: tuple[str, ...]) -> tuple[str, ...]:
    return words[1:] if words and words[0] in {"a", "an", "the"} else words


def _in_script(text: str, script: str) -> bool:
    """Whether nine in ten of the letters are of the script; a text without letters is not."""
    letters = [character for character in text if character.isalpha()]
    inside = sum(unicodedata.name(letter, "").startswith(script) for letter in letters)
    return bool(letters) and inside >= 0.9 * len(letters)
