"""Counts of words, pairs of words and titles: from packages, or from files that people have.

Package data are read as files, or by the package's own reader; nothing of them is run at import.
"""

import gzip
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from evenly.installing import install_extra
from evenly.storage.errors import InputError
from evenly.storage.tables.arrow_files import first_line, table_of_rows
from evenly.storage.tables.hashing import file_hash

GOOGLE_WORDS = 1_024_908_267_229
"""Words of Google's corpus of 2006, whose most frequent ones wordsegment and symspellpy hold."""

WORDFREQ_WORDS = 10**10
"""wordfreq tells shares, not counts: they are given as occurrences in this many words. The rarest of its long lists
occur 102 times in so many, so MetaCLIP's least count of 100 keeps them all."""

_LINE_BYTES = 100_000
_WORDS = {"wordsegment": ("unigrams.txt", "\t"), "symspellpy": ("frequency_dictionary_en_*.txt", " ")}
_PAIRS = {"wordsegment": ("bigrams.txt", "\t"), "symspellpy": ("frequency_bigramdictionary_en_*.txt", " ")}
_COUNTS = pa.schema({"entry": pa.string(), "count": pa.int64()})
_REFUSED = pa.schema({"entry": pa.string(), "count": pa.int64(), "why": pa.string()})
_SHAPE = re.compile(r"\d[\d.,]+")  # wordfreq counts numbers by their shape: 1999 as 0000


@dataclass(frozen=True, kw_only=True)
class Counts:
    """table: [entry, count int64], entries maybe repeated. total: words of the corpus they were counted in.

    refused: [entry, count, why], what stands in the data and is no word. origin: package and version, or file and hash.
    """

    table: pa.Table
    refused: pa.Table
    total: int
    origin: str


def read_words(source: str, language: str) -> Counts:
    """Counts of words: `wordfreq`, `wordsegment`, `symspellpy`, or a file of word, tab, count. Raises InputError."""
    if source == "wordfreq":
        return _wordfreq(language)
    if source in _WORDS:
        return _package("unigrams", source, language, _WORDS[source])
    return _file("unigrams", source)


def read_pairs(source: str, language: str) -> Counts:
    """Counts of pairs of words: `wordsegment`, `symspellpy`, or a file of two words, tab, count. Raises InputError.

    The total of a package is that of its words; a file's is the sum of its pairs.
    """
    return _package("bigrams", source, language, _PAIRS[source]) if source in _PAIRS else _file("bigrams", source)


def is_package(source: str) -> bool:
    """Whether `source` names a package that counts come from, not a file."""
    return source in {"wordfreq", *_WORDS}


def read_titles(path: Path) -> tuple[pa.Table, str]:
    """[entry, views int64] and the origin: one title per line, or title, tab, views, which must be all or none."""
    titles: list[str] = []
    views: list[int | None] = []
    for number, line in _lines("titles", path):
        title, tab, count = line.rpartition("\t")
        if titles and bool(tab) != (views[0] is not None):
            raise InputError(
                f"`titles` must have views on all lines or on none; got another at `{path}`, line {number}."
            )
        titles.append(title if tab else line)
        views.append(_count("titles", count, path, number) if tab else None)
    if not titles:
        raise InputError(f"`titles` must hold at least one line; got none at `{path}`. Fill it or leave it out.")
    return pa.table({"entry": pa.array(titles, pa.string()), "views": pa.array(views, pa.int64())}), _origin(path)


def _wordfreq(language: str) -> Counts:
    if importlib.util.find_spec("wordfreq") is None:
        raise _not_installed("unigrams", "wordfreq")
    import wordfreq

    languages = wordfreq.available_languages("best")
    if language not in languages:
        raise InputError(
            f"`unigrams` wordfreq must be in a language that it has; got `{language}`. Give a file of your own counts. "
            f"It has {', '.join(sorted(languages))}."
        )
    words = [
        (word, cents) for cents, entries in enumerate(wordfreq.get_frequency_list(language, "best")) for word in entries
    ]
    counts = {word: round(WORDFREQ_WORDS * 10 ** (-cents / 100)) for word, cents in words}
    shapes = {word: "digits_replaced" for word in counts if _SHAPE.search(word)}
    return _split(list(counts.items()), shapes, WORDFREQ_WORDS, f"wordfreq {version('wordfreq')}, {language}")


