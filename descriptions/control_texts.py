"""Texts to hold descriptions against: shuffled between classes, and random words; same number, same class name."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_PLURAL = r"(?:e?s)?(?:['\u2019]s?)?(?!\w)"
_ENDING = re.compile(_PLURAL, re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class DescribedText:
    """A text about class number `owner`; `phrase` is the part that describes, the rest says which class it is."""

    owner: int
    text: str
    phrase: str


def shuffled_texts(texts: Sequence[DescribedText], classes: Sequence[str], *, seed: int) -> list[list[str]]:
    """For each class as many texts as it has, dealt out of those of the other classes, with its own name in them.

    "bird, which has wings" in the hands of the class cat is "cat, which has wings": what the text says of its class
    (the name, the number of texts) stays, what it describes is another's. A text whose words are among the class's own
    does not return to it unless no other is to be had, as where one class holds most of them. The order follows from
    `seed`, the class and the text, not from the order of `texts`.
    """
    parts = [_split_at_name(one.text, classes[one.owner]) for one in texts]
    own: dict[int, set[tuple[str, ...]]] = {}
    for one, some in zip(texts, parts, strict=True):
        own.setdefault(one.owner, set()).add(some)
    drawn = sorted(range(len(texts)), key=lambda at: _draw(seed, classes[texts[at].owner], texts[at].text, at))
    _send_away(drawn, parts, [own[one.owner] for one in texts])
    dealt: list[list[str]] = [[] for _ in classes]
    for one, source in zip(texts, drawn, strict=True):
        dealt[one.owner].append(classes[one.owner].join(parts[source]))
    return dealt


def random_texts(
    texts: Sequence[DescribedText], classes: Sequence[str], *, words: Sequence[str], seed: int
) -> list[list[str]]:
    """For each class its own texts, each word of the phrase but the class's name replaced by one of `words`.

    Random words in place of descriptions: WaffleCLIP, Roth et al. 2023, arXiv:2306.07282. Numbers of texts and of words
    stay. A text that does not end in its phrase is replaced as a whole.
    """
    if not words:
        raise ValueError("`words` must hold at least one word; got none. Hand in the words of a vocabulary.")
    made: list[list[str]] = [[] for _ in classes]
    for one in texts:
        name = classes[one.owner]
        head = one.text.removesuffix(one.phrase) if one.phrase and one.text.endswith(one.phrase) else ""
        drawn = _endless_words(words, seed, name, len(made[one.owner]))
        first, *others = _split_at_name(one.text.removeprefix(head), name)
        parts = [_with_words(first, drawn)]
        for part in others:
            ending = _ENDING.match(part)
            glued = part[: ending.end()] if ending else ""
            parts.append(glued + _with_words(part.removeprefix(glued), drawn))
        made[one.owner].append(head + name.join(parts))
    return made


def repeated_names(texts: Sequence[DescribedText], classes: Sequence[str]) -> list[list[str]]:
    """For each class its name, as often as it has texts."""
    return [[name] * sum(one.owner == label for one in texts) for label, name in enumerate(classes)]


def _split_at_name(text: str, name: str) -> tuple[str, ...]:
    """What stands between the occurrences of a class's name; the ending of its plural stays with what follows."""
    words = r"[\W_]+".join(re.escape(word) for word in name.split())
    return tuple(re.split(rf"(?<!\w){words}(?={_PLURAL})", text, flags=re.IGNORECASE))


def _send_away(drawn: list[int], parts: Sequence[tuple[str, ...]], own: Sequence[set[tuple[str, ...]]]) -> None:
    """Swap what lies at home with the first place where both are abroad after the swap."""
    for here in range(len(drawn)):
        if parts[drawn[here]] not in own[here]:
            continue
        for there in range(len(drawn)):
            if parts[drawn[there]] not in own[here] and parts[drawn[here]] not in own[there]:
                drawn[here], drawn[there] = drawn[there], drawn[here]
                break


def _with_words(part: str, drawn: Iterator[str]) -> str:
    return _WORD.sub(lambda _found: next(drawn), part)


def _endless_words(words: Sequence[str], seed: int, name: str, place: int) -> Iterator[str]:
    position = 0
    while True:
        yield words[_draw(seed, name, place, position) % len(words)]
        position += 1


def _draw(*what: object) -> int:
    digest = hashlib.sha256("\0".join(map(str, what)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")
