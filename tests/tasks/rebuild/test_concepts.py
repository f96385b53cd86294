"""Recipes name a concept list as WordNet, as text, as JSON or as a built file; matching is keyed by its identity."""

import json
import os
from dataclasses import replace

import pyarrow as pa
import pytest

from evenly.curation.concepts.concept_list import build_concepts
from evenly.curation.concepts.matching import Matcher, MatchRule
from evenly.curation.decisions import Decisions
from evenly.curation.step import NoRule
from evenly.storage.errors import InputError
from evenly.storage.files import identities
from evenly.storage.files.concept_lists import identity_of, write_concepts
from evenly.storage.files.wordnets import load_wordnet_nouns
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild import concepts
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_AGAIN, MATCH_CONCEPTS, recipe_concepts
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step

ENTRIES = ["dog", "black dog", "chat"]
CAPTIONS = ["a black dog", "le chat", "nothing"]


@pytest.fixture
def lists(tmp_path):
    """The same entries as a file of each kind."""
    table = pa.table(
        {"entry": ENTRIES, "sources": [["list"]] * 3, "synsets": pa.array([[]] * 3, pa.list_(pa.string()))}
    )
    write_concepts(tmp_path / "a.parquet", table, pa.table({"entry": ["x"]}), {})
    (tmp_path / "a.txt").write_text("\n".join([*ENTRIES, "dog"]))
    (tmp_path / "a.json").write_text(json.dumps(ENTRIES))
    (tmp_path / "languages.json").write_text(json.dumps({"en": ENTRIES[:2], "fr": ["chat", "dog"]}))
    return tmp_path


def collected(run: Run, **columns: list) -> StepRecord:
    """The record of a step that gave CAPTIONS, and further columns."""

    def collect(_run, _before, _rule) -> StepOutput:
        decisions = Decisions.of(reason=[""] * 3).to_table(pa.array(["a", "b", "c"]))
        for name, values in {"caption": CAPTIONS, **columns}.items():
            decisions = decisions.append_column(name, pa.array(values))
        return StepOutput(decisions=decisions)

    return run_step(run, Step(name="collect", rule=dict, stored=dict, load=dict, judge=collect), (), {})


def matched(run: Run, metadata, *, mode="faithful", plurals=False) -> list[list[str]]:
    """The concepts that the step finds in CAPTIONS, by way of the ledger."""
    rule = {"metadata": str(metadata), "mode": mode, "plurals": plurals}
    first = collected(run)
    record = run_step(run, MATCH_CONCEPTS, (first,), MATCH_CONCEPTS.read(rule))
    run_step(run, COUNT_CONCEPTS, (first, record), NoRule())
    entries = run.ledger.table(record, "concepts", ["entry"])["entry"].to_pylist()
    assert record.inputs["metadata"] == record.notes["concepts"] == recipe_concepts(str(metadata)).identity
    return [[entries[one] for one in row] for row in run.ledger.table(record, "matches")["entries"].to_pylist()]


@pytest.mark.parametrize("name", ["a.parquet", "a.txt", "a.json", "languages.json"])
def test_a_recipe_takes_a_list_of_every_kind(lists, workspace, name):
    run = Run(workspace=workspace, seed=3, progress=Progress(quiet=True))
    assert matched(run, lists / name) == [["dog", "black dog"], ["chat"]]


def test_a_pair_without_a_concept_goes_on_where_the_rule_keeps_it_and_is_dropped_if_its_chosen_caption_has_none(
    lists, workspace
):
    run = Run(workspace=workspace, seed=3, progress=Progress(quiet=True))
    rule = MatchRule(metadata=str(lists / "a.txt"), unmatched="keep")
    records = (collected(run, chosen_caption=["nothing", "le chat", "a dog"]),)
    records = (*records, run_step(run, MATCH_CONCEPTS, records, rule))
    records = (*records, run_step(run, COUNT_CONCEPTS, records, NoRule()))
    again = run_step(run, MATCH_AGAIN, records, replace(rule, unmatched="drop"))
    matching, counting = records[1:]
    assert matching.counts["kept"] == 3
    assert run.ledger.table(matching, "matches")["uid"].to_pylist() == ["a", "b"]
    assert run.ledger.table(counting, "counts")["count"].to_pylist() == [1, 1, 1]
    assert run.ledger.decisions(again, ["reason"])["reason"].to_pylist() == ["no_concept", "", ""]
    assert MATCH_CONCEPTS.stored(rule)["unmatched"] == "keep"
    assert "unmatched" not in MATCH_CONCEPTS.stored(replace(rule, unmatched="drop"))


def test_equal_lists_share_their_identity_whatever_the_kind(lists):
    found = {name: recipe_concepts(str(lists / name)) for name in ("a.parquet", "a.txt", "a.json", "languages.json")}
    assert {found[name].identity for name in ("a.parquet", "a.txt", "a.json")} == {identity_of(ENTRIES)}
    assert found["languages.json"].identity != identity_of(ENTRIES)
    assert found["languages.json"].table["languages"].to_pylist() == [["en", "fr"], ["en"], ["fr"]]
    assert found["a.txt"].left_out.to_pylist() == [{"entry": "dog", "why": "repeated", "place": "line 4"}]


