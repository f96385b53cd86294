"""Both balancing steps through the ledger: by each law, by language, by one text per picture, for each threshold."""

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError
from evenly.storage.ledger import StepOutput
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import BALANCE, PRESELECT, concept_lines
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_AGAIN, MATCH_CONCEPTS
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step

CONCEPTS = ["dog", "cat", "fox", "owl"]
N = 600


@pytest.fixture
def run(workspace, tmp_path) -> Run:
    """A run beside which the list of concepts lies."""
    (tmp_path / "concepts.txt").write_text("\n".join(CONCEPTS))
    return Run(workspace=workspace, seed=3, progress=Progress(quiet=True))


def collected(_run, _before, _rule) -> StepOutput:
    """Three captions per URL: two of the head and one of the middle; one in five names a rarer concept too."""
    rng = np.random.default_rng(5)
    captions = [f"a {'cat' if i % 3 == 2 else 'dog'}{' and a fox' if rng.random() < 0.2 else ''}" for i in range(N)]
    captions[0] = "an owl"
    uids = [hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in range(N)]
    columns = {
        "url": [f"http://p.test/{i // 3}" for i in range(N)],
        "caption": captions,
        "lang": [(["en", "de"][i % 2] if i % 50 else None) for i in range(N)],
    }
    order = np.argsort(uids)
    table = Decisions.keep_all(N).to_table(pa.array(uids)).take(pa.array(order))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.string()).take(pa.array(order)))
    return StepOutput(decisions=table)


def balanced(run, tmp_path, rule, headroom=2.0):
    """The records of a pool that is matched, preselected, matched again and balanced."""
    matching = {"metadata": str(tmp_path / "concepts.txt"), "mode": "faithful", "plurals": False}
    records = [run_step(run, Step(name="collect", rule=dict, stored=dict, load=dict, judge=collected), (), {})]
    early = rule | {"headroom": headroom}
    steps = [
        (MATCH_CONCEPTS, matching),
        (COUNT_CONCEPTS, {}),
        (PRESELECT, early),
        (MATCH_AGAIN, matching),
        (BALANCE, rule),
    ]
    for step, its_rule in steps:
        if headroom or step is not PRESELECT:
            records.append(run_step(run, step, tuple(records), step.read(its_rule)))
    return {record.name: record for record in records}


def kept(run, record) -> set[str]:
    table = run.ledger.decisions(record, ["uid", "verdict"])
    return set(table.filter(pc.equal(table["verdict"], "kept"))["uid"].to_pylist())


RULES = [
    {"t": 40},
    {"t": 40, "law": "v2"},
    {"tail_share": 0.2, "law": "v2"},
    {"target": 150},
    {"t": 40, "texts": "one_per_image"},
    {"target": 90, "texts": "one_per_image", "law": "v2"},
    {"t": 25, "language": "lang", "reference": "de"},
    {"tail_share": 0.3, "language": "lang", "law": "v2", "texts": "one_per_image"},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_preselection_and_balance_nest_and_keep_about_what_is_expected(run, tmp_path, rule):
    records = balanced(run, tmp_path, rule)
    early, late = records["preselect"], records["balance"]
    assert kept(run, late) <= kept(run, early)
    for record in (early, late):
        thresholds = run.ledger.table(record, "thresholds").to_pylist()
        assert sum(row["kept"] for row in thresholds) == record.counts["kept"]
        expected = sum(row["expected"] for row in thresholds)
        assert expected == pytest.approx(record.notes["expected"], abs=1e-3)
        assert abs(record.counts["kept"] - expected) < 4 * np.sqrt(expected) + 1
        counts = run.ledger.table(record, "counts")
        assert set(counts["concept"].to_pylist()) <= set(CONCEPTS)
        assert set(counts["language"].to_pylist()) <= ({"", "de", "en"} if "language" in rule else {""})
    if "target" in rule:
        expected = run.ledger.table(late, "thresholds")["expected"][0].as_py()
        assert expected == pytest.approx(rule["target"], abs=1e-3)


def test_a_preselection_that_keeps_all_changes_nothing(run, tmp_path):
    once = balanced(run, tmp_path, {"t": 40}, headroom=None)
    twice = balanced(run, tmp_path, {"t": 40}, headroom=20.0)
    assert kept(run, once["balance"]) == kept(run, twice["balance"])
    assert twice["preselect"].counts["kept"] == N


@pytest.mark.parametrize("headroom", [2.0, None])
def test_one_text_per_picture_is_picked_in_the_first_balancing(run, tmp_path, headroom):
    records = balanced(run, tmp_path, {"t": 40, "texts": "one_per_image"}, headroom)
    first = records["preselect" if headroom else "balance"]
    urls = run.ledger.decisions(records["collect"], ["uid", "url"]).to_pylist()
    url_of = {row["uid"]: row["url"] for row in urls}
    stayed = [url_of[uid] for uid in kept(run, first)]
    assert len(stayed) == len(set(stayed))
    texts = run.ledger.table(first, "texts").to_pylist()
    assert len(texts) == N
    assert sum(row["chosen"] for row in texts) == N // 3
    assert first.reasons["other_text"] == N - N // 3
    if headroom:
        assert run.ledger.table(records["balance"], "texts").num_rows == 0
        assert "other_text" not in records["balance"].reasons


@pytest.mark.usefixtures("run")
def test_the_seed_decides_and_not_how_wide_the_run_works(tmp_path):
    hashes = []
    for name, seed, processes in (("one", 3, 1), ("two", 3, 7), ("three", 4, 1)):
        other = Run(
            workspace=Workspace.at(tmp_path / name), seed=seed, processes=processes, progress=Progress(quiet=True)
        )
        hashes.append(balanced(other, tmp_path, {"t": 40, "texts": "one_per_image"})["balance"].hashes)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"t": 40, "language": "langue"}, "`language` must be a column of the pool or of a step before `preselect`"),
        ({"t": 40, "language": "lang", "reference": "fr"}, "`reference` must be a language of the pairs; got 'fr'"),
    ],
)
def test_a_rule_that_does_not_fit_the_pool_says_so(run, tmp_path, rule, text):
    with pytest.raises(RuleError, match=text):
        balanced(run, tmp_path, rule)


