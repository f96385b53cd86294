"""The fewest edges between two duplicates, held against a search over all paths; and why a pair went at each step."""

import itertools
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evenly.audit.explanation import Explanation
from evenly.audit.published import PublishedBuild
from evenly.audit.why import MERGED_EXAMPLES, explain, path_between
from tests.audit.outcomes import outcomes


def edges(*pairs: tuple[str, str]) -> pa.Table:
    rows = [{"uid_a": a, "uid_b": b, "kind": "near", "distance": float(at)} for at, (a, b) in enumerate(pairs)]
    schema = pa.schema(
        [("uid_a", pa.string()), ("uid_b", pa.string()), ("kind", pa.string()), ("distance", pa.float64())]
    )
    return pa.Table.from_pylist(rows, schema)


def test_edges_have_no_direction_and_keep_what_was_measured():
    assert path_between(edges(("b", "a"), ("b", "c")), "a", "c") == [
        {"from": "a", "to": "b", "kind": "near", "distance": 0.0},
        {"from": "b", "to": "c", "kind": "near", "distance": 1.0},
    ]


@pytest.mark.parametrize("pairs", [[], [("a", "b"), ("c", "d")], [("b", "d")]])
def test_where_no_path_is_recorded_there_is_none(pairs):
    assert path_between(edges(*pairs), "a", "d") == []


NODES = "abcde"
EDGES = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=8)


@example(pairs=[("a", "b"), ("a", "c"), ("b", "e"), ("c", "d"), ("d", "e")])
@given(pairs=EDGES)
def test_a_path_is_whole_and_none_is_shorter(pairs):
    path = path_between(edges(*pairs), "a", "e")
    linked = {frozenset(pair) for pair in pairs}
    lengths = [
        len(between) + 1
        for n in range(len(NODES) - 1)
        for between in itertools.permutations("bcd", n)
        if all(frozenset(step) in linked for step in itertools.pairwise(["a", *between, "e"]))
    ]
    assert len(path) == min(lengths, default=0)
    if path:
        assert (path[0]["from"], path[-1]["to"]) == ("a", "e")
        assert all(one["to"] == two["from"] for one, two in itertools.pairwise(path))
        assert all(frozenset((one["from"], one["to"])) in linked for one in path)


STEPS_THAT_LOSE = {
    "check_texts": ("dropped", "too_few_words"),
    "match_concepts": ("dropped", "no_concept"),
    "preselect": ("dropped", "preselect_draw"),
    "download": ("failed", "http_404"),
    "check_images": ("dropped", "too_small"),
    "deduplicate_exact": ("merged", ""),
    "deduplicate_perceptual": ("merged", "near_duplicate"),
    "align": ("dropped", "low_score"),
    "balance": ("dropped", "balance_draw"),
}


@pytest.mark.parametrize("step", STEPS_THAT_LOSE)
def test_a_pair_that_went_at_a_step_is_explained_up_to_there_and_no_further(published, step):
    build = PublishedBuild(*published)
    uids = [row["uid"] for row in outcomes(build) if row["step"] == step]
    assert uids, step
    outcome, reason = STEPS_THAT_LOSE[step]
    for uid in uids:
        (pair,) = explain(*published, uid).pairs
        assert (pair.outcome, pair.step) == (outcome, step)
        assert not reason or pair.reason == reason or step in ("download", "preselect")
        names = [record.name for record in build.deciding]
        assert [sight.step for sight in pair.steps] == names[: names.index(step) + 1]
        assert {sight.verdict for sight in pair.steps[:-1]} <= {"kept"}
        assert (pair.steps[-1].twin is not None) == (outcome == "merged")
        assert f"{outcome} at {step} ({pair.reason})" in Explanation(build="b", asked=uid, pairs=[pair]).to_text()


def test_a_row_without_an_address_is_found_by_its_empty_uid_and_has_no_steps(published):
    build = PublishedBuild(*published)
    arrivals = build.ledger.table(build.records[0], "arrivals").to_pylist()
    (nameless,) = [row for row in arrivals if row["uid"] is None]
    assert nameless["reason"] == "no_url"
    assert not build.samples(["url"], "url = ''").num_rows


def test_many_pairs_merged_into_one_are_counted_and_the_first_listed(build, workspace, little):
    row = little.pool[0]
    many = tuple(
        replace(row, url=f"http://p.test/copy{number}.png", caption=f"a flag copy {number}") for number in range(30)
    )
    manifest = build(pool=many, t=1000.0)
    published = PublishedBuild(workspace, manifest)
    kept = published.samples(["uid"], "deduplicate_exact_verdict = 'kept'")["uid"].to_pylist()
    (survivor,) = kept
    (pair,) = explain(workspace, manifest, survivor).pairs
    assert (pair.merged, len(pair.merged_examples)) == (29, MERGED_EXAMPLES)
    assert "and 9 more" in Explanation(build="b", asked="", pairs=[pair]).to_text()


def test_a_url_with_a_quote_and_blanks_around_it_is_found(build, workspace, little):
    url = "http://p.test/o'clock.png"
    manifest = build(pool=(*little.pool, replace(little.pool[0], url=url, caption="one flag more")))
    (pair,) = explain(workspace, manifest, f"  {url}\n").pairs
    assert pair.identity["url"] == url


def test_what_the_pool_had_beside_stands_with_the_identity(published):
    (pair,) = explain(*published, "http://p.test/cat2.png").pairs
    assert pair.identity["group"] == "cat2"
    assert "label" not in pair.identity
    assert pair.image == {"image_id": pair.image["image_id"], "file": None}