def test_what_is_written_in_several_ways_counts_for_one_entry_and_only_normalized_mode_has_a_new_key(lists, workspace):
    path = lists / "several.txt"
    path.write_text("Dog\ndog\nblack dog\nBlack Dogs\n")
    run = Run(workspace=workspace, seed=3, progress=Progress(quiet=True))
    assert matched(run, path) == [["dog", "black dog"]]
    assert matched(run, path, mode="normalized", plurals=True) == [["Dog", "black dog"]]
    faithful, normalized = sorted(run.ledger.records("match_concepts"), key=lambda one: one.ended)
    assert set(normalized.inputs) - set(faithful.inputs) == {"alike", "normalising", "plurals"}
    assert run.ledger.table(normalized, "unmatchable").to_pylist() == [
        {"entry": "dog", "why": "same_as_an_earlier_entry", "same_as": "Dog"},
        {"entry": "Black Dogs", "why": "same_as_an_earlier_entry", "same_as": "black dog"},
    ]
    assert run.ledger.table(faithful, "unmatchable").column_names == ["entry", "why"]


def test_wordnet_has_the_identity_that_its_file_would_have():
    built = build_concepts(load_wordnet_nouns(), nouns=True)
    assert recipe_concepts("wordnet").identity == built.identity == identity_of(built.entries)


def test_wordnet_has_no_words_of_grammar_unless_asked_for_and_then_names_no_concept_by_them():
    nouns, everything = recipe_concepts("wordnet"), recipe_concepts("wordnet_all")
    assert {"eye", "smile", "sunset", "vitamin A", "Paris"} <= set(nouns.entries)
    assert set(everything.entries) - set(nouns.entries) == set(nouns.left_out["entry"].to_pylist())
    assert {"A", "OR", "IT", "a", "can", "A'man", "the City"} <= set(nouns.left_out["entry"].to_pylist())
    assert set(nouns.left_out["why"].to_pylist()) == {"function_word", "single_letter", "article_and_entry"}


@pytest.mark.parametrize("caption", ["an eye", "the eye", "Eyes", "A pair OF EYES!"])
def test_by_default_normalized_mode_finds_a_noun_with_any_article_and_in_the_plural(caption):
    rule = MatchRule(mode="normalized")
    entries = recipe_concepts(rule.metadata).entries
    matches = Matcher(entries, rule.mode, plurals=bool(rule.plurals)).match(pa.array([caption]))
    assert "eye" in [entries[one] for one in matches[0].as_py()]
    assert not {"a", "an", "the", "of"} & {entries[one].lower() for one in matches[0].as_py()}


def test_plurals_are_on_by_default_in_normalized_mode_alone():
    assert [MatchRule(mode=mode).plurals for mode in ("faithful", "normalized")] == [False, True]
    assert MatchRule(mode="normalized", plurals=False).plurals is False
    assert MatchRule(mode="normalized", metadata="a.json", language="lang").plurals is False


def test_a_list_that_was_changed_is_read_again(lists):
    path = lists / "a.txt"
    before = recipe_concepts(str(path)).identity
    path.write_text("dog\nblack dog\ncats")
    os.utime(path, ns=(1, 1))
    assert recipe_concepts(str(path)).identity != before


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"`metadata` must be a file; got `.*gone.txt`"):
        recipe_concepts(str(tmp_path / "gone.txt"))


def test_a_list_that_changed_without_a_trace_is_told_of_before_anything_is_stored(lists, workspace, monkeypatch):
    stamps, stamp = {}, identities._stamp
    monkeypatch.setattr(identities, "_stamp", lambda path: stamps.setdefault(path, stamp(path)))
    monkeypatch.setattr(identities, "_SETTLED_NS", 0)
    monkeypatch.setattr(concepts, "_LARGE", 0)
    run = Run(workspace=workspace, seed=3, cache=lists / "cache", progress=Progress(quiet=True))
    first, rule = collected(run), MatchRule(metadata=str(lists / "a.txt"))
    before = MATCH_CONCEPTS.inputs(run, (), rule)
    (lists / "a.txt").write_text("dog\nblack dog\ncats")
    assert MATCH_CONCEPTS.inputs(run, (), rule) == before
    with pytest.raises(InputError, match=r"must be what its record says.* Run again: it is another one"):
        run_step(run, MATCH_CONCEPTS, (first,), rule)
    assert run.ledger.find(MATCH_CONCEPTS.spec(run, (first,), rule).key) is None
    assert MATCH_CONCEPTS.inputs(run, (), rule) != before
    run_step(run, MATCH_CONCEPTS, (first,), rule)


def test_the_list_of_wordnet_is_kept_until_what_it_is_made_of_changes(monkeypatch, tmp_path):
    synsets = pa.table({"synset": ["n1", "n2"], "lemmas": [["dog", "a_cat"], ["Cat"]]})
    nouns, built = tmp_path / "nouns.tsv.gz", []
    nouns.write_bytes(b"dog")
    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(concepts, "WORDNET_NOUNS", nouns)
    monkeypatch.setattr(concepts, "load_wordnet_nouns", lambda: built.append("built") or synsets)
    wordnet = concepts._wordnet.__wrapped__
    first, kept = wordnet("wordnet"), wordnet("wordnet")
    assert (first.table, first.left_out, first.identity) == (kept.table, kept.left_out, kept.identity)
    assert built == ["built"]
    (file,) = (tmp_path / "cache" / "concepts").glob("*/table.arrow")
    file.write_bytes(file.read_bytes().replace(b"evnsums1", b"evnsums2"))
    assert wordnet("wordnet").table == wordnet("wordnet").table == first.table
    assert built == ["built"] * 2
    nouns.write_bytes(b"cat")
    wordnet("wordnet")
    assert built == ["built"] * 3
