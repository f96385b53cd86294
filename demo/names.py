"""Names of the OpenMoji pictures in words, with synonyms: from the `emoji` package, else from Unicode.

A picture is known by its code: upper-case hexadecimal code points joined by "-", as OpenMoji names its files.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from typing import Any

TONES = {"1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark", "1F3FF": "dark"}
LANGUAGES = ("de", "es", "fr", "it", "pt", "ru", "tr")

_JOINER, _SELECTOR = "200D", "FE0F"
_TONE = re.compile(r"\s*\b(light|medium-light|medium|medium-dark|dark) skin tone\b")
_COLOURS = {
    "1F7E5": "red", "1F7E6": "blue", "1F7E7": "orange", "1F7E8": "yellow", "1F7E9": "green", "1F7EA": "purple",
    "1F7EB": "brown",
}  # fmt: skip
_COLOURED = {"1F3F3": "pale {} flag", "1F3F4": "{} flag", "1FAD9": "{} jar", "2B21": "{} hexagon"}
_REWRITTEN = (
    (re.compile(r"keycap (\S+)"), r"keycap \1"),
    (re.compile(r"couple with heart (\w+) (\w+)"), r"couple with heart, \1 and \2"),
    (re.compile(r"kiss (\w+) (\w+)"), r"kiss between \1 and \2"),
    (re.compile(r"(man|woman|person) (red hair|curly hair|white hair|blond hair)"), r"\1 with \2"),
    (re.compile(r"(man|woman|person) beard"), r"\1 with beard"),
    (re.compile(r"(man|woman|person) bald"), r"bald \1"),
)
# Sequences that OpenMoji adds to Unicode's, named by what the pictures show.
_ADDED = {
    "1F3F3-200D-1F7E6-200D-1F7E9-200D-1F7E8": "flag of the Berber people",
    "1F3F3-FE0F-200D-1F4CC-200D-2699-FE0F": "grey flag with a gear",
    "1F3F3-FE0F-200D-1F7E6-200D-1F30C": "blue flag with a laurel wreath",
    "1F3F3-FE0F-200D-1F7E9-200D-2B50-200D-1F7E9": "flag of the Esperanto language",
    "1F3F3-FE0F-200D-1F9CA-200D-1F48E": "true south flag of Antarctica",
    "1F3F3-FE0F-200D-2B1C": "plain white flag",
    "1F3F4-FE0F-200D-1F170-FE0F": "flag of anarchism",
    "1F3F4-FE0F-200D-1F7E9-200D-2B50": "green flag with a black star",
    "1F431-200D-1F4BB": "cat with a laptop",
    "25C9": "blue eye of a robot",
    "25C9-FE0F-200D-1F534": "red eye of a robot",
    "25C9-FE0F-200D-1F534-200D-25AE-FE0F": "computer with a red eye",
    "2B21-FE0F-200D-1F308": "rainbow hexagon",
}
# The regions of ISO 3166-2 that OpenMoji draws flags of beyond England, Scotland and Wales.
_REGIONS = {
    "caon": "Ontario", "caqc": "Quebec", "debe": "Berlin", "deby": "Bavaria", "esan": "Andalusia", "esar": "Aragon",
    "esas": "Asturias", "escb": "Cantabria", "esce": "Ceuta", "escl": "Castile and León", "escm": "Castile-La Mancha",
    "escn": "the Canary Islands", "esct": "Catalonia", "esex": "Extremadura", "esga": "Galicia",
    "esib": "the Balearic Islands", "esmc": "Murcia", "esmd": "Madrid", "esml": "Melilla", "esnc": "Navarre",
    "espv": "the Basque Country", "esri": "La Rioja", "esvc": "Valencia", "frbre": "Brittany", "itba": "Bari",
    "mxque": "Querétaro", "mxyuc": "Yucatán", "usal": "Alabama", "usca": "California", "usco": "Colorado",
    "usdc": "Washington, D.C.", "ustx": "Texas",
}  # fmt: skip
# Not fit for a caption, or names of something else than what is seen.
_LEFT_OUT = {"fu", "shit", "hankey", "harambe", "koko", "sa", "flags", "date", "ng man", "ng woman", "person"}


@dataclass(frozen=True)
class Name:
    """The subject of a picture.

    text: English noun phrase without article; "" where the code point is in a private use area and so has no name.
    synonyms: other English names. foreign: language code -> name.
    """

    text: str
    synonyms: tuple[str, ...] = ()
    foreign: dict[str, str] = field(default_factory=dict)


def name_picture(code: str) -> Name:
    """The name of the picture `code`, with its skin tones in words after a comma."""
    points = [point for point in code.split("-") if point != _SELECTOR]
    if any(unicodedata.category(chr(int(point, 16))) == "Co" for point in points):
        return Name("")
    entry = _entries().get("".join(chr(int(point, 16)) for point in points))
    if entry is None:
        return Name(_ADDED.get(code) or _region_flag(points) or _spelt_out(points))
    text = _words(entry["en"])
    tones = list(dict.fromkeys(TONES[point] for point in points if point in TONES))
    bare = _TONE.sub("", text).strip()
    if bare:
        text = _reworded(bare, points, entry) + _tone_words(tones)
    foreign = {language: _words(entry[language]) for language in LANGUAGES if entry.get(language)}
    return Name(text, _synonyms(text, entry) if not tones else (), foreign)


def toneless(code: str) -> str:
    """`code` without its skin tones: the picture of which it is a variant."""
    return "-".join(point for point in code.split("-") if point not in TONES) or code


def same_subject(code: str) -> str:
    """A code shared by all variants of one subject: skin tone, gender, direction and presentation are taken out."""
    points = [point for point in code.split("-") if point not in {*TONES, _SELECTOR, "2640", "2642", "27A1"}]
    points = ["1F9D1" if point in {"1F468", "1F469"} else point for point in points]
    while points and points[-1] == _JOINER:
        points.pop()
    joined = "-".join(points) or code
    return re.sub(f"({_JOINER}-)+", f"{_JOINER}-", joined)


@cache
def _entries() -> dict[str, dict[str, Any]]:
    """The `emoji` package's records by sequence without variation selectors, fully qualified ones first."""
    import emoji  # 10 MB of names, needed only while a web is made

    emoji.config.load_language(list(LANGUAGES))
    entries: dict[str, dict[str, Any]] = {}
    for sequence, record in sorted(emoji.EMOJI_DATA.items(), key=lambda item: (item[1]["status"] != 2, item[0])):
        entries.setdefault(sequence.replace("\ufe0f", ""), record)
    return entries


