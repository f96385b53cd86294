import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.concepts.concept_list import Concepts, build_concepts, build_list, folded_concepts, unmatchable
from evenly.curation.concepts.matching import unmatchable_because
from evenly.curation.concepts.sources import MetadataRule, offer_bigrams, offer_titles, offer_unigrams
from evenly.curation.errors import ColumnsError
from evenly.storage.files.concept_lists import identity_of

ROOT = Path(__file__).parents[3]


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


def test_nouns_come_without_words_of_grammar_and_those_in_lower_case_first():
    synsets = synsets_of(("n01", ["CAT", "A", "a", "U.S."]), ("n02", ["cat", "OR", "no.", "R_and_B", "here_and_now"]))
    concepts = build_concepts(synsets, nouns=True)
    assert concepts.entries == ["cat", "CAT", "U.S.", "R and B"]
    assert sorted((row["entry"], row["why"]) for row in concepts.left_out.to_pylist()) == [
        ("A", "single_letter"),
        ("OR", "function_word"),
        ("a", "single_letter"),
        ("here and now", "function_word"),
        ("no.", "function_word"),
    ]


def test_another_noun_with_its_article_is_no_noun_of_its_own():
    lemmas = ["A'man", "an_eye", "the_City", "The_Hague", "A-team", "theory", "T'ai_Chi", "city", "man", "eye", "team"]
    concepts = build_concepts(synsets_of(("n01", lemmas)), nouns=True)
    assert concepts.entries == ["theory", "city", "man", "eye", "team", "The Hague", "T'ai Chi"]
    with_article = ["A'man", "A-team", "an eye", "the City"]
    assert sorted(concepts.left_out["entry"].to_pylist()) == with_article
    assert set(concepts.left_out["why"].to_pylist()) == {"article_and_entry"}
    assert set(with_article) < set(build_concepts(synsets_of(("n01", lemmas))).entries)


def test_a_built_list_counts_entries_with_an_article_as_left_out_unless_they_are_words_of_your_own():
    synsets = synsets_of(("n01", ["city", "the_City", "the_boot", "boot"]))
    rule = MetadataRule.of_language("en", numbers=False)
    built = build_list(rule, own_words=["the boot"], synsets=synsets)
    assert built.entries == ["the boot", "city", "boot"]
    assert built.counts["wordnet"] == {"offered": 4, "kept": 3, "new": 2, "left_out": {"article_and_entry": 1}}
    assert "the City" in build_list(replace(rule, function_words=True), synsets=synsets).entries


def test_an_english_list_has_words_of_grammar_only_where_they_are_asked_for():
    synsets = synsets_of(("n01", ["in", "eye"]))
    words = pa.table({"entry": ["of", "eye", "x"], "count": [10**6] * 3})
    rule = MetadataRule.of_language("en", numbers=False)
    built = build_list(rule, own_words=["the"], synsets=synsets, offers=[offer_unigrams(words, rule)])
    assert built.entries == ["the", "eye"]
    assert built.counts["unigram"]["left_out"] == {"function_word": 1, "single_letter": 1}
    asked = MetadataRule.of_language("en", numbers=False, function_words=True)
    assert build_list(asked, synsets=synsets).entries == ["in", "eye"]
    assert MetadataRule.of_language("fr").function_words


def test_what_is_left_out_is_listed_with_its_reason():
    left_out = build_concepts(SYNSETS).left_out.to_pylist()
    assert left_out == [
        {"entry": "!", "why": "single_punctuation"},
        {"entry": "", "why": "empty"},
        {"entry": "x" * 300, "why": "too_long"},
    ]


def test_256_characters_are_an_entry_and_257_are_none():
    concepts = build_concepts(synsets_of(("n01", ["x" * 256, "y" * 257])))
    assert concepts.entries == ["x" * 256]
    assert concepts.left_out.to_pylist() == [{"entry": "y" * 257, "why": "too_long"}]


