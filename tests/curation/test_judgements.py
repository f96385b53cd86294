"""Steps judged again from little tables: what fits what is stored, and what does not."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace

import pyarrow as pa
import pytest

from evenly.curation.balance.source_mixing import SourceRule
from evenly.curation.decisions import Decisions
from evenly.curation.step import Given, Judged
from evenly.curation.steps import STEPS
from tests.curation.balance.whole_inputs import mix_sources

UIDS = pa.array([f"{number:032x}" for number in range(20)])


@dataclass
class Tables:
    """What steps left behind, in memory: the pairs before the step, its decisions, its other tables."""

    pairs: pa.Table
    decided: pa.Table
    others: dict[str, pa.Table] = field(default_factory=dict)
    part: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(number=0))

    def alive(self, _records, columns):
        return self.pairs.select(["uid", *columns])

    def decisions(self, _record, columns=None):
        return self.decided if columns is None else self.decided.select(columns)

    def table(self, _record, name, columns=None):
        return self.others[name] if columns is None else self.others[name].select(columns)


def judged(name: str, rule: dict, tables: Tables, *, seed: int = 7, notes: dict | None = None) -> Judged:
    """What the step must have said of the pairs."""
    step = STEPS[name]
    hashes = dict.fromkeys(["decisions", *tables.others], "")
    upstream = [SimpleNamespace(name="collect", columns=tables.pairs.column_names, hashes={})]
    given = Given(
        record=SimpleNamespace(name=name, columns=tables.decided.column_names, hashes=hashes),
        upstream=upstream,
        rule=step.stored_rule(rule),
        reads=() if step.reads is None else step.reads(upstream, step.stored_rule(rule)),
        seed=seed,
        notes=notes or {},
        tables=tables,
        each=lambda _, function: [function(tables)],
    )
    with ExitStack() as stack:
        return stack.enter_context(step.rejudge(given)).judge(tables)


def one_pair(*, pairs: dict | None = None, others: dict | None = None, **decided: object) -> Tables:
    """Tables of one pair, with what was said of it."""
    said = {"verdict": "kept", "reason": "", "value": None, "into": None} | decided
    kinds = {"value": pa.float64(), "into": pa.string()}
    columns = {name: pa.array([value], kinds.get(name)) for name, value in said.items()}
    own = {name: pa.array([value]) for name, value in (pairs or {}).items()}
    return Tables(pa.table({"uid": UIDS[:1], **own}), pa.table({"uid": UIDS[:1], **columns}), others or {})


def reason(name: str, rule: dict, tables: Tables, **options: object) -> str:
    return judged(name, rule, tables, **options).decisions.reason[0].as_py()


DETECTOR = {"detector": {"threshold": 0.25, "classes": ["X"]}}


@pytest.mark.parametrize(("score", "wanted"), [(0.25, "unsafe"), (0.24, ""), (0.3, "unsafe")])
def test_a_score_of_the_detector_is_held_against_its_threshold(score, wanted):
    assert reason("safety", DETECTOR, one_pair(unsafe_score=score, unsafe_class="X")) == wanted


def test_what_a_list_says_stands_and_takes_nothing_from_the_detector():
    listed = one_pair(reason="blocked_look:0123", verdict="dropped", value=3.0, unsafe_score=0.9, unsafe_class="X")
    assert reason("safety", DETECTOR, listed) == "blocked_look:0123"
    assert reason("safety", DETECTOR, one_pair(reason="strange", unsafe_score=0.1, unsafe_class="X")) == ""


def contaminated(kind: str, distance: float) -> Tables:
    row = {"uid": UIDS[0].as_py(), "kind": kind, "distance": distance}
    return one_pair(others={"contamination": pa.Table.from_pylist([row])})


@pytest.mark.parametrize(
    ("kind", "distance", "wanted"),
    [("perceptual", 16.0, True), ("perceptual", 17.0, False), ("semantic", 0.95, True), ("semantic", 0.94, False)],
)
def test_recorded_matches_are_held_against_the_rule(kind, distance, wanted):
    limits = {"sets": {"val": "val"}, "perceptual": 16, "semantic": 0.95, "colour": 22.0}
    assert reason("decontaminate", limits, contaminated(kind, distance)) == (f"contaminated_{kind}" if wanted else "")


@pytest.mark.parametrize(("target", "wanted"), [(3, ""), (0, "off_target")])
def test_the_cluster_of_a_pair_is_looked_up(target, wanted):
    clusters = pa.table({"cluster": [3, 4], "target": [0, target]})
    assert (
        reason("image_based", {"target": "t"}, one_pair(cluster=4, value=0.5, others={"clusters": clusters})) == wanted
    )


def test_a_filter_that_looked_something_up_is_judged_by_its_stored_value():
    rule, notes = {"caption_blocklist": {"file": "gone.txt", "sha256": ""}}, {"caption_blocklist": "0123456789abcdef"}
    tables = one_pair(pairs={"caption": "a cat"}, caption_blocklist_value=1.0)
    again = judged("check_texts", rule, tables, notes=notes)
    assert again.decisions.reason.to_pylist() == ["blocked_words:0123456789ab"]
    assert again.detail == "measured and judged again by 0 filters, judged again by the stored values of 1"


SIZE = {"image_size": {"min_side": 16}}


@pytest.mark.parametrize(
    ("phash", "side", "said", "wanted"),
    [
        (5, 9, "", "too_small"),
        (None, 99, "too_slow", "too_slow"),
        (5, 99, "too_slow", ""),
        (None, 9, "too_small", "too_small"),
    ],
)
def test_that_a_picture_took_too_long_is_a_recording_of_those_without_a_fingerprint(phash, side, said, wanted):
    tables = one_pair(pairs={"image_id": "a", "width": side, "height": side}, phash=phash, reason=said)
    assert reason("check_images", SIZE, tables) == wanted


EDGES = pa.table({"uid_a": UIDS[:2], "uid_b": UIDS[1:3], "distance": [3.0, 4.0]})


def three_alike(edges: pa.Table = EDGES, **columns: list) -> Tables:
    pairs = {"uid": UIDS[:3], "width": [9, 5, 7], "height": [9, 5, 7]} | columns
    said = {"verdict": ["kept"] * 3, "reason": [""] * 3, "value": [None, 3.0, 7.0]}
    return Tables(pa.table(pairs), pa.table({"uid": UIDS[:3], **said}), {"edges": edges})


def test_duplicates_are_merged_into_the_largest_of_their_component():
    again = judged("deduplicate_perceptual", {"max_distance": 8}, three_alike()).decisions
    assert again.reason.to_pylist() == ["", "near_duplicate", "near_duplicate"]
    assert again.into.to_pylist() == [None, UIDS[0].as_py(), UIDS[0].as_py()]
    assert again.value.to_pylist() == [None, 3.0, 7.0]


def test_bits_are_counted_again_where_hashes_are_there():
    tables = three_alike(phash=pa.array([0, 1, 7], pa.uint64()))
    again = judged("deduplicate_perceptual", {"max_distance": 8}, tables).decisions
    assert again.value.to_pylist() == [None, 1.0, 3.0]


def test_pairs_of_an_edge_that_the_rule_does_not_allow_go_for_no_reason_that_a_step_gives():
    again = judged("deduplicate_perceptual", {"max_distance": 3}, three_alike()).decisions
    assert again.reason.to_pylist() == ["", "edge_outside_the_rule", "edge_outside_the_rule"]


def test_pairs_of_one_file_have_one_image_id():
    columns = {"image_id": ["i", "i", "j"], "url": ["u", "u", "v"]}
    again = judged("deduplicate_exact", {}, three_alike(EDGES.slice(0, 1), **columns)).decisions
    assert again.reason.to_pylist() == ["", "same_url", ""]
    again = judged("deduplicate_exact", {}, three_alike(**columns)).decisions
    assert again.reason.to_pylist() == ["", "edge_outside_the_rule", "edge_outside_the_rule"]


def test_sources_are_mixed_as_before():
    sources = pa.array(["web"] * 12 + ["books"] * 6 + ["other"] * 2)
    rule = {"sources": {"web": {"quota": 5}, "books": {"weight": 0.5}}}
    mixed = mix_sources(UIDS, sources, {name: SourceRule(**one) for name, one in rule["sources"].items()}, seed=7)
    pairs = pa.table({"uid": UIDS, "source": sources})
    again = judged("mix_sources", rule, Tables(pairs, mixed.decisions.to_table(UIDS)))
    assert again.decisions.to_table(UIDS).equals(mixed.decisions.to_table(UIDS))
    assert again.columns["mix_threshold"].equals(mixed.thresholds)
    other = judged("mix_sources", rule, Tables(pairs, mixed.decisions.to_table(UIDS)), seed=8)
    assert other.decisions.reason != mixed.decisions.reason


def test_a_caption_is_matched_with_the_list_of_its_language():
    concepts = pa.table({"entry": ["dog", "chat", "taxi"], "languages": [["en"], ["fr"], ["en", "fr"]]})
    pairs = pa.table(
        {
            "uid": UIDS[:4],
            "caption": ["a dog, a chat", "le chat en taxi", "taxi", "dog"],
            "language": ["en", "fr", "de", None],
        }
    )
    rule = {"metadata": "list", "mode": "faithful", "plurals": False, "language": "language"}
    tables = Tables(pairs, Decisions.keep_all(4).to_table(UIDS[:4]), {"concepts": concepts})
    again = judged("match_concepts", rule, tables)
    assert again.tables["matches"]["entries"].to_pylist() == [[0], [1, 2]]
    assert again.decisions.reason.to_pylist() == ["", "", "no_list_of_language", "no_list_of_language"]