def _words(label: str) -> str:
    return label.strip(":").replace("_", " ").replace("\u2019", "'").replace("\u201c", "").replace("\u201d", "")


def _reworded(text: str, points: list[str], entry: dict[str, Any]) -> str:
    """The package's name as a noun phrase: countries become flags, people lists get their commas."""
    is_country = all(0x1F1E6 <= int(point, 16) <= 0x1F1FF for point in points)
    if is_country or (points[0] == "1F3F4" and points[-1] == "E007F"):
        return f"flag of {text}"
    if text.startswith("keycap"):
        return f"keycap {_words(entry['alias'][-1]).removeprefix('keycap ')}"
    if text.startswith("family "):
        members = text.split()[1:]
        return f"family of {', '.join(members[:-1])} and {members[-1]}" if members[1:] else f"family of {members[0]}"
    for pattern, replacement in _REWRITTEN:
        if pattern.fullmatch(text):
            return pattern.sub(replacement, text)
    return text


def _tone_words(tones: list[str]) -> str:
    if not tones:
        return ""
    return f", {tones[0]} skin tone" if len(tones) == 1 else f", {' and '.join(tones)} skin tones"


def _synonyms(text: str, entry: dict[str, Any]) -> tuple[str, ...]:
    aliases = [_words(alias) for alias in entry.get("alias", ())]
    excluded = {text.lower(), *_LEFT_OUT}
    return tuple(
        alias
        for alias in dict.fromkeys(aliases)
        if alias.lower() not in excluded and len(alias) > 2 and re.fullmatch(r"[a-zA-Z][a-zA-Z '-]+", alias)
    )


def _region_flag(points: list[str]) -> str:
    """Give "flag of Texas" for a black flag followed by tag letters, "" for anything else."""
    if points[0] != "1F3F4" or points[-1] != "E007F":
        return ""
    letters = "".join(chr(int(point, 16) - 0xE0000) for point in points[1:-1])
    return f"flag of {_REGIONS.get(letters, f'region {letters[:2].upper()}-{letters[2:].upper()}')}"


def _spelt_out(points: list[str]) -> str:
    """The names of the parts of a sequence, joined by "with" and "and"; a coloured square colours what it follows."""
    parts = [point for point in points if point != _JOINER]
    if len(parts) == 2 and parts[0] in _COLOURED and parts[1] in _COLOURS:
        return _COLOURED[parts[0]].format(_COLOURS[parts[1]])
    names = [_part_name(part) for part in parts]
    return names[0] + (f" with {' and '.join(names[1:])}" if names[1:] else "")


def _part_name(point: str) -> str:
    entry = _entries().get(chr(int(point, 16)))
    return _words(entry["en"]) if entry else unicodedata.name(chr(int(point, 16)), f"symbol {point}").lower()