def test_identity_names_the_ordered_list():
    known = build_concepts(synsets_of(("n01", ["dog", "cat"]))).identity
    assert known == "41ed26315f7f1eef1e63a9ef182cf01416c63114e0a9bd1a50a7e08b9de5f720"
    assert build_concepts(synsets_of(("n01", ["dog"]), ("n02", ["cat"]))).identity == known
    assert build_concepts(synsets_of(("n01", ["cat", "dog"]))).identity != known
    assert build_concepts(synsets_of(("n01", ["dogcat"]))).identity != known


def test_entries_that_no_caption_can_match_are_reported():
    assert unmatchable(build_concepts(SYNSETS)).to_pylist() == [{"entry": "U.S.", "why": "mark_inside_a_word"}]
    assert unmatchable(build_concepts(SYNSETS), "normalized").num_rows == 0
    twice = build_concepts(synsets_of(("n01", ["China", "dog", "china"]), ("n02", ["dogs"])))
    one = {"entry": "china", "why": "same_as_an_earlier_entry", "same_as": "China"}
    assert unmatchable(twice, "normalized").to_pylist() == [one]
    two = {"entry": "dogs", "why": "same_as_an_earlier_entry", "same_as": "dog"}
    assert unmatchable(twice, "normalized", plurals=True).to_pylist() == [one, two]
    assert unmatchable(twice).num_rows == 0


@pytest.mark.parametrize("mode", ["faithful", "normalized"])
@given(
    st.lists(
        st.text(st.sampled_from("ab .,;:?!`\t\n\r-'é·²。💡\u00ad"), min_size=1, max_size=6), max_size=8, unique=True
    )
)
def test_an_entry_is_reported_exactly_where_it_can_match_nothing(mode, entries):
    kinds = pa.schema({"entry": pa.string(), "why": pa.string()})
    concepts = Concepts(
        table=pa.table({"entry": pa.array(entries, pa.string())}), left_out=kinds.empty_table(), identity=""
    )
    found = {row["entry"] for row in unmatchable(concepts, mode).to_pylist() if not row.get("same_as")}
    assert found == {entry for entry in entries if unmatchable_because(entry, mode)}


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


WORDS = pa.table({"entry": ["dog", "queen", "of"], "count": [900, 800, 700]})
PAIRS = pa.table({"entry": ["black dog", "of dog"], "count": [5, 1]})
TITLES = pa.table({"entry": ["Black_dog", "Queen", "99"], "views": [80, 71, 70]})


def english(rule, **sources):
    offers = [
        offer_unigrams(WORDS, rule),
        offer_titles(TITLES, rule),
        offer_bigrams(PAIRS, pa.table({"entry": ["black", "dog", "of"], "count": [6, 10, 700]}), 2**30, rule),
    ]
    return build_list(rule, synsets=SYNSETS, offers=offers, **sources)


RULE = MetadataRule(min_pmi=20, numbers=False)


def test_sources_fill_a_list_in_their_order_and_all_who_name_an_entry_are_kept():
    concepts = english(RULE, own_words=["queen", " my dog "])
    assert concepts.table.select(["entry", "sources"]).to_pylist() == [
        {"entry": "queen", "sources": ["list", "wordnet", "unigram"]},
        {"entry": "my dog", "sources": ["list"]},
        {"entry": "tabby", "sources": ["wordnet"]},
        {"entry": "tabby cat", "sources": ["wordnet"]},
        {"entry": "U.S.", "sources": ["wordnet"]},
        {"entry": "dog", "sources": ["unigram"]},
        {"entry": "of", "sources": ["unigram"]},
        {"entry": "black dog", "sources": ["bigram"]},
        {"entry": "Black dog", "sources": ["title"]},
        {"entry": "Queen", "sources": ["title"]},
        {"entry": "99", "sources": ["title"]},
    ]
    figures = {row.pop("entry"): row for row in concepts.table.drop_columns(["sources", "synsets"]).to_pylist()}
    nothing = dict.fromkeys(("unigram_count", "bigram_count", "bigram_pmi", "title_views"))
    assert figures["tabby"] == nothing
    assert figures["queen"] == nothing | {"unigram_count": 800}
    assert figures["black dog"] == nothing | {"bigram_count": 5, "bigram_pmi": math.log2(5 * 2**30 / 60)}
    assert figures["99"] == nothing | {"title_views": 70}


