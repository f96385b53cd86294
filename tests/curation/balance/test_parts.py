"""Inputs of a balancing step, out of tables that stand in memory."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.errors import MissingStepError, RuleError
from tests.curation.balance.whole_inputs import read_inputs

UIDS = ["a", "b", "c", "d"]
RULE = asdict(BalanceRule(t=1.0, headroom=2.0))


@dataclass(frozen=True)
class Step:
    name: str
    tables: dict[str, pa.Table]
    columns: Sequence[str] = ()
    hashes: dict[str, str] = field(default_factory=dict)


class Tables:
    """What steps left, read from memory; all pairs are alive."""

    def alive(self, records, columns, /):
        given = {name: values for record in records for name, values in record.tables.get("columns", {}).items()}
        return pa.table({"uid": pa.array(UIDS), **{name: pa.chunked_array([given[name]]) for name in columns}})

    def table(self, record, name, columns=None, /):
        table = record.tables[name]
        return table if columns is None else table.select(columns)

    def decisions(self, record, columns=None, /):
        return self.table(record, "decisions", columns)


def matched(name, lists):
    entries = pa.array(lists, pa.list_(pa.int32()))
    concepts = pa.table({"entry": ["dog", "cat"]})
    # In another order than the pairs': rows belong together by their uids.
    table = pa.table({"uid": UIDS, "entries": entries}).take([3, 1, 0, 2])
    return Step(name, {"matches": table, "concepts": concepts})


def test_a_preselection_counts_the_matches_of_all_pairs_that_are_alive():
    inputs = read_inputs(Tables(), [matched("match_concepts", [[0], [0, 1], [], [0]])], "preselect", RULE, seed=1)
    assert inputs.facts.counts.tolist() == [[3, 1]]
    assert inputs.facts.thresholds.tolist() == [1.0]
    assert inputs.part.pairs.lengths.tolist() == [1, 2, 0, 1]
    judged = inputs.judged()
    assert set(judged.decisions.reason.to_pylist()) <= {"", "preselect_draw", "no_concept"}
    tables = inputs.tables(judged)
    assert tables["counts"]["p"].to_pylist() == [2 / 3, 1.0]  # by the threshold with its headroom
    assert tables.keys() == {"draws", "counts", "thresholds"}


def test_a_balance_weighs_survivors_by_the_inverse_of_their_chance_in_the_preselection():
    decisions = pa.table({"uid": UIDS[::-1], "value": [0.5, 1.0, 0.25, 1.0]})
    counts = pa.table({"entry": [0, 1], "language": ["", ""], "p": [0.5, 1.0]})
    steps = [matched("match_concepts", [[0], [0], [1], [0]]), matched("match_again", [[0], [0, 1], [1], [0]])]
    steps.append(Step("preselect", {"decisions": decisions, "counts": counts}))
    inputs = read_inputs(Tables(), steps, "balance", RULE, seed=1)
    assert inputs.part.earlier.chances.tolist() == [1.0, 0.25, 1.0, 0.5]
    assert inputs.part.earlier.limits.tolist() == [0.5, 0.5, np.inf, 1.0, 0.5]  # the cat of b is new
    assert inputs.facts.counts.tolist() == [[1 + 4 + 2, 4 + 1]]


def test_one_text_per_picture_leaves_the_picks_as_a_table():
    step = matched("match_concepts", [[0], [0], [1], [0]])
    urls = Step("collect", {"columns": {"url": pa.array(["u", "u", "v", "w"])}}, columns=["url"])
    rule = asdict(BalanceRule(t=1.0, texts="one_per_image"))
    inputs = read_inputs(Tables(), [urls, step], "preselect", rule, seed=1)
    assert inputs.part.pairs.shares.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert inputs.judged().tables["texts"]["uid"].to_pylist() == ["a", "b"]


def test_a_column_of_languages_that_no_step_gave_is_refused_with_those_that_there_are():
    step = Step("collect", {}, columns=["url", "title"])
    rule = asdict(BalanceRule(t=1.0, language="lang"))
    with pytest.raises(RuleError, match=r"step before `balance`; got 'lang'. There are title, url\."):
        read_inputs(Tables(), [step], "balance", rule, seed=1)


def test_a_rule_with_a_key_that_is_none_of_a_balancing_is_refused():
    with pytest.raises(RuleError, match=r"must hold only .*; got tail"):
        read_inputs(Tables(), [], "balance", {**RULE, "tail": 0.1}, seed=1)


def test_a_balancing_of_captions_that_were_not_matched_names_the_step_that_is_missing():
    with pytest.raises(MissingStepError, match="step `match_concepts` must come before a balancing"):
        read_inputs(Tables(), [Step("collect", {})], "preselect", RULE, seed=1)
    with pytest.raises(MissingStepError, match="step `match_again` must come before a balancing"):
        read_inputs(Tables(), [matched("match_concepts", [[]] * 4), Step("download", {})], "balance", RULE, seed=1)


def test_a_balance_of_captions_without_pictures_counts_their_first_matches():
    inputs = read_inputs(Tables(), [matched("match_concepts", [[0], [0, 1], [], [0]])], "balance", RULE, seed=1)
    assert inputs.facts.counts.tolist() == [[3, 1]]
