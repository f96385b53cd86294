import json

import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.balance.balancing import balance
from evenly.curation.balance.data_card import DataCard, describe_balancing
from evenly.curation.balance.matched_pairs import MatchedPairs, count_matches
from evenly.curation.balance.sums import BalanceSums, count_table, threshold_table
from evenly.curation.balance.thresholds import UNIT, tail_share
from evenly.curation.errors import ColumnsError


def balanced(rows, t, *, language=None, n_entries=4):
    """The card of a balancing of these pairs, and what it was made from."""
    uids, concepts = [f"{i:032x}" for i in range(len(rows))], [f"entry {e}" for e in range(n_entries)]
    column = None if language is None else pa.array(language, pa.string())
    pairs = MatchedPairs.of(uids, pa.array(rows, pa.list_(pa.int32())), concepts, language=column)
    counts, thresholds = count_matches(pairs), np.array(t, dtype=np.float64)
    found = balance(pairs, counts=counts, thresholds=thresholds, law="v1", seed=2)
    kept = found.decisions.kept.to_numpy(zero_copy_only=False)
    sums = BalanceSums.of(pairs, kept, np.rint(found.expected / UNIT).astype(np.int64), found.draws)
    card = describe_balancing(
        "balance",
        counts=count_table(sums, pairs.languages, pairs.concepts, counts, found.probabilities),
        thresholds=threshold_table(sums, pairs.languages, counts, thresholds),
        chances=found.decisions.value.to_numpy(),
        kept=kept,
    )
    return card, pairs, counts, kept, found


ROWS = [[0, 1]] * 30 + [[0]] * 300 + [[1, 2]] * 40 + [[2]] * 8 + [[]] * 2


def test_the_card_counts_concepts_and_pairs_before_and_after():
    card, pairs, counts, kept, found = balanced(ROWS, [50])
    after = count_matches(pairs, kept.astype(float))[0]
    assert card.entries["concept"].to_pylist() == ["entry 0", "entry 1", "entry 2"]
    assert card.entries["before"].to_pylist() == counts[0, :3].tolist() == [330, 70, 48]
    assert card.entries["after"].to_pylist() == after[:3].tolist()
    assert card.largest == card.entries.to_pylist()
    assert (card.pairs, card.kept) == (380, kept.sum())
    assert (card.matches_before, card.matches_after) == (448, after.sum())
    assert (card.concepts_before, card.concepts_after, card.head, card.tail) == (3, 3, 2, 1)
    assert card.tail_share_before == pytest.approx(48 / 448)
    assert card.tail_share_after == pytest.approx(after[2] / after.sum())
    chances = found.decisions.value.to_numpy()
    assert card.expected == pytest.approx(chances.sum(), abs=1e-5)
    assert card.spread == pytest.approx(np.sqrt((chances * (1 - chances)).sum()))
    assert abs(card.kept - card.expected) < 3 * card.spread


def test_the_bound_counts_a_pair_once_per_concept_and_is_never_below_what_is_expected():
    card, _, counts, _, _ = balanced(ROWS, [50])
    assert card.bound == pytest.approx(np.minimum(counts, 50).sum())
    assert card.bound > card.expected


def test_pairs_stand_by_their_chance_with_what_was_expected_and_kept():
    card, _, _, kept, found = balanced(ROWS, [50])
    chances = found.decisions.value.to_numpy()
    assert [row["pairs"] for row in card.agreement] == [2, 300, 30, 48]
    assert card.agreement[-1] == {"from": 1.0, "to": 1.0, "pairs": 48, "expected": 48.0, "spread": 0.0, "kept": 48}
    for row in card.agreement:
        here = (chances >= row["from"]) & ((chances < row["to"]) | (row["from"] == 1))
        assert (row["pairs"], row["kept"]) == (here.sum(), kept[here].sum())
        assert row["expected"] == pytest.approx(chances[here].sum())


def test_each_language_has_its_threshold_and_shares():
    card, pairs, counts, kept, found = balanced(
        [[0]] * 60 + [[1]] * 10 + [[0]] * 20, [8, 40], language=["en"] * 70 + ["de"] * 20
    )
    english, german = card.languages
    assert (german["language"], german["t"], german["pairs"], german["matches"]) == ("de", 8, 20, 20)
    assert (english["language"], english["t"], english["kept"]) == ("en", 40, kept[:70].sum())
    assert english["tail_share"] == pytest.approx(tail_share(counts[1], 40)) == pytest.approx(1 / 7)
    assert english["tail_share_after"] == pytest.approx(10 / kept[:70].sum())
    assert english["tail_share_before"] == pytest.approx(1 / 7)
    assert (german["tail_share_before"], german["tail_share_after"]) == (0, 0)
    assert (
        german["expected"] + english["expected"] == pytest.approx(card.expected) == pytest.approx(found.expected.sum())
    )
    assert (card.concepts_before, card.head) == (2, 2)
    assert pairs.languages == ("de", "en")


def test_a_card_is_plain_json():
    card, *_ = balanced(ROWS, [50])
    whole = DataCard(
        build="b",
        seed=1,
        rule={"t": 50},
        metadata="ab",
        concepts=4,
        unmatchable={},
        unmatched=["entry 3"],
        balancings=[card],
    )
    read = json.loads(json.dumps(whole.to_dict()))
    assert read["unmatched"] == ["entry 3"]
    (balancing,) = read["balancings"]
    assert balancing["entries"][0] == balancing["largest"][0]
    assert balancing["entries"][0]["concept"] == "entry 0"


def test_nothing_matched_makes_an_empty_card():
    card, *_ = balanced([[], []], [5])
    assert (card.kept, card.expected, card.bound, card.tail_share_before, card.entries.num_rows) == (0, 0, 0, 0, 0)
    assert card.agreement == [{"from": 0.0, "to": 0.1, "pairs": 2, "expected": 0.0, "spread": 0.0, "kept": 0}]


def test_chances_of_other_pairs_are_refused():
    card, *_ = balanced(ROWS, [50])
    tables = {"counts": card.entries, "thresholds": pa.table({"expected": [1.0]})}
    with pytest.raises(ColumnsError, match="of the same pairs; got 1 and 2"):
        describe_balancing("balance", chances=np.ones(1), kept=np.ones(2, dtype=bool), **tables)
