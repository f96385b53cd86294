"""WordNet's noun synsets from nothing but PyPI: names of all, and those of ImageNet-21k with their glosses.

The names of all were cut out of WordNet 3.0's data.noun and come with evenly, WordNet's notice above them.
"""

import gzip
import importlib.util
from pathlib import Path

import pyarrow as pa

from evenly.installing import install_command, reinstall_command
from evenly.storage.errors import StorageError

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
