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
    parts = [_split_at_name(described.text, classes[described.owner]) for described in texts]
    parts_of_class: dict[int, set[tuple[str, ...]]] = {}
    for described, pieces in zip(texts, parts, strict=True):
        parts_of_class.setdefault(described.owner, set()).add(pieces)
    drawn = sorted(
        range(len(texts)), key=lambda index: _draw(seed, classes[texts[index].owner], texts[index].text, index)
    )
    _send_away(drawn, parts, [parts_of_class[described.owner] for described in texts])
    dealt: list[list[str]] = [[] for _ in classes]
    for described, source in zip(texts, drawn, strict=True):
        dealt[described.owner].append(classes[described.owner].join(parts[source]))
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
    replaced: list[list[str]] = [[] for _ in classes]
    for described in texts:
        name = classes[described.owner]
        head = (
            described.text.removesuffix(described.phrase)
            if described.phrase and described.text.endswith(described.phrase)
            else ""
        )
        drawn = _endless_words(words, seed, name, len(replaced[described.owner]))
        first, *remaining = _split_at_name(described.text.removeprefix(head), name)
        parts = [_with_words(first, drawn)]
        for part in remaining:
            ending = _ENDING.match(part)
            glued = part[: ending.end()] if ending else ""
            parts.append(glued + _with_words(part.removeprefix(glued), drawn))
        replaced[described.owner].append(head + name.join(parts))
    return replaced


def repeated_names(texts: Sequence[DescribedText], classes: Sequence[str]) -> list[list[str]]:
    """For each class its name, as often as it has texts."""
    return [[name] * sum(described.owner == label for described in texts) for label, name in enumerate(classes)]


def _split_at_name(text: str, name: str) -> tuple[str, ...]:
    """The text between the occurrences of a class's name; the ending of its plural stays with what follows."""
    words = r"[\W_]+".join(re.escape(word) for word in name.split())
    return tuple(re.split(rf"(?<!\w){words}(?={_PLURAL})", text, flags=re.IGNORECASE))


def _send_away(
    drawn: list[int], parts: Sequence[tuple[str, ...]], parts_of_class: Sequence[set[tuple[str, ...]]]
) -> None:
    """Swap the text at home with the first place where both are abroad after the swap."""
    for place in range(len(drawn)):
        if parts[drawn[place]] not in parts_of_class[place]:
            continue
        for target in range(len(drawn)):
            if parts[drawn[target]] not in parts_of_class[place] and parts[drawn[place]] not in parts_of_class[target]:
                drawn[place], drawn[target] = drawn[target], drawn[place]
                break


def _with_words(part: str, drawn: Iterator[str]) -> str:
    return _WORD.sub(lambda _match: next(drawn), part)


def _endless_words(words: Sequence[str], seed: int, name: str, place: int) -> Iterator[str]:
    position = 0
    while True:
        yield words[_draw(seed, name, place, position) % len(words)]
        position += 1


def _draw(*parts: object) -> int:
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")
