"""A pool of two languages through the steps that judge texts: detection, matching and thresholds by language."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from evenly.audit.card import read_card
from evenly.audit.published import PublishedBuild
from evenly.audit.why import explain
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError
from evenly.storage.files.concept_lists import read_concept_file as read_file
from evenly.storage.files.concept_lists import write_concepts
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.source import PoolSource
from evenly.storage.samples import Samples, wide_table
from evenly.storage.workspace import Workspace
from evenly.tasks import stage
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_AGAIN, MATCH_CONCEPTS
from evenly.tasks.rebuild.filters import CHECK_TEXTS
from evenly.tasks.run import Run
from evenly.tasks.step import Step

LISTS = {"en": ["dog", "cat", "fox", "Mr. Bean", "狗"], "zh": ["狗", "猫", "鸟", "热.狗", "dog"]}
ENGLISH = {"dog": 40, "cat": 20, "fox": 4}
CHINESE = {"狗": 30, "猫": 10, "鸟": 2}
BY_LANGUAGE = {"t": 10, "language": "detected_language", "reference": "en"}
RULES = {
    "collect": {"limit": None},
    "check_texts": {"caption_language": {"languages": ["en", "zh"], "min_confidence": 0.5}},
    "match_concepts": {
        "metadata": "{root}/lists.json",
        "mode": "faithful",
        "plurals": False,
        "language": "detected_language",
    },
    "count_concepts": {},
    "preselect": BY_LANGUAGE | {"headroom": 2.0},
    "balance": BY_LANGUAGE,
}
RULES["match_again"] = RULES["match_concepts"]
STEPS = (COLLECT, CHECK_TEXTS, MATCH_CONCEPTS, COUNT_CONCEPTS, PRESELECT, MATCH_AGAIN, BALANCE)


def pool() -> list[str]:
    """Captions of both languages, some that name nothing, one without letters and one in a third language."""
    english = [f"a photo of a {name} in the green garden" for name, n in ENGLISH.items() for _ in range(n)]
    chinese = [f"草地上有一只黑色的{name}" for name, n in CHINESE.items() for _ in range(n)]
    return [
        *english,
        *chinese,
        "a photo of the 狗 in the green garden",
        "草地上有一棵树",
        "123",
        "eine rote Blume im Garten",
    ]


def run_steps(root: Path, captions: list[str], *, steps=STEPS, rules=RULES, lists=LISTS, bits=0, **columns):
    root.mkdir(exist_ok=True)
    urls = [f"https://a.test/{n}" for n in range(len(captions))]
    pq.write_table(pa.table({"url": urls, "caption": captions, **columns}), root / "pool.parquet")
    (root / "lists.json").write_text(json.dumps(lists))
    source = PoolSource(kind="parquet", path=str(root / "pool.parquet"))
    run = Run(workspace=Workspace.at(root), seed=3, sources=(source,), progress=Progress(quiet=True), bits=bits)
    records = stage.run_steps(run, [(step, step.read(rules[step.name])) for step in steps], InProcess(run=run))
    return run, {record.name: record for record in records}


def named(run, record) -> dict[str, list[str]]:
    """The entries that each kept pair matched, by uid."""
    entries = run.ledger.table(record, "concepts", ["entry"])["entry"].to_pylist()
    rows = run.ledger.table(record, "matches").to_pylist()
    return {row["uid"]: [entries[number] for number in row["entries"]] for row in rows}


def test_a_language_that_a_step_of_the_same_stage_detects_is_matched_by_in_partitions(tmp_path):
    (run, one), (other, eight) = (run_steps(tmp_path / str(bits), pool(), bits=bits) for bits in (0, 3))
    for name in ("match_concepts", "match_again", "balance"):
        assert other.ledger.decisions(eight[name]).equals(run.ledger.decisions(one[name])), name


def test_captions_are_matched_and_thinned_out_by_the_language_that_was_detected(tmp_path):
    run, records = run_steps(tmp_path, pool())
    assert records["check_texts"].reasons == {"wrong_language": 1}
    detected = run.ledger.decisions(records["check_texts"], ["detected_language"])["detected_language"].to_pylist()
    assert {code: detected.count(code) for code in set(detected)} == {"en": 65, "zh": 43, "de": 1, None: 1}
    matched = records["match_concepts"]
    assert matched.reasons == {"no_concept": 1, "no_list_of_language": 1}
    found = [name for names in named(run, matched).values() for name in names]
    assert {name: found.count(name) for name in set(found)} == ENGLISH | CHINESE | {"狗": 31}
    thresholds = {row["language"]: row for row in run.ledger.table(records["preselect"], "thresholds").to_pylist()}
    assert {language: (row["t"], row["pairs"]) for language, row in thresholds.items()} == {
        "en": (10, 65),
        "zh": (2, 42),
    }
    counts = run.ledger.table(records["preselect"], "counts").to_pylist()
    of_dogs = {row["language"]: row["before"] for row in counts if row["concept"] == "狗"}
    assert of_dogs == {"en": 1, "zh": 30}
    assert 0 < records["balance"].counts["kept"] <= records["preselect"].counts["kept"] < matched.counts["kept"]


def test_entries_that_can_never_match_are_told_by_language(tmp_path):
    run, records = run_steps(tmp_path, pool(), steps=STEPS[:3])
    assert run.ledger.table(records["match_concepts"], "unmatchable").to_pylist() == [
        {"language": "en", "entry": "Mr. Bean", "why": "mark_inside_a_word"},
        {"language": "zh", "entry": "热.狗", "why": "mark_inside_a_word"},
    ]


SEVERAL_WAYS = {"en": ["a dog", "DOG", "Fox", "fox", "cat"], "zh": ["dog", "DOG", "猫", "Dog"]}
NORMALIZED = RULES | {"match_concepts": RULES["match_concepts"] | {"mode": "normalized"}}
NEVER = {"mark_inside_a_word (en)": 1, "mark_inside_a_word (zh)": 1}
STOOD_FOR = {"same_as_an_earlier_entry (en)": 1, "same_as_an_earlier_entry (zh)": 2}


@pytest.mark.parametrize(
    ("rules", "lists", "never"), [(RULES, LISTS, NEVER), (NORMALIZED, SEVERAL_WAYS, STOOD_FOR)], ids=["as is", "alike"]
)
def test_detection_and_matching_are_replayed_for_each_pair(tmp_path, rules, lists, never):
    captions = [*pool()[::6], "a dog beside a 猫 in the garden", "草地上有一只黑色的dog 猫", "123", "eine rote Blume"]
    run, records = run_steps(tmp_path, captions, rules=rules, lists=lists)
    wide = wide_table(run.ledger, list(records.values()))
    steps = [{"name": name, "key": record.key} for name, record in records.items()]
    manifest = {"build": "x-1", "recipe_name": "x", "steps": steps}
    manifest["samples"] = {"version": Samples(run.workspace, "x").write(wide)}
    labels = set()
    for uid in wide["uid"].to_pylist():
        (pair,) = explain(run.workspace, manifest, uid, replay=True).pairs
        replays = {sight.step: (sight.replay.label, sight.replay.agrees) for sight in pair.steps}
        labels |= {replays[step] for step in ("check_texts", "match_concepts") if step in replays}
    assert labels == {("recomputed", True)}
    assert read_card(PublishedBuild(run.workspace, manifest)).unmatchable == never


def test_a_changed_pool_gives_what_a_run_from_scratch_gives(tmp_path):
    run_steps(tmp_path / "kept", pool())
    changed = [*pool()[:-2], "a photo of a fox in the green garden", "草地上有一只黑色的鸟", "456"]
    _, kept = run_steps(tmp_path / "kept", changed)
    _, new = run_steps(tmp_path / "new", changed)
    assert kept["check_texts"].work == kept["match_concepts"].work == {"computed": 3, "reused": len(changed) - 3}
    assert {name: record.hashes for name, record in kept.items()} == {
        name: record.hashes for name, record in new.items()
    }
    assert {name: record.key for name, record in kept.items()} == {name: record.key for name, record in new.items()}


def test_a_pair_whose_column_names_another_language_is_matched_again(tmp_path):
    rules = RULES | {"match_concepts": RULES["match_concepts"] | {"language": "lang"}}
    steps = (COLLECT, MATCH_CONCEPTS)
    captions = ["dog 狗 cat"] * 3
    run_steps(tmp_path, captions, steps=steps, rules=rules, lang=["en", "zh", None])
    run, records = run_steps(tmp_path, captions, steps=steps, rules=rules, lang=["en", "en", "fr"])
    matched = records["match_concepts"]
    assert matched.work == {"computed": 2, "reused": 1}
    assert sorted(named(run, matched).values()) == [["dog", "cat", "狗"]] * 2
    assert matched.reasons == {"no_list_of_language": 1}


def test_a_list_that_was_built_for_a_language_is_that_of_one_language(tmp_path):
    table = pa.table({"entry": ["dog"], "sources": [["list"]], "synsets": pa.array([[]], pa.list_(pa.string()))})
    keys = set()
    for language, reasons in (("en", {"no_concept": 1, "no_list_of_language": 1}), ("zh", {"no_list_of_language": 2})):
        path = tmp_path / "built.parquet"
        write_concepts(path, table, pa.table({"entry": ["x"]}), {"language": language})
        identity = read_file(path).identity
        rules = RULES | {"match_concepts": RULES["match_concepts"] | {"metadata": str(path), "language": "lang"}}
        run, records = run_steps(
            tmp_path / language,
            ["a dog", "a cat", "狗 dog"],
            steps=(COLLECT, MATCH_CONCEPTS),
            rules=rules,
            lang=["en", "en", "zh"],
        )
        matched = records["match_concepts"]
        assert matched.reasons == reasons
        assert matched.notes["concepts"] != identity
        assert run.ledger.table(matched, "concepts")["languages"].to_pylist() == [[language]]
        keys.add(matched.inputs["metadata"])
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"language": "langue"}, r"`match.language` must be a column of the pool or of a step before; got 'langue'"),
        ({"metadata": "{root}/flat.txt"}, "`metadata` must hold a list per language where languages are matched"),
    ],
)
def test_what_cannot_be_matched_by_language_says_why(tmp_path, change, text):
    (tmp_path / "flat.txt").write_text("dog")
    rules = RULES | {"match_concepts": RULES["match_concepts"] | change}
    with pytest.raises(RuleError, match=text):
        run_steps(tmp_path, pool(), steps=STEPS[:3], rules=rules)


def test_a_caption_that_was_chosen_is_matched_in_the_language_of_its_pair(tmp_path):
    def choose(run, before, _rule) -> StepOutput:
        pairs = run.ledger.alive(before, ["caption"])
        table = Decisions.keep_all(len(pairs)).to_table(pairs["uid"].combine_chunks())
        chosen = pc.replace_substring(pairs["caption"].combine_chunks(), "photo of a cat", "photo of a fox")
        return StepOutput(decisions=table.append_column("chosen_caption", chosen))

    steps = (*STEPS[:3], Step(name="recaption", rule=dict, stored=dict, load=dict, judge=choose), MATCH_AGAIN)
    run, records = run_steps(tmp_path, pool(), steps=steps, rules=RULES | {"recaption": {}})
    entries = run.ledger.table(records["match_concepts"], "concepts", ["entry"])["entry"].to_pylist()
    rows = run.ledger.table(records["match_again"], "matches")["entries"].to_pylist()
    found = [entries[number] for row in rows for number in row]
    assert {name: found.count(name) for name in set(found)} == {"dog": 40, "fox": 24} | CHINESE | {"狗": 31}
