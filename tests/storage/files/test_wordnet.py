import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.storage.files.wordnet import NOUN_SYNSETS, load_noun_synsets, load_wordnet_nouns


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
    code = "import sys; from evenly.storage.files.wordnet import load_noun_synsets as load; load(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"timm", "torch"} & set(modules)
