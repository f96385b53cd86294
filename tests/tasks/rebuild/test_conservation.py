"""Whatever rows a step meets (none, one, nulls, empty and odd texts, copies), it accounts for each, in any order."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evenly.curation.balance.judgement import MIX_SOURCES
from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.storage.ledger import StepOutput, StepRecord, StepSpec
from evenly.storage.records import content_hash
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_AGAIN, MATCH_CONCEPTS
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_CAPTIONS, DEDUPLICATE_EXACT, DEDUPLICATE_PERCEPTUAL
from evenly.tasks.rebuild.filters import CHECK_TEXTS
from evenly.tasks.rebuild.safety import BLOCK_DOMAINS
from evenly.tasks.run import Run
from evenly.tasks.step import Step, ledger_step
from tests.few_examples import few
from tests.picture_pool import commit
from tests.step_outputs import output_of

MATCHING = {"metadata": "{root}/concepts.txt", "mode": "normalized", "plurals": True}
STEPS: dict[str, tuple[Step, dict]] = {
    "check_texts": (CHECK_TEXTS, {"caption_length": {"min_words": 1, "max_words": 4}, "caption_boilerplate": {}}),
    "match_concepts": (MATCH_CONCEPTS, MATCHING),
    "block_domains": (BLOCK_DOMAINS, {"domains": ["{root}/domains.txt"]}),
    "mix_sources": (ledger_step(MIX_SOURCES), {"sources": {"web": {"quota": 3}, "books": {"weight": 0.5}}}),
    "deduplicate_exact": (DEDUPLICATE_EXACT, {}),
    "deduplicate_perceptual": (DEDUPLICATE_PERCEPTUAL, {"max_distance": 8, "max_colour": 22.0}),
    "deduplicate_captions": (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.7, "scope": "pool"}),
    "captions of an image": (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.7, "scope": "image"}),
}
BY_ROW = ("check_texts", "match_concepts", "block_domains")
CAPTION = st.none() | st.sampled_from(
    [
        "",
        " ",
        "a dog",
        "a dog!",
        "DOG",
        "two dogs and a cat",
        "click here",
        "\U0001f98a",
        "a\x00b",
        "x" * 300,
        "e\u0301t\u00e9 dog",
    ]
)
URL = st.sampled_from(
    ["http://a.test/1", "http://sub.bad.test/2", "http://BAD.test/3", "https://\u00fc.test/4", "sha256:00"]
)
ROW = st.fixed_dictionaries(
    {
        "url": URL,
        "caption": CAPTION,
        "source": st.sampled_from(["web", "books", "other", None]),
        "image_id": st.none() | st.sampled_from(["i1", "i2", "i3"]),
        "phash": st.none() | st.sampled_from([0, 1, 2**63, 2**64 - 1]),
        "width": st.none() | st.integers(1, 99),
        "colour": st.none() | st.integers(0, 255),
    }
)
ROWS = st.lists(ROW, max_size=14)
property_of_steps = few(5, most=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def run(workspace) -> Run:
    workspace.root.mkdir(parents=True)
    (workspace.root / "concepts.txt").write_text("dog\ncat\n\U0001f98a\n")
    (workspace.root / "domains.txt").write_text("bad.test\n")
    return Run(workspace=workspace, seed=3, processes=1)


def collected(run: Run, rows: list[dict]) -> StepRecord:
    """The record of a step that gave the rows, of which the numbers are the uids."""
    kinds = {"phash": pa.uint64(), "width": pa.int32(), "colour": pa.list_(pa.uint8(), COLOUR_BYTES)}
    table = Decisions.keep_all(len(rows)).to_table(pa.array([f"{at:032x}" for at in range(len(rows))], pa.string()))
    for name in ("url", "caption", "source", "image_id", "phash", "width", "colour"):
        values = [row[name] for row in rows]
        if name == "colour":
            values = [None if value is None else [value] * COLOUR_BYTES for value in values]
        table = table.append_column(name, pa.array(values, kinds.get(name, pa.string())))
    table = table.append_column("height", table["width"])
    spec = StepSpec(name="collect", version=1, rule={"rows": content_hash([rows])}, inputs={})
    return run.ledger.commit(spec, StepOutput(decisions=table), uids=None, started=datetime.now(UTC))


def decided(run: Run, step: Step, rule: dict, rows: list[dict]) -> pa.Table:
    """What the step says of the rows; the commit refuses what does not account for each."""
    record = commit(run, step, [collected(run, rows)], rule)
    assert record.rows_in == sum(record.counts.values()) == len(rows)
    assert sum(record.reasons.values()) == len(rows) - record.counts.get("kept", 0)
    return run.ledger.decisions(record)


@pytest.mark.parametrize("name", STEPS)
@property_of_steps
@given(rows=ROWS)
def test_kept_dropped_failed_and_merged_are_all_that_came(run, name, rows):
    table = decided(run, *STEPS[name], rows)
    kept = set(table.filter(pc.equal(table["verdict"], "kept"))["uid"].to_pylist())
    for row in table.select(["uid", "verdict", "reason", "into"]).to_pylist():
        assert (row["verdict"] == "kept") == (row["reason"] == "")
        assert (row["verdict"] == "merged") == (row["into"] is not None)
        assert row["into"] is None or (row["into"] in kept and row["into"] != row["uid"])


@pytest.mark.parametrize("name", BY_ROW)
@property_of_steps
@given(rows=ROWS, data=st.data())
def test_a_step_by_row_says_the_same_of_a_row_wherever_it_stands(run, name, rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    straight = decided(run, *STEPS[name], rows)["reason"].to_pylist()
    turned = decided(run, *STEPS[name], [rows[at] for at in order])["reason"].to_pylist()
    assert turned == [straight[at] for at in order]
    doubled = decided(run, *STEPS[name], rows * 2)["reason"].to_pylist()
    assert doubled == straight * 2


@pytest.mark.parametrize("name", [name for name in STEPS if name.startswith(("deduplicate", "captions"))])
@property_of_steps
@given(rows=ROWS, data=st.data())
def test_as_many_pairs_survive_whatever_their_order_and_a_second_look_merges_nothing(run, name, rows, data):
    step, rule = STEPS[name]
    table = decided(run, step, rule, rows)
    kept = [at for at, verdict in enumerate(table["verdict"].to_pylist()) if verdict == "kept"]
    order = data.draw(st.permutations(range(len(rows))))
    turned = decided(run, step, rule, [rows[at] for at in order])
    assert turned["verdict"].to_pylist().count("kept") == len(kept)
    if name == "deduplicate_exact":
        again = decided(run, step, rule, [rows[at] for at in kept])
        assert set(again["verdict"].to_pylist()) <= {"kept"}


@property_of_steps
@given(rows=ROWS, processes=st.integers(2, 5))
def test_matching_gives_the_same_tables_for_any_number_of_workers(run, rows, processes):
    first = output_of(MATCH_CONCEPTS, run, [collected(run, rows)], MATCH_CONCEPTS.read(MATCHING))
    again = output_of(
        MATCH_CONCEPTS, replace(run, processes=processes), [collected(run, rows)], MATCH_CONCEPTS.read(MATCHING)
    )
    assert first.decisions.equals(again.decisions)
    assert all(first.tables[name].equals(again.tables[name]) for name in first.tables)


BALANCINGS = st.sampled_from(
    [{"t": 1.0}, {"t": 2.5, "law": "v2"}, {"tail_share": 0.5}, {"t": 2.0, "texts": "one_per_image"}, {"target": 3}]
)


@property_of_steps
@given(rows=ROWS.filter(lambda rows: any("dog" in (row["caption"] or "").lower() for row in rows)), rule=BALANCINGS)
def test_balancing_accounts_for_every_pair_that_matched_and_never_takes_one_back(run, rows, rule):
    records = [collected(run, rows)]
    for step, its_rule in ((MATCH_CONCEPTS, MATCHING), (COUNT_CONCEPTS, {}), (PRESELECT, rule | {"headroom": 2.0})):
        records.append(commit(run, step, records, its_rule))
    records.append(commit(run, MATCH_AGAIN, records, MATCHING))
    records.append(commit(run, BALANCE, records, rule))
    judging = [record for record in records if record.counts]
    assert [record.rows_in for record in judging[1:]] == [record.counts["kept"] for record in judging[:-1]]
    kept = [set(run.ledger.alive(records[: records.index(one) + 1], [])["uid"].to_pylist()) for one in judging]
    assert all(later <= earlier for earlier, later in itertools.pairwise(kept))
    for record in (records[3], records[5]):
        table = run.ledger.decisions(record)
        assert all(0 <= value <= 1 for value in table["value"].to_pylist())
        assert record.reasons.keys() <= {"preselect_draw", "balance_draw", "other_text"}
