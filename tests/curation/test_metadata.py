import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import ColumnsError
from curation.metadata import build_concepts, folded_concepts, unmatchable


def synsets_of(*rows: tuple[str, list[str]]):
    names, lemmas = [row[0] for row in rows], [row[1] for row in rows]
    table = {"synset": pa.array(names, pa.string()), "lemmas": pa.array(lemmas, pa.list_(pa.string()))}
    return pa.table(table | {"gloss": pa.array([""] * len(rows))})


SYNSETS = synsets_of(
    ("n01", ["tabby", "tabby_cat"]), ("n02", ["queen", "tabby"]), ("n03", ["U.S."]), ("n04", ["!", " ", "x" * 300])
)


def test_entries_stand_in_order_of_first_mention_with_all_their_synsets():
    concepts = build_concepts(SYNSETS)
    assert concepts.entries == ["tabby", "tabby cat", "queen", "U.S."]
    assert concepts.table["synsets"].to_pylist() == [["n01", "n02"], ["n01"], ["n02"], ["n03"]]
    assert concepts.table["sources"].to_pylist() == [["wordnet"]] * 4


def test_numbers_come_first_and_keep_both_sources():
    concepts = build_concepts(synsets_of(("n01", ["99", "hundred"])), numbers=True)
    assert concepts.entries == [*map(str, range(100)), "hundred"]
    assert concepts.table["sources"].to_pylist()[98:] == [["number"], ["number", "wordnet"], ["wordnet"]]


def test_what_is_left_out_is_listed_with_its_reason():
    left_out = build_concepts(SYNSETS).left_out.to_pylist()
    assert left_out == [
        {"entry": "!", "why": "single_punctuation"},
        {"entry": "", "why": "empty"},
        {"entry": "x" * 300, "why": "too_long"},
    ]


def test_identity_names_the_ordered_list():
    known = build_concepts(synsets_of(("n01", ["dog", "cat"]))).identity
    assert known == "41ed26315f7f1eef1e63a9ef182cf01416c63114e0a9bd1a50a7e08b9de5f720"
    assert build_concepts(synsets_of(("n01", ["dog"]), ("n02", ["cat"]))).identity == known
    assert build_concepts(synsets_of(("n01", ["cat", "dog"]))).identity != known
    assert build_concepts(synsets_of(("n01", ["dogcat"]))).identity != known


def test_entries_that_no_caption_can_match_are_reported():
    assert unmatchable(build_concepts(SYNSETS)).to_pylist() == [{"entry": "U.S.", "why": "mark_inside_a_word"}]
    assert unmatchable(build_concepts(SYNSETS), "normalized").num_rows == 0


@given(st.lists(st.tuples(st.text(max_size=3), st.lists(st.text(max_size=4), max_size=4)), max_size=6))
def test_every_lemma_is_an_entry_or_left_out(rows):
    concepts = build_concepts(synsets_of(*rows))
    lemmas = {lemma.replace("_", " ").strip() for _, named in rows for lemma in named}
    assert set(concepts.entries) | set(concepts.left_out["entry"].to_pylist()) == lemmas
    assert len(set(concepts.entries)) == len(concepts.entries)


def test_table_without_lemmas_is_refused():
    with pytest.raises(ColumnsError, match="column 'lemmas'"):
        build_concepts(pa.table({"synset": ["n01"]}))


def test_entries_of_several_languages_become_one_where_they_stand_first():
    columns = {"entry": ["taxi", "dog", "chien", "taxi"], "language": ["en", "en", "fr", "fr"], "count": [1, 2, 3, 4]}
    concepts = folded_concepts(pa.table(columns), left_out=pa.table({"entry": []}), identity="x")
    assert concepts.table.to_pylist() == [
        {"entry": "taxi", "count": 1, "languages": ["en", "fr"]},
        {"entry": "dog", "count": 2, "languages": ["en"]},
        {"entry": "chien", "count": 3, "languages": ["fr"]},
    ]