def _package(field: str, package: str, language: str, data: tuple[str, str]) -> Counts:
    """Counts of a package, from its data file: a pattern of its name, and what stands before a count."""
    pattern, separator = data
    if language != "en":
        raise InputError(
            f"`{field}` {package} must be for English, all that it has; got `{language}`. Give a file of your own "
            "counts."
        )
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _not_installed(field, package)
    path = next(iter(sorted(Path(spec.submodule_search_locations[0]).glob(pattern))), None)
    if path is None:
        raise InputError(f"{package} must hold a file {pattern}; it does not. Install another version of it.")
    rows = list(_rows(field, path, separator))
    marks = {entry: "sentence_mark" for entry, _ in rows if "<s>" in entry.lower()}
    return _split(rows, marks, GOOGLE_WORDS, f"{package} {version(package)}")


def _file(field: str, source: str) -> Counts:
    path = Path(source).expanduser()
    if not path.is_file():
        choices = ", ".join(_PAIRS if field == "bigrams" else ("wordfreq", *_WORDS))
        raise InputError(f"`{field}` must be one of {choices}, or a file; got `{source}`. Correct the path.")
    rows = list(_rows(field, path, "\t"))
    return _split(rows, {}, sum(count for _, count in rows), _origin(path))


def _rows(field: str, path: Path, separator: str) -> Iterator[tuple[str, int]]:
    pairs = field == "bigrams"
    for number, line in _lines(field, path):
        entry, _, count = (part.strip() for part in line.rpartition(separator))
        if not entry or (pairs and len(entry.split(" ")) != 2):
            wanted = "two words with a space between" if pairs else "a word"
            raise InputError(
                f"`{field}` must have {wanted}, a tab and a count on each line; got {line!r:.80} at `{path}`, line "
                f"{number}. Write it in this form."
            )
        yield entry, _count(field, count, path, number)


def _count(field: str, text: str, path: Path, number: int) -> int:
    if not re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII):
        raise InputError(
            f"counts of `{field}` must be whole numbers below 10^18; got {text!r:.40} at `{path}`, line {number}. "
            "Correct it."
        )
    return int(text)


def _split(rows: Sequence[tuple[str, int]], refused: Mapping[str, str], total: int, origin: str) -> Counts:
    kept = [(entry, count) for entry, count in rows if entry not in refused]
    refused_rows = [(entry, count, refused[entry]) for entry, count in rows if entry in refused]
    return Counts(
        table=table_of_rows(kept, _COUNTS), refused=table_of_rows(refused_rows, _REFUSED), total=total, origin=origin
    )


def _lines(field: str, path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, also with .gz, counted from 1; blank ones pass."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            number = 0
            while line := stream.readline(_LINE_BYTES + 1):
                number += 1
                if len(line) > _LINE_BYTES:
                    raise InputError(
                        f"lines of `{field}` must have at most {_LINE_BYTES:,} bytes; got more at `{path}`, line "
                        f"{number}. Check that this is such a file."
                    )
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n"):
                    yield number, text
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else first_line(error)
        raise InputError(f"`{field}` must be readable text; {reason}: `{path}`. Check that it is whole.") from None


def _not_installed(field: str, package: str) -> InputError:
    return InputError(
        f"`{field}` {package} needs the package {package}; it is not installed. Run "
        f"`{install_extra('metadata')}`, or give a file of counts."
    )


def _origin(path: Path) -> str:
    return f"{path.name} sha256 {file_hash(path)[:16]}"