def test_a_balancing_tells_which_concepts_decide_its_draws_and_which_pairs_name_nothing_else(run, tmp_path):
    records = balanced(run, tmp_path, {"t": 40}, headroom=None)
    counts, balance = records["count_concepts"], records["balance"]
    totals = run.ledger.table(counts, "counts").sort_by([("count", "descending"), ("entry", "ascending")])
    assert counts.notes["largest"] == [[row["concept"], row["count"]] for row in totals.to_pylist()]
    assert (counts.notes["list"], counts.notes["entries"]) == (
        records["match_concepts"].notes["concepts"],
        len(CONCEPTS),
    )
    decided, alone = Counter(), Counter()
    for row in run.ledger.table(balance, "draws").to_pylist():
        if row["draws"]:
            rarest = CONCEPTS[max(zip(row["p"], row["entries"], strict=True), key=lambda one: (one[0], -one[1]))[1]]
            decided[rarest] += 1
            alone[rarest] += len(row["entries"]) == 1
    drawn = decided.total()
    assert balance.notes["drawn"] == drawn > 0
    assert dict(balance.notes["decide_many"]) == {name: n for name, n in decided.items() if n > 0.05 * drawn}
    assert balance.notes["alone"] == alone.total() > 0
    assert dict(balance.notes["alone_most"]) == {name: n for name, n in alone.items() if n}
    card = run.ledger.table(balance, "counts").to_pylist()
    shares = [
        sum(row[moment] for row in card if row["p"] >= 1) / sum(row[moment] for row in card)
        for moment in ("weighted", "after")
    ]
    assert balance.notes["tail"] == {
        "concepts": sum(row["p"] >= 1 for row in card),
        "pool": pytest.approx(shares[0], abs=1e-6),
        "kept": pytest.approx(shares[1], abs=1e-6),
    }
    of_few, of_many = (replace(balance, notes={**balance.notes, "drawn": drawn}) for drawn in (99, 100))
    (list_line,), (tail, many, lone) = concept_lines(counts), concept_lines(of_many)
    assert concept_lines(of_few) == [tail, lone]
    assert "largest" not in concept_lines(counts, of_regions=True)[0]
    assert f"{shares[0]:.1%} of all matches before any draw, {shares[1]:.1%} of those kept" in tail
    assert f"list {counts.notes['list'][:16]}, 4 entries; largest: {totals['concept'][0]}" in list_line
    assert "over 5% of the 100 pairs drawn for: " in many
    assert f"{alone.total():,} pairs hang on a single head concept: " in lone
    assert concept_lines(records["match_concepts"]) == []
