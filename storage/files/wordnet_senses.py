"""The first sense of each word, from the database files of WordNet 3.0, and the synsets of ImageNet-21k, from timm."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evenly.storage.errors import InputError
from evenly.storage.files.wordnet import timm_folder
from evenly.storage.files.wordnets import PARTS_OF_SPEECH, installed_wordnet
from evenly.storage.tables.arrow_files import read_trouble

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
    senses = {part: dict(_index(_lines(folder / f"index.{part}", digest))) for part in PARTS_OF_SPEECH}
    exceptions = {part: _exceptions(_lines(folder / f"{part}.exc", digest)) for part in PARTS_OF_SPEECH}
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
    return frozenset(int(line[1:]) for line in _lines(timm_folder() / _ENTITIES, digest) if line)


def _lines(path: Path, digest: "hashlib._Hash") -> list[str]:
    """The lines of a file, whose content goes into `digest`."""
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = read_trouble(error)
        raise InputError(f"`wordnet` must be readable text; {reason}: `{path}`. Check that it is whole.") from None
    digest.update(hashlib.sha256(content).digest())
    return text.split("\n")
