"""`evenly metadata build` and `show`: what a person sees, and what a program reads."""

import json

import pytest

from evenly.storage.files.concept_lists import read_concept_file


@pytest.fixture
def lemmas(tmp_path):
    path = tmp_path / "lemmas.txt"
    path.write_text("dog\nblack_dog\nMr._Bean\n\x1b[31mred\n")
    return path


@pytest.fixture
def built(evenly, lemmas, tmp_path):
    out = tmp_path / "en.parquet"
    status, printed, _ = evenly("metadata", "build", "--out", out, "--wordnet", lemmas, "--no-numbers", "--json")
    assert status == 0
    return out, json.loads(printed)


def test_build_writes_a_list_and_says_what_it_holds(built):
    out, facts = built
    assert read_concept_file(out).identity == facts["identity"]
    assert facts["counts"] == {"wordnet": {"offered": 4, "kept": 4, "new": 4, "left_out": {}}}
    assert facts["never_matching"]["faithful"]["mark_inside_a_word"]["entries"] == 1


def test_thresholds_are_those_of_the_language_and_can_be_set(evenly, lemmas, tmp_path):
    place = ["--out", tmp_path / "fr.parquet", "--wordnet", lemmas, "--language", "fr", "--json"]
    chosen = ["--min-pmi", "5", "--top-unigram-share", "0.5", "--lemmas", "first", "--title-cap", "9"]
    rule = json.loads(evenly("metadata", "build", *place, *chosen)[1])["rule"]
    wanted = {"min_pmi": 5, "top_unigram_share": 0.5, "top_title_share": 0.76, "lemmas": "first", "title_cap": 9}
    assert wanted.items() <= rule.items()
    assert rule["numbers"]
    assert rule["pmi_above_least"]
    again = json.loads(evenly("metadata", "build", *place, "--pmi-at-least", "--force")[1])["rule"]
    assert not again["pmi_above_least"]


def test_tables_are_for_people_and_control_characters_are_shown(evenly, built, lemmas):
    status, printed, _ = evenly("metadata", "show", built[0])
    assert status == 0
    assert "4 entries" in printed
    assert built[1]["identity"] in printed
    assert "\x1b" not in printed
    assert "can never match" in printed
    again = evenly("metadata", "build", "--out", built[0], "--wordnet", lemmas, "--force")
    assert again[0] == 0
    assert "left out  " in again[1]
    assert "\x1b" not in again[1]


def test_an_entry_that_another_stands_for_is_shown_with_it(evenly, tmp_path):
    (tmp_path / "a.txt").write_text("China\nchina\n\x1b[31mRed\nred\x1b[31m!\nRED [31m\n")
    status, printed, _ = evenly("metadata", "show", tmp_path / "a.txt")
    assert status == 0
    assert "same_as_an_earlier_entry" in printed
    assert "china (as China)" in printed
    assert "\x1b" not in printed
    status, printed, _ = evenly("metadata", "show", tmp_path / "a.txt", "--entry", "china")
    assert status == 0
    assert "normalized  can never match: same_as_an_earlier_entry, `China`" in printed


def test_an_entry_that_is_there_is_told_and_one_that_is_not_is_a_finding(evenly, built):
    status, printed, _ = evenly("metadata", "show", built[0], "--entry", "black dog")
    assert status == 0
    assert "position" in printed
    status, printed, _ = evenly("metadata", "show", built[0], "--entry", "Black\x1b Dog")
    assert status == 1
    assert "is not in the list" in printed
    assert "\x1b" not in printed
    status, printed, _ = evenly("metadata", "show", built[0], "--entry", "Black Dog", "--json")
    assert status == 1
    assert json.loads(printed)["alike"] == ["black dog"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ((), "evenly: a list must have at least one source; got none. Name one, such as --wordnet auto.\n"),
        (("--wordnet", "timm", "--max-entries", "0"), "evenly: `max_entries` must be at least 1; got 0."),
        (("--unigrams", "/gone"), "evenly: `--unigrams` must be one of wordfreq, wordsegment, symspellpy, or a file;"),
        (("--corpus", "x", "--language", "zh"), "evenly: `corpus` must be in a language that puts spaces"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_usage_error(evenly, tmp_path, options, error):
    status, printed, told = evenly("metadata", "build", "--out", tmp_path / "a.parquet", *options)
    assert (status, printed) == (2, "")
    assert told.startswith(error)
    assert not (tmp_path / "a.parquet").exists()


def test_a_list_that_is_there_is_kept(evenly, built, lemmas):
    before = built[0].read_bytes()
    status, _, told = evenly("metadata", "build", "--out", built[0], "--wordnet", lemmas)
    assert status == 2
    assert "must not exist" in told
    assert built[0].read_bytes() == before
