"""Class lists: an ordered file of class names, each perhaps with its WordNet synset or a gloss of the user's own."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from evenly.descriptions.errors import ClassListError

MAX_NAME_CHARACTERS = 100
MAX_GLOSS_CHARACTERS = 500
SYNSET = re.compile(r"n\d{8}")

# Zero-width joiners belong to the spelling of Persian and Indic names; every other format character may hide text.
_JOINERS = {"\u200c", "\u200d"}
_CONTROL_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True, kw_only=True)
class ClassEntry:
    """One class: its name as written, and at most one of `synset` ("n" and eight digits) and `gloss`."""

    name: str
    synset: str | None = None
    gloss: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClassList:
    """Classes in the order of their labels. Names are data: quotes, braces and instructions in them mean nothing."""

    name: str
    entries: tuple[ClassEntry, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in order."""
        return tuple(entry.name for entry in self.entries)

    @property
    def identity(self) -> str:
        """Sha256 hex of the content: names, synsets and glosses in order, whatever the list is called."""
        content = [[entry.name, entry.synset, entry.gloss] for entry in self.entries]
        return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def parse_class_list(text: str, name: str) -> ClassList:
    """Class list of a text with one class per line: `name`, or `name<TAB>synset or gloss`.

    Spaces around the parts, a byte order mark, CRLF line ends and newlines at the end are dropped. Whatever else is
    wrong raises one ClassListError that tells all of it: line, rule, value and remedy.
    """
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ClassListError([f"class list {name!r} must name at least one class; got none. Write one name per line."])
    problems: list[str] = []
    first_lines: dict[str, int] = {}
    entries: list[ClassEntry] = []
    for number, line in enumerate(lines, start=1):
        entry = _entry_of(line)
        entries.append(entry)
        place = f"class list {name!r}, line {number}"
        problems += [f"{place}: {problem}" for problem in _line_problems(line, entry)]
        if entry.name:
            first = first_lines.setdefault(_folded(entry.name), number)
            if first != number:
                problems.append(
                    f"{place}: a class must stand once; {shown(entry.name)} stands in line {first} already "
                    "(case and spaces do not count). Remove one, or give them different names."
                )
    if problems:
        raise ClassListError(problems)
    return ClassList(name=name, entries=tuple(entries))


def is_control(character: str) -> bool:
    """Whether a character has no visible form: controls, bidirectional marks, line separators, unassigned."""
    return character not in _JOINERS and unicodedata.category(character) in _CONTROL_CATEGORIES


def shown(text: str, *, limit: int = 60) -> str:
    """A quoted form of any text that is safe to print on one line: controls escaped, cut at `limit` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _entry_of(line: str) -> ClassEntry:
    name, _, sense = line.partition("\t")
    sense = sense.strip()
    if SYNSET.fullmatch(sense):
        return ClassEntry(name=name.strip(), synset=sense)
    return ClassEntry(name=name.strip(), gloss=sense or None)


def _line_problems(line: str, entry: ClassEntry) -> Iterator[str]:
    if not line.strip():
        yield "a line must hold a class name; it is blank. Remove the line."
        return
    if line.count("\t") > 1:
        yield f"a line must hold at most one tab; got {line.count(chr(9))}. Write name<TAB>synset or gloss."
    if not entry.name:
        yield "a class name must stand before the tab; there is none. Write name<TAB>synset or gloss."
    if line.count("\t") == 1 and not entry.synset and not entry.gloss:
        yield "a synset or gloss must stand after the tab; there is none. Add it or remove the tab."
    controls = sorted({character for character in line if character != "\t" and is_control(character)})
    if controls:
        listed = ", ".join(f"U+{ord(character):04X}" for character in controls)
        yield f"a line must hold no control characters; got {listed} in {shown(line)}. Remove them."
    if len(entry.name) > MAX_NAME_CHARACTERS:
        yield _too_long("class name", entry.name, MAX_NAME_CHARACTERS)
    if entry.gloss and len(entry.gloss) > MAX_GLOSS_CHARACTERS:
        yield _too_long("gloss", entry.gloss, MAX_GLOSS_CHARACTERS)


def _too_long(part: str, text: str, most: int) -> str:
    return f"a {part} must have at most {most} characters; got {len(text)} in {shown(text)}. Shorten it."


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
