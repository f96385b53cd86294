"""Files in the three forms, a few lines each; `slow` reads the whole of Debian's WordNet where it is installed."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.curation.concepts.concept_list import build_list
from evenly.curation.concepts.sources import MetadataRule
from evenly.storage.errors import InputError
from evenly.storage.files.wordnets import (
    DEBIAN,
    NOUN_SYNSETS,
    PARTS_OF_SPEECH,
    load_noun_synsets,
    load_wordnet_nouns,
    read_wordnet,
)

LICENCE = "  1 This software and database is being provided to you\n"
DATA = {
    "noun": '00001740 03 n 02 entity 0 New_York 0 001 ~ 00001930 n 0000 | that which is; "a | b"  \n',
    "verb": "00001740 29 v 01 breathe 0 000 | draw air  \n",
    "adj": "00002312 00 s 02 galore(ip) 0 dorsal 4 001 ;c 06047178 n 0000 | facing away  \n",
    "adv": "",
}


@pytest.fixture
def database(tmp_path):
    for part in PARTS_OF_SPEECH:
        (tmp_path / f"data.{part}").write_text(LICENCE + DATA[part])
    return tmp_path


def test_a_database_gives_nouns_verbs_adjectives_adverbs_in_the_order_of_its_files(database):
    assert read_wordnet(str(database)).synsets.to_pylist() == [
        {"synset": "n00001740", "lemmas": ["entity", "New_York"], "gloss": 'that which is; "a | b"'},
        {"synset": "v00001740", "lemmas": ["breathe"], "gloss": "draw air"},
        {"synset": "s00002312", "lemmas": ["galore", "dorsal"], "gloss": "facing away"},
    ]


def test_an_origin_is_the_content_and_not_the_place(database, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "dict"
    other.mkdir()
    for part in PARTS_OF_SPEECH:
        (other / f"data.{part}").write_text(LICENCE + DATA[part])
    found = read_wordnet(str(other.parent))
    assert found.origin == read_wordnet(str(database)).origin
    assert found.place == str(other)


def test_auto_follows_the_environment_and_ends_at_the_nouns_of_evenly(database, monkeypatch):
    monkeypatch.setattr("evenly.storage.files.wordnets.DEBIAN", "/nowhere")
    monkeypatch.setenv("WNSEARCHDIR", str(database))
    assert read_wordnet("auto").place == str(database)
    monkeypatch.delenv("WNSEARCHDIR")
    monkeypatch.delenv("WNHOME", raising=False)
    assert read_wordnet("auto").origin == read_wordnet("nouns").origin == "WordNet 3.0, nouns"
    assert read_wordnet("timm").origin.startswith("WordNet nouns of timm")


def test_a_multilingual_table_gives_its_lemmas_and_nothing_else(tmp_path):
    path = tmp_path / "wn-data-fra.tab"
    path.write_text(
        "# WOLF\tfra\thttp://x\tCeCILL-C\n"
        "00001930-n\tfra:lemma\tGAP!\n"
        "00001837-r\tfra:lemma\tap. JC\n"
        "00001740-n\tfra:lemma\tentité\n"
        "00001740-n\tfra:def\t0\tce qui est\n"
        "00001740-n\tlemma\tchose\n"
        "00001740-n\tarb:lemma:root\troot\n"
    )
    assert read_wordnet(str(path)).synsets.select(["synset", "lemmas"]).to_pylist() == [
        {"synset": "n00001740", "lemmas": ["entité", "chose"]},
        {"synset": "r00001837", "lemmas": ["ap. JC"]},
    ]


def test_any_other_file_is_one_lemma_per_line(tmp_path):
    (tmp_path / "lemmas.txt").write_text("chien\n\npomme_de_terre\n")
    assert read_wordnet(str(tmp_path / "lemmas.txt")).synsets["lemmas"].to_pylist() == [["chien"], ["pomme_de_terre"]]


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("gone", None, "must be auto, nouns, timm, a folder or a file; got .*gone"),
        ("a.tab", b"chien\n", r"must be a synset such as 00001740-n.*'chien'.*line 1"),
        ("a.txt", b"\xff", "it is not UTF-8"),
    ],
)
def test_what_is_no_wordnet_is_refused(tmp_path, name, text, match):
    if text is not None:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError, match=match):
        read_wordnet(str(tmp_path / name))


def test_a_folder_that_lacks_a_file_or_holds_a_broken_line_is_refused(database):
    (database / "data.verb").write_text("00001740 29 v 02 breathe 0 | draw air\n")
    with pytest.raises(InputError, match=r"lines must be synsets.*data.verb`, line 1"):
        read_wordnet(str(database))
    (database / "data.adv").unlink()
    with pytest.raises(InputError, match=r"without data.adv"):
        read_wordnet(str(database))


@pytest.mark.slow
@pytest.mark.skipif(not Path(DEBIAN, "data.noun").is_file(), reason="needs Debian's wordnet-base")
def test_first_names_and_numbers_of_wordnet_3_are_the_86654_that_metaclip_counts():
    """500,000 entries less 251,465 words, 100,646 pairs and 61,235 titles (arXiv:2309.16671, table 1)."""
    synsets = read_wordnet(DEBIAN).synsets
    assert synsets.num_rows == 117_659
    assert len(build_list(MetadataRule(lemmas="first"), synsets=synsets).entries) == 86_654
    assert len(build_list(MetadataRule(), synsets=synsets).entries) == 148_730


@pytest.fixture(scope="module")
def synsets() -> pa.Table:
    return load_noun_synsets()


def test_all_noun_synsets_come_in_the_order_of_their_ids(synsets):
    ids = synsets["synset"].to_pylist()
    assert len(ids) == len(set(ids)) == NOUN_SYNSETS
    assert ids == sorted(ids)
    assert synsets.schema == pa.schema(
        {"synset": pa.string(), "lemmas": pa.list_(pa.string()), "gloss": pa.string()},
    )


def test_every_synset_has_lemmas_and_a_gloss(synsets):
    assert synsets["lemmas"].null_count == synsets["gloss"].null_count == 0
    assert all(lemmas and all(lemmas) for lemmas in synsets["lemmas"].to_pylist())
    assert all(synsets["gloss"].to_pylist())


def test_the_names_of_all_nouns_agree_with_those_of_imagenet_21k(synsets):
    nouns = load_wordnet_nouns()
    assert len(nouns) == len(set(nouns["synset"].to_pylist())) == 82_115
    named = dict(zip(nouns["synset"].to_pylist(), nouns["lemmas"].to_pylist(), strict=True))
    differ = [
        synset
        for synset, lemmas in zip(synsets["synset"].to_pylist(), synsets["lemmas"].to_pylist(), strict=True)
        if [lemma.replace("_", " ") for lemma in named[synset]] != lemmas
    ]
    assert len(differ) < 5


@pytest.mark.parametrize(
    ("synset", "lemmas", "start"),
    [
        ("n02129604", ["tiger", "Panthera tigris"], "large feline of forests"),
        ("n03345487", ["fire engine", "fire truck"], "any of various large trucks"),
        ("n00004475", ["organism", "being"], "a living thing that has (or can develop)"),
    ],
)
def test_known_synsets_read_as_in_wordnet(synsets, synset, lemmas, start):
    row = synsets.filter(pc.equal(synsets["synset"], synset)).to_pylist()[0]
    assert row["lemmas"] == lemmas
    assert row["gloss"].startswith(start)


def test_quotation_marks_in_glosses_survive(synsets):
    glosses = [gloss for gloss in synsets["gloss"].to_pylist() if '"' in gloss]
    assert glosses
    assert all("\t" not in gloss and "\n" not in gloss for gloss in glosses)


def test_reading_them_imports_neither_timm_nor_torch():
    code = (
        "import sys; from evenly.storage.files.wordnets import load_noun_synsets as load; load(); print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"timm", "torch"} & set(modules)
