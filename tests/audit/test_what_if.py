"""A rebuild by another rule does, uid for uid, what `what-if` said of all pairs of which enough was recorded."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.audit.errors import CannotTellError
from evenly.audit.published import PublishedBuild
from evenly.audit.supposed import WhatIf
from evenly.audit.what_if import SupposedStep, suppose
from evenly.curation.align import Align, judge_alignment, resolve_threshold
from evenly.curation.balance.cap import CAP
from evenly.curation.exclusions.clusters import TargetClusters
from evenly.curation.filters import FilterRules
from evenly.curation.regions.judgement import RegionRule
from evenly.curation.reservations.rule import PoolDownload
from evenly.curation.step import Judged
from evenly.curation.steps import STEPS
from evenly.curation.values.judgement import VALUES
from evenly.flows.recipe.steps import KNOWN_STEPS
from evenly.storage.ledger import StepRecord
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_LINKED, DEDUPLICATE_SEMANTIC
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step, ledger_step
from tests.picture_pool import picture
from tests.tasks import whole_rebuild
from tests.tasks.conftest import Rebuilt, encoding_colours
from tests.tasks.step_contract import steps_with_contract
from tests.tasks.whole_rebuild import BLUE, GREEN, RED, RULES, Row, open_run, publish, rows

Rules = Mapping[str, Mapping[str, Any]]
Changes = Mapping[str, Mapping[str, Any] | None]
FURTHER: dict[str, Step[Any]] = {
    step.name: step for step in (*map(ledger_step, (CAP, *VALUES.values())), DEDUPLICATE_SEMANTIC, DEDUPLICATE_LINKED)
}


def of_labels(*labels: str, at: str = "texts") -> dict[str, Any]:
    """The rule by which pairs of these labels stay."""
    return {"values": [{"name": "kind", "column": "label", "at": at, "among": labels}]}


ALL = {step.name: step for step in whole_rebuild.STEPS} | FURTHER
BUILT: Rules = deepcopy(RULES) | {
    "cap": {"column": "label", "most": 20},
    "check_text_values": of_labels("fox", "owl", "cat"),
    "mix_sources": {"sources": {"pool": {"weight": 1.0, "quota": 75}}},
    "preselect": {"t": 9.0, "headroom": 3.0},
    "check_images": {"image_size": {"min_side": 16}, "image_aspect": {"max_aspect": 3.0}},
    "deduplicate_perceptual": {"max_distance": 6, "max_colour": 6.0},
    "deduplicate_semantic": {"min_cosine": 0.99999, "max_colour": 6.0, "tables": 8},
    "deduplicate_linked": {"min_cosine": 1.0, "weight": 0.6, "tables": 8},
    "deduplicate_captions": {"min_jaccard": 0.9, "scope": "pool"},
    "decontaminate": {"sets": {"val": "{root}/val"}, "perceptual": 4, "semantic": 0.99, "colour": 22.0},
    "recaption": RULES["recaption"] | {"choose": {"by": "original"}},
    "align": {"keep_top": 0.9},
    "balance": {"t": 9.0},
}


def pool() -> list[Row]:
    """The rows of the whole rebuild, and more of each kind: colours in between, and captions that name several."""
    kinds = {"fox": RED, "owl": GREEN, "cat": BLUE}
    more = []
    for n in range(60):
        name, colour = list(kinds.items())[n // 2 % 3]
        shade = tuple(min(255, channel + 4 * (n % 2)) for channel in colour)
        words = ["one", "a very old", "some", "the", "two of a"][n % 5]
        tail = "and its cat " if n % 7 == 0 else ""
        caption = f"{words} {['red', 'green', 'blue', 'pale'][n % 4]} {name} {tail}number {n}"
        size = [(64, 48), (20, 48), (128, 50)][n % 3]
        content = picture(shade, pattern=200 + n // 4, size=size)
        more.append(Row(f"more{n}", caption, content, name, f"g{n % 11}"))
    return [*rows(), *more]


def records_by(run, rules: Rules) -> tuple[StepRecord, ...]:
    """The records of the steps that have a rule, in their order."""
    records: tuple[StepRecord, ...] = ()
    for name in STEPS:
        if name in rules:
            records = (*records, run_step(run, ALL[name], records, ALL[name].read(rules[name])))
        if name == "match_concepts" and name in rules:
            records = (*records, run_step(run, ALL["count_concepts"], records, ALL["count_concepts"].read({})))
    return records


TEXTS = (
    "collect",
    "check_texts",
    "check_text_values",
    "mix_sources",
    "cap",
    "match_concepts",
    "deduplicate_captions",
    "balance",
)
"""The steps of a rebuild that takes no time."""


def build_of(folder: Path, rules: Rules, *, bits: int = 0) -> Rebuilt:
    """A published build by these rules."""
    run = replace(open_run(folder, pool()), bits=bits)
    records = records_by(run, rules)
    return Rebuilt(run=run, records=records, manifest=publish(run, records))


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory) -> Rebuilt:
    """A build of captions alone."""
    return build_of(tmp_path_factory.mktemp("texts") / "w", {name: BUILT[name] for name in TEXTS})


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory):
    """A build by all steps."""
    with encoding_colours():
        yield build_of(tmp_path_factory.mktemp("pictures") / "w", BUILT)


def with_rules(built: Rules, changes: Changes) -> Rules:
    """The rules of a build, with other values of some fields; None leaves a step out."""
    rules = {**deepcopy(built)}
    for name, values in changes.items():
        if values is None:
            del rules[name]
        else:
            rules[name] = {**rules.get(name, {}), **values}
    return rules


def supposed(built: Rebuilt, rules: Rules) -> WhatIf:
    steps = [
        SupposedStep(name=name, rule=ALL[name].stored(ALL[name].read(rule)), seed=built.run.seed)
        for name, rule in rules.items()
        if name in STEPS
    ]
    return suppose(PublishedBuild(built.run.workspace, built.manifest), steps)


def ends(ledger, records) -> dict[str, tuple[str, str, str]]:
    """Where each pair ends."""
    ended = dict.fromkeys(ledger.decisions(records[0], ["uid"])["uid"].to_pylist(), ("", "kept", ""))
    for record in records:
        if "decisions" in record.hashes:
            for row in ledger.decisions(record, ["uid", "verdict", "reason"]).to_pylist():
                if row["verdict"] != "kept":
                    ended[row["uid"]] = (record.name, row["verdict"], row["reason"])
    return ended


CHANGES: dict[str, Changes] = {
    "nothing": {},
    "check_texts.max_words": {"check_texts": {"caption_length": {"min_words": 2, "max_words": 5}}},
    "check_texts.more_words": {"check_texts": {"caption_length": {"min_words": 2, "max_words": 10}}},
    "check_texts.another": {"check_texts": {"caption_characters": {"min_characters": 18}}},
    "check_texts.off": {"check_texts": None},
    "check_text_values.another": {"check_text_values": of_labels("fox", "cat")},
    "check_text_values.off": {"check_text_values": None},
    "check_values": {"check_values": {"values": [{"name": "fit", "column": "caption_score", "keep_top": 0.5}]}},
    "mix_sources.quota": {"mix_sources": {"sources": {"pool": {"weight": 1.0, "quota": 40}}}},
    "mix_sources.weight": {"mix_sources": {"sources": {"pool": {"weight": 0.5, "quota": None}}}},
    "cap.most": {"cap": {"most": 10}},
    "cap.column": {"cap": {"column": "group", "most": 3}},
    "cap.off": {"cap": None},
    "match.plurals": {"match_concepts": {"plurals": True}, "match_again": {"plurals": True}},
    "match.mode": {"match_concepts": {"mode": "faithful"}, "match_again": {"mode": "faithful"}},
    "match.unmatched": {"match_concepts": {"unmatched": "keep"}, "preselect": None},
    "preselect.tail_share": {"preselect": {"t": None, "tail_share": 0.3}},
    "preselect.target": {"preselect": {"t": None, "target": 30}},
    "preselect.texts": {"preselect": {"texts": "one_per_image"}},
    "preselect.language": {"preselect": {"language": "label", "reference": "cat"}},
    "preselect.t": {"preselect": {"t": 4.0}},
    "preselect.headroom": {"preselect": {"headroom": 1.0}},
    "preselect.off": {"preselect": None},
    "preselect.law": {"preselect": {"t": 4.0, "law": "v2"}},
    "check_images.min_side": {"check_images": {"image_size": {"min_side": 30}}},
    "check_images.loose": {"check_images": {"image_size": {"min_side": 2}}},
    "check_images.aspect": {"check_images": {"image_aspect": {"max_aspect": 1.5}}},
    "deduplicate_exact.off": {"deduplicate_exact": None},
    "deduplicate_perceptual.max_distance": {"deduplicate_perceptual": {"max_distance": 20}},
    "deduplicate_perceptual.max_colour": {"deduplicate_perceptual": {"max_distance": 24, "max_colour": 40.0}},
    "deduplicate_perceptual.max_shifted": {"deduplicate_perceptual": {"max_shifted": 30.0}},
    "deduplicate_perceptual.off": {"deduplicate_perceptual": None},
    "deduplicate_semantic.min_cosine": {"deduplicate_semantic": {"min_cosine": 0.95}},
    "deduplicate_semantic.max_colour": {"deduplicate_semantic": {"max_colour": None}},
    "deduplicate_semantic.tables": {"deduplicate_semantic": {"tables": 2}},
    "deduplicate_semantic.off": {"deduplicate_semantic": None},
    "deduplicate_linked.min_cosine": {"deduplicate_linked": {"min_cosine": 0.99999}},
    "deduplicate_linked.weight": {"deduplicate_linked": {"min_cosine": 0.9999, "weight": 0.1, "tables": 16}},
    "deduplicate_captions.min_jaccard": {"deduplicate_captions": {"min_jaccard": 0.6}},
    "deduplicate_captions.scope": {"deduplicate_captions": {"scope": "image", "min_jaccard": 0.4}},
    "deduplicate_captions.off": {"deduplicate_captions": None},
    "decontaminate.narrower": {"decontaminate": {"perceptual": 0}},
    "decontaminate.semantic": {"decontaminate": {"semantic": 0.9999, "perceptual": None}},
    "decontaminate.off": {"decontaminate": None},
    "safety.off": {"safety": None},
    "recaption.score": {"recaption": {"choose": {"by": "score", "margin": 0.0}}},
    "recaption.margin": {"recaption": {"choose": {"by": "score", "margin": 0.01}}},
    "recaption.draw": {"recaption": {"choose": {"by": "draw", "rates": {"retrieved": 0.5}}}},
    "recaption.off": {"recaption": None, "align": None},
    "align.keep_top": {"align": {"keep_top": 0.5}},
    "align.min_score": {"align": {"keep_top": None, "min_score": 0.99}},
    "recaption.none": {"recaption": None},
    "align.off": {"align": None},
    "balance.t": {"balance": {"t": 2.0}},
    "balance.tail_share": {"balance": {"t": None, "tail_share": 0.4}},
    "balance.target": {"balance": {"t": None, "target": 9}},
    "balance.law": {"balance": {"t": 3.0, "law": "v2"}},
    "balance.texts": {"balance": {"t": 3.0, "texts": "one_per_image"}},
    "balance.language": {"balance": {"t": 3.0, "language": "label", "reference": "cat"}},
    "balance.off": {"balance": None},
    "together": {"align": {"keep_top": 0.6}, "balance": {"t": 3.5}, "deduplicate_perceptual": {"max_distance": 20}},
}


OF_TEXTS = [name for name, changes in CHANGES.items() if {*changes} <= {*TEXTS}]
FIXED = {
    "block_domains": {"domains"},
    "match_concepts": {"metadata", "language", "texts"},
    "match_again": {"metadata", "language", "texts"},
    "download": {field.name for field in fields(PoolDownload)},
    "safety": {"files", "looks", "domains", "max_distance"},
    "decontaminate": {"sets", "colour"},
    "find_regions": {field.name for field in fields(RegionRule)},
    "rank": {"adapter", "model"},
    "align": {"model"},
    "deduplicate_semantic": {"model"},
    "score_texts": {"scorers"},
    "score_images": {"scorers"},
    "score_pairs": {"scorers"},
    "score_features": {"methods"},
    "recaption": {"captioners", "judge", "read_text"},
    "image_based": {field.name for field in fields(TargetClusters)},
}
"""The fields of rules by which values were measured."""
ELSEWHERE = {
    "collect": {"limit"},
    "match_again": {"unmatched"},
    "balance": {"headroom"},
    "safety": {"detector"},
    "rank": {"keep_top", "min_score"},
}
"""Fields that no `curate` has; of `safety`, tried below; of steps that judge as others do that are tried."""


def holds(built: Rebuilt, changes: Changes) -> None:
    """See that a rebuild does what was said of it."""
    rules = with_rules({record.name: record.rule for record in built.records}, changes)
    said = supposed(built, rules)
    rebuilt = records_by(built.run, rules)
    done, told = ends(built.run.ledger, rebuilt), ends(said.ledger, said.records)
    unknown = {row["uid"] for row in said.examples("unknown", len(done))}
    if not said.open_steps:
        assert {uid: (end, done[uid]) for uid, end in told.items() if uid not in unknown and end != done[uid]} == {}
    if said.bounds is not None:
        assert said.bounds[0] <= sum(end[1] == "kept" for end in done.values()) <= said.bounds[1]


@pytest.mark.parametrize("name", OF_TEXTS)
def test_a_rebuild_of_captions_by_other_rules_does_what_was_said(of_texts, name):
    holds(of_texts, CHANGES[name])


def test_a_build_in_partitions_is_judged_as_one(of_texts, tmp_path):
    cut = build_of(tmp_path / "w", {name: BUILT[name] for name in TEXTS}, bits=3)
    changes = {"cap": {"most": 10}, "balance": {"t": 3.0}, "deduplicate_captions": {"min_jaccard": 0.6}}
    rules = with_rules({record.name: record.rule for record in of_texts.records}, changes)
    said, of_parts = (supposed(build, rules) for build in (of_texts, cut))
    assert of_parts.records[0].bits == 3
    assert said.fates.num_rows
    assert of_parts.fates.equals(said.fates)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_rebuild_by_other_rules_does_what_was_said(of_pictures, name):
    holds(of_pictures, CHANGES[name])


def test_what_another_run_measured_of_pictures_is_known(tmp_path):
    names = ("collect", "match_concepts", "preselect", "download", "check_images", "deduplicate_exact")
    built = build_of(tmp_path / "w", {name: BUILT[name] for name in names})
    rules = with_rules({record.name: record.rule for record in built.records}, {"preselect": None})
    assert supposed(built, rules).unknown
    rebuilt = records_by(built.run, rules)
    said = supposed(built, rules)
    assert (said.unknown, list(said.open_steps)) == (0, [])
    assert ends(said.ledger, said.records) == ends(built.run.ledger, rebuilt)


def test_each_field_of_each_rule_is_tried_or_refused():
    tried = {(step, field) for changes in CHANGES.values() for step, rule in changes.items() for field in rule or ()}
    tried |= {(step, field) for names in (FIXED, ELSEWHERE) for step, of_step in names.items() for field in of_step}
    rules = {step.name: step.rule for step in KNOWN_STEPS if is_dataclass(step.rule)}
    assert [
        (name, field.name)
        for name, rule in rules.items()
        if rule is not FilterRules and name not in {"deduplicate_exact", *steps_with_contract()}
        for field in fields(rule)
        if (name, field.name) not in tried
    ] == []


@pytest.mark.parametrize(("step", "field"), [(step, field) for step, names in FIXED.items() for field in sorted(names)])
def test_a_field_that_values_were_measured_by_is_refused_and_stands_in_the_docs(step, field):
    assert list(STEPS[step].fixed({field: "a"}, {field: "b"})) == [field]
    section = STEPS[step].section
    docs = (Path(__file__).parents[2] / "docs" / "what-if.md").read_text(encoding="utf-8")
    assert f"`{section}`" in docs or f"`{section}.{field}`" in docs


def detected(threshold: float, name: str) -> dict:
    return {"detector": {"threshold": threshold, "classes": [name]}}


@pytest.mark.parametrize(
    ("step", "before", "after", "refused"),
    [
        ("safety", detected(0.2, "X"), detected(0.4, "X"), []),
        ("safety", detected(0.2, "X"), detected(0.2, "Y"), ["detector.classes"]),
        ("safety", {"detector": None}, detected(0.4, "X"), ["detector"]),
        ("decontaminate", {"perceptual": 8, "semantic": 0.9}, {"perceptual": 4, "semantic": None}, []),
        ("decontaminate", {"perceptual": 8, "semantic": 0.9}, {"perceptual": 9}, ["perceptual"]),
        ("decontaminate", {"perceptual": 8, "semantic": 0.9}, {"semantic": 0.8}, ["semantic"]),
        ("check_texts", {}, {"caption_entities": {}}, ["caption_entities"]),
        ("check_texts", {"caption_blocklist": {"file": "a"}}, {}, []),
    ],
)
def test_what_may_differ_depends_on_both_rules(step, before, after, refused):
    assert list(STEPS[step].fixed(before, after)) == refused


def test_a_measured_step_that_never_ran_is_refused(of_texts):
    rules = with_rules({record.name: record.rule for record in of_texts.records}, {"align": {"keep_top": 0.5}})
    with pytest.raises(CannotTellError, match="step `align` must have been run in this workspace"):
        supposed(of_texts, rules)


def test_what_no_record_can_tell_is_refused_by_name(of_texts):
    rules = with_rules({record.name: record.rule for record in of_texts.records}, {"match_concepts": {"metadata": "x"}})
    with pytest.raises(CannotTellError, match="`match` must keep metadata"):
        supposed(of_texts, rules)


SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.9])


@settings(max_examples=50)
@given(
    scores=st.lists(SCORES, min_size=1, max_size=30),
    more=st.lists(SCORES, max_size=8),
    keep_top=st.sampled_from([0.1, 0.35, 0.5, 0.9, 1.0]),
)
def test_unknown_scores_move_no_more_pairs_than_was_said(scores, more, keep_top):
    rule, known = Align(keep_top=keep_top), pa.array(scores)
    alone = judge_alignment(known, resolve_threshold(known, rule))
    judged = Judged(uids=pa.array(map(str, range(len(scores)))), decisions=alone)
    leave, back = STEPS["align"].moved(rule, judged, len(more))
    together = judge_alignment(known, resolve_threshold(pa.array([*scores, *more]), rule))
    left = pc.sum(pc.and_not(alone.kept, together.kept)).as_py()
    came = pc.sum(pc.and_not(together.kept, alone.kept)).as_py()
    assert left <= leave
    assert came <= back