def test_what_each_source_gave_and_left_out_is_counted_and_adds_up():
    concepts = english(RULE)
    assert concepts.counts["wordnet"] == {
        "offered": 7,
        "kept": 4,
        "new": 4,
        "left_out": {"empty": 1, "single_punctuation": 1, "too_long": 1},
    }
    assert concepts.counts["unigram"] == {"offered": 3, "kept": 3, "new": 2, "left_out": {}}
    assert concepts.counts["bigram"] == {"offered": 2, "kept": 1, "new": 1, "left_out": {"below_min_pmi": 1}}
    assert {"entry": "of dog", "source": "bigram", "why": "below_min_pmi"}.items() <= concepts.left_out.to_pylist()[
        -1
    ].items()
    assert sum(count["new"] for count in concepts.counts.values()) == len(concepts.entries)


def test_a_full_list_ends_and_says_what_it_had_no_room_for():
    concepts = english(replace(RULE, max_entries=6))
    assert concepts.entries == ["tabby", "tabby cat", "queen", "U.S.", "dog", "of"]
    assert concepts.counts["bigram"]["left_out"] == {"below_min_pmi": 1, "beyond_max_entries": 1}
    assert concepts.counts["title"] == {"offered": 3, "kept": 0, "new": 0, "left_out": {"beyond_max_entries": 3}}
    late = [row for row in concepts.left_out.to_pylist() if row["why"] == "beyond_max_entries"]
    assert [(row["entry"], row["value"]) for row in late[1:]] == [("Black dog", 80), ("Queen", 71), ("99", 70)]
    assert late[0]["value"] == pytest.approx(26.4150375)


def test_a_full_list_still_tags_the_entries_that_it_holds():
    concepts = english(replace(RULE, max_entries=3))
    assert concepts.table["sources"].to_pylist() == [["wordnet"], ["wordnet"], ["wordnet", "unigram"]]


def test_pure_punctuation_is_no_entry_and_numbers_come_first_by_default():
    concepts = build_list(MetadataRule(max_characters=3), own_words=["...", "—!", "♫", "♫♪", "long", "C++"])
    assert concepts.entries == [*map(str, range(100)), "♫♪", "C++"]
    assert concepts.counts["list"]["left_out"] == {"only_punctuation": 2, "single_punctuation": 1, "too_long": 1}


@given(
    st.lists(st.tuples(st.text("abC ._", min_size=1, max_size=3), st.integers(0, 300)), max_size=8),
    st.lists(st.tuples(st.text("abC:.", min_size=1, max_size=3), st.integers(0, 99)), max_size=8),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_a_list_does_not_depend_on_the_order_of_files_and_everything_offered_is_told(words, titles, most, shuffled):
    rule = MetadataRule(max_entries=most, numbers=False)

    def build(words, titles):
        offers = [
            offer_titles(pa.table(list(zip(*titles, strict=True)) or [[], []], names=["entry", "views"]), rule),
            offer_unigrams(pa.table(list(zip(*words, strict=True)) or [[], []], names=["entry", "count"]), rule),
        ]
        return build_list(rule, synsets=SYNSETS, offers=offers)

    concepts = build(words, titles)
    assert len(set(concepts.entries)) == len(concepts.entries) <= most
    offered = {("unigram", word.strip()) for word, _ in words} | {
        ("title", title.replace("_", " ").strip()) for title, _ in titles
    }
    kept = {(source, row["entry"]) for row in concepts.table.to_pylist() for source in row["sources"]}
    gone = {(row["source"], row["entry"]) for row in concepts.left_out.to_pylist()}
    assert not kept & gone
    assert {pair for pair in kept | gone if pair[0] != "wordnet"} == offered
    shuffled.shuffle(words)
    shuffled.shuffle(titles)
    again = build(words, titles)
    assert (again.identity, again.table, again.left_out) == (concepts.identity, concepts.table, concepts.left_out)


def test_the_identity_is_the_one_that_files_carry():
    concepts = english(RULE)
    assert concepts.identity == identity_of(concepts.entries)


def test_hash_seeds_move_nothing():
    code = "from tests.curation.concepts.test_concept_list import *; c = english(RULE); "
    code += "print(c.identity, c.table, c.left_out)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""
