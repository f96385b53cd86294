"""Debian's WordNet 3.0 where it is installed, and a few lines of a database that is none of ImageNet's."""

from pathlib import Path

import pytest

from evenly.curation.filters.caption_entities import FirstSenses
from evenly.storage.errors import InputError
from evenly.storage.files.wordnets import DEBIAN, PARTS_OF_SPEECH, read_senses

LICENCE = "  1 This software and database is being provided to you\n"
installed = pytest.mark.skipif(not Path(DEBIAN, "index.noun").is_file(), reason="wordnet-base is not installed")


@pytest.fixture(scope="module")
def senses():
    found = read_senses(DEBIAN)
    return FirstSenses(first=found.first, exceptions=found.exceptions, entities=found.entities)


@installed
@pytest.mark.parametrize(
    ("word", "offset", "is_entity"),
    [
        ("dog", 2084071, True),
        ("Dogs", 2084071, True),
        ("plant", 3956922, True),  # the works come before the living thing
        ("can", 2946921, True),  # the tin: the noun comes before the verb
        ("men", 8212347, False),  # the work force
        ("geese", 1855672, True),
        ("happily", 50297, False),
        ("dog.", None, False),
    ],
)
def test_first_synsets_are_those_of_wordnet(senses, word, offset, is_entity):
    assert senses.first_synset(word) == offset
    assert (offset in senses.entities) == is_entity


@installed
def test_imagenet_has_21841_synsets(senses):
    assert len(senses.entities) == 21_841


def database(folder: Path, noun: str) -> Path:
    for part in PARTS_OF_SPEECH:
        (folder / f"index.{part}").write_text(LICENCE + (noun if part == "noun" else ""))
        (folder / f"{part}.exc").write_text("geese goose\n")
    return folder


def test_another_wordnet_is_refused_since_its_offsets_mean_other_things(tmp_path):
    with pytest.raises(InputError, match=r"WordNet 3\.0.*lacks 21,840 of its 21,841"):
        read_senses(str(database(tmp_path, "dog n 2 0 2 0 02084071 00000001  \n")))


def test_a_broken_index_is_refused(tmp_path):
    with pytest.raises(InputError, match="index of WordNet; got 'dog n"):
        read_senses(str(database(tmp_path, "dog n\n")))


def test_no_wordnet_is_refused_with_the_remedy(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"index\.noun.*apt-get install wordnet-base"):
        read_senses(str(tmp_path))
    monkeypatch.setattr("evenly.storage.files.wordnets.DEBIAN", "/nowhere")
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    monkeypatch.delenv("WNHOME", raising=False)
    with pytest.raises(InputError, match="got `auto`"):
        read_senses("auto")
