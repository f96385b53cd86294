"""Lists built from files as people have them, written whole, and looked at."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.curation.concepts.sources import MetadataRule
from evenly.curation.errors import RuleError
from evenly.storage.errors import InputError
from evenly.storage.files.concept_lists import read_concept_file, read_left_out
from evenly.tasks.pools.concept_lists import ListSources, build_concept_list, look_up, show_list

CAPTIONS = ["a black dog", "black dog , U.S. flag", "the black dog", None, "a cat"]


@pytest.fixture
def places(tmp_path):
    """A corpus, counts, titles, lemmas and own words."""
    pq.write_table(pa.table({"text": CAPTIONS}), tmp_path / "pool.parquet")
    (tmp_path / "words.tsv").write_text("dog\t300\nblack\t200\nshih\t101\ntzu\t101\nthe\t99\n")
    (tmp_path / "pairs.tsv").write_text("shih tzu\t100\nblack dog\t60\n")
    (tmp_path / "titles.tsv").write_text("Shih_Tzu\t80\nTalk:Dog\t900\nCat\t7\n")
    (tmp_path / "lemmas.txt").write_text("dog\nblack_dog\nMr._Bean\n...\n")
    (tmp_path / "own.json").write_text(json.dumps({"en": ["my dog", "dog"], "fr": ["chien"]}))
    return tmp_path


def files(places, **chosen) -> ListSources:
    named = {"unigrams": "words.tsv", "bigrams": "pairs.tsv", "wordnet": "lemmas.txt"}
    return ListSources(
        own=places / "own.json",
        titles=places / "titles.tsv",
        **{name: str(places / file) for name, file in named.items()},
        **chosen,
    )


RULE = MetadataRule(numbers=False, min_pmi=2)


def test_a_list_of_files_holds_what_they_name_and_says_what_it_left_out(places):
    out = places / "en.parquet"
    built = build_concept_list(out, files(places), RULE)
    found = read_concept_file(out)
    assert found.entries == ["my dog", "dog", "black dog", "Mr. Bean", "black", "shih", "tzu", "shih tzu", "Shih Tzu"]
    rows = {row["entry"]: row for row in found.table.to_pylist()}
    assert rows["dog"]["sources"] == ["list", "wordnet", "unigram"]
    assert rows["dog"]["unigram_count"] == 300
    assert rows["shih tzu"]["bigram_pmi"] == pytest.approx(2.97309)  # log2(100 * 801 / 101^2)
    left_out = read_left_out(out, built["identity"]).to_pylist()
    assert {
        (row["source"], row["entry"], row["why"], row["value"]) for row in left_out if row["source"] != "bigram"
    } == {
        ("wordnet", "...", "only_punctuation", None),
        ("unigram", "the", "below_min_count", 99),
        ("title", "Talk:Dog", "holds_a_colon", 900),
        ("title", "Cat", "below_min_views", 7),
    }
    assert built["counts"]["bigram"]["left_out"] == {"below_min_pmi": 1}
    assert built["entries"] == len(found.entries)
    assert built["never_matching"]["faithful"] == {"mark_inside_a_word": {"entries": 1, "examples": ["Mr. Bean"]}}
    assert built["origins"]["title"]["origin"].startswith("titles.tsv sha256 ")
    assert found.facts["rule"]["min_pmi"] == 2


def test_building_again_gives_the_same_bytes_whatever_the_order_of_lines(places):
    first = places / "a" / "en.parquet"
    build_concept_list(first, files(places), RULE)
    for name in ("words.tsv", "pairs.tsv", "titles.tsv"):
        lines = (places / name).read_text().splitlines()
        (places / name).write_text("\n".join(reversed(lines)))
    second = places / "b" / "en.parquet"
    build_concept_list(second, files(places), RULE)
    assert read_concept_file(first).identity == read_concept_file(second).identity
    assert read_concept_file(first).table == read_concept_file(second).table
    third = places / "c" / "en.parquet"
    build_concept_list(third, files(places), RULE)
    for name in ("en.parquet", "en.left_out.parquet"):
        assert (places / "b" / name).read_bytes() == (places / "c" / name).read_bytes()


@pytest.mark.parametrize(
    ("mode", "entries"),
    [("faithful", {"black dog", "the", "a", "U", "S"}), ("normalized", {"black dog", "the", "a", "u", "s", "dog u"})],
)
def test_captions_are_counted_as_the_mode_will_match_them(places, mode, entries):
    sources = ListSources(corpus=str(places / "*.parquet"), caption="text", mode=mode)
    built = build_concept_list(
        places / "en.parquet", sources, MetadataRule(min_unigram_count=1, min_pmi=-9, numbers=False)
    )
    assert entries <= set(read_concept_file(places / "en.parquet").entries)
    corpus = built["origins"]["corpus"]
    assert (corpus["captions"], corpus["without_text"], corpus["words"]) == (5, 1, 13)
    assert mode in built["origins"]["bigram"]["origin"]


def test_words_may_come_from_elsewhere_than_the_pairs_of_a_corpus(places):
    sources = ListSources(corpus=str(places / "pool.parquet"), caption="text", unigrams=str(places / "words.tsv"))
    build_concept_list(places / "en.parquet", sources, MetadataRule(min_pmi=1, numbers=False))
    rows = {row["entry"]: row for row in read_concept_file(places / "en.parquet").table.to_pylist()}
    assert rows["dog"]["unigram_count"] == 300
    assert rows["black dog"]["bigram_count"] == 3
    assert "a" not in rows


@pytest.mark.slow
def test_pairs_of_a_package_are_judged_by_its_own_words_and_their_absence_is_remarked(places):
    sources = ListSources(unigrams=str(places / "words.tsv"), bigrams="symspellpy")
    built = build_concept_list(places / "en.parquet", sources, MetadataRule())
    assert built["origins"]["bigram"]["words_in_corpus"] == 1_024_908_267_229
    assert built["counts"]["bigram"]["kept"] == 0
    assert len(built["remarks"]) == 1
    assert built["remarks"][0].startswith("no pair reaches PMI 30: the highest of these counts is 26.5855.")


def test_a_full_list_is_remarked(places):
    built = build_concept_list(places / "en.parquet", files(places), MetadataRule(max_entries=100))
    assert built["entries"] == 100
    told = sum(count["left_out"].get("beyond_max_entries", 0) for count in built["counts"].values())
    assert built["remarks"][-1] == f"the list is full at 100 entries: {told} had no room (beyond_max_entries)."


@pytest.mark.parametrize(
    ("chosen", "match"),
    [
        ({}, "at least one source; got none"),
        ({"wordnet": "timm", "language": "English"}, "must be a code such as en or fra; got `English`"),
        ({"corpus": "x", "mode": "strict"}, "`mode` must be one of faithful, normalized; got `strict`"),
        (
            {"corpus": "x", "language": "ja"},
            r"puts spaces between words; got `ja`.*tokeniser.*--unigrams and --bigrams",
        ),
        ({"corpus": "x", "unigrams": "wordfreq", "bigrams": "wordsegment"}, "must have something to count"),
        ({"bigrams": "pairs.tsv", "unigrams": "wordfreq"}, "needs the words of the same corpus.*got wordfreq"),
        ({"bigrams": "pairs.tsv"}, "needs the words of the same corpus.*got none"),
    ],
)
def test_sources_that_do_not_go_together_are_refused(chosen, match):
    with pytest.raises(RuleError, match=match):
        ListSources(**chosen)


def test_nothing_is_overwritten_or_written_where_it_would_be_empty(places):
    sources = ListSources(titles=places / "titles.tsv")
    with pytest.raises(InputError, match=r"must end in .parquet; got .*en.json"):
        build_concept_list(places / "en.json", sources, RULE)
    with pytest.raises(InputError, match="must not exist"):
        build_concept_list(places / "pool.parquet", sources, RULE)
    with pytest.raises(InputError, match="at least one entry"):
        build_concept_list(places / "en.parquet", sources, MetadataRule(numbers=False, title_min_views=99))
    assert not (places / "en.parquet").exists()
    build_concept_list(places / "pool.parquet", sources, RULE, overwrite=True)
    assert read_concept_file(places / "pool.parquet").entries == ["Shih Tzu"]


def test_own_words_of_another_language_are_refused(places):
    with pytest.raises(InputError, match="`list` must hold entries in `de`; got en, fr"):
        build_concept_list(places / "de.parquet", ListSources(own=places / "own.json", language="de"), RULE)


def test_a_list_shows_its_sources_examples_and_what_it_left_out(places):
    built = build_concept_list(places / "en.parquet", files(places), RULE)
    shown = show_list(places / "en.parquet")
    assert shown["identity"] == built["identity"]
    assert shown["sources"]["unigram"] == {"entries": 4, "new": 3, "examples": ["black", "shih", "tzu"]}
    assert shown["left_out"]["title"] == {"below_min_views": 1, "holds_a_colon": 1}
    assert list(shown["left_out"]) == ["list", "wordnet", "unigram", "bigram", "title"]
    assert shown["never_matching"] == built["never_matching"]


def test_entries_that_another_stands_for_are_told_with_it(tmp_path):
    (tmp_path / "lists.json").write_text(
        json.dumps({"en": ["China", "china", "CHINA!"], "fr": ["China", "👍", "Chine"]})
    )
    shown = show_list(tmp_path / "lists.json")
    nothing = {"entries": 1, "examples": ["👍"]}
    same = {"entries": 2, "examples": ["china", "CHINA!"], "same_as": ["China", "China"]}
    assert shown["never_matching"] == {
        "faithful": {"mark_inside_a_word": {"entries": 1, "examples": ["CHINA!"]}},
        "normalized": {"nothing_left_after_normalising": nothing, "same_as_an_earlier_entry": same},
    }
    by_language = {language: modes["normalized"] for language, modes in shown["never_matching_by_language"].items()}
    assert by_language == {
        "en": {"same_as_an_earlier_entry": same},
        "fr": {"nothing_left_after_normalising": nothing},
    }


def test_a_json_of_languages_shows_how_many_each_has(places):
    shown = show_list(places / "own.json")
    assert shown["languages"] == {"en": 2, "fr": 1}
    assert shown["sources"] == {"list": {"entries": 3, "new": 3, "examples": ["my dog", "dog", "chien"]}}


def test_entries_that_never_match_in_their_own_language_are_shown_by_it(tmp_path):
    (tmp_path / "lists.json").write_text(json.dumps({"en": ["dog", "U.S."], "zh": ["热.狗", "狗。"]}))
    shown = show_list(tmp_path / "lists.json")
    assert {language: modes["faithful"] for language, modes in shown["never_matching_by_language"].items()} == {
        "en": {"mark_inside_a_word": {"entries": 1, "examples": ["U.S."]}},
        "zh": {"mark_inside_a_word": {"entries": 1, "examples": ["热.狗"]}},
    }


def test_an_entry_is_looked_up_with_all_that_is_known_of_it(places):
    out = places / "en.parquet"
    build_concept_list(out, files(places), RULE)
    found = look_up(out, "Shih Tzu")
    assert found["found"][0]["position"] == 8
    assert found["found"][0]["title_views"] == 80
    assert found["alike"] == ["shih tzu"]
    assert found["can_match"]["normalized"] == {
        "can": False,
        "why_not": "same_as_an_earlier_entry",
        "same_as": "shih tzu",
    }
    assert look_up(out, "shih tzu")["can_match"]["normalized"] == {"can": True, "why_not": ""}
    bean = look_up(out, "Mr. Bean")
    assert bean["can_match"] == {
        "faithful": {"can": False, "why_not": "mark_inside_a_word"},
        "normalized": {"can": True, "why_not": ""},
    }
    gone = look_up(out, "the")
    assert gone["found"] == []
    assert gone["left_out"] == [{"entry": "the", "source": "unigram", "why": "below_min_count", "value": 99}]


def test_a_repeated_line_of_a_text_list_is_found_in_its_look_up(places):
    (places / "a.txt").write_text("dog\ndog\n")
    assert look_up(places / "a.txt", "dog")["left_out"] == [{"entry": "dog", "why": "repeated", "place": "line 2"}]
