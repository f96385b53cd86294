import json
from dataclasses import replace

import pytest

from evenly.audit.card import card_lines, read_card
from evenly.audit.errors import IncompleteBuildError
from evenly.audit.published import PublishedBuild


def test_the_numbers_of_a_card_can_be_counted_in_the_sample_table(published):
    build = PublishedBuild(*published)
    card = read_card(build)
    for one in card.balancings:
        judged = build.samples(["uid", f"{one.step}_verdict"], f"{one.step}_verdict IS NOT NULL").to_pylist()
        verdicts = [row[f"{one.step}_verdict"] for row in judged]
        assert (one.pairs, one.kept) == (len(verdicts), verdicts.count("kept"))
    matches = build.table("match_again", "matches").to_pylist()
    kept = set(build.samples(["uid"], "balance_verdict = 'kept'")["uid"].to_pylist())
    last = card.balancings[-1]
    for row in last.entries.to_pylist():
        assert row["before"] == sum(row["entry"] in match["entries"] for match in matches)
        assert row["after"] == sum(row["entry"] in match["entries"] for match in matches if match["uid"] in kept)


def test_a_card_says_by_what_was_balanced(published):
    _, manifest = published
    card = read_card(PublishedBuild(*published))
    assert [one.step for one in card.balancings] == ["preselect", "balance"]
    assert [one.headroom for one in card.balancings] == [3.0, 1.0]
    assert (card.build, card.seed, card.rule) == (
        manifest["build"],
        7,
        {"law": "v1", "texts": "each", "t": 3.0},
    )
    assert (card.concepts, list(card.unmatched)) == (5, [])
    assert [row["t"] for one in card.balancings for row in one.languages] == [3.0, 3.0]


def test_expected_pairs_after_a_preselection_are_of_those_that_came(published):
    preselected, balanced = read_card(PublishedBuild(*published)).balancings
    for one in (preselected, balanced):
        assert one.expected == pytest.approx(sum(row["expected"] for row in one.agreement), abs=1e-5)
        assert one.expected <= one.pairs
    assert preselected.expected <= preselected.bound


def test_a_build_without_a_preselection_has_one_balancing(shared_build, shared):
    card = read_card(PublishedBuild(shared, shared_build(off=("preselect",))))
    assert [one.step for one in card.balancings] == ["balance"]
    without = PublishedBuild(shared, shared_build(off=("preselect", "balance")))
    with pytest.raises(IncompleteBuildError, match="must have matched and balanced its pairs"):
        read_card(without)


def test_a_card_is_text_and_json(shared_build, shared):
    card = read_card(PublishedBuild(shared, shared_build(balance={"language": "group", "reference": "g0"})))
    text = "\n".join(card_lines(replace(card, unmatched=["\x1bowl"])))
    assert "seed 7" in text
    assert "5 concepts, 1 that no pair names: \\x1bowl\n" in text
    assert "language group" in text
    assert "g0" in text
    assert "largest concepts" in text
    assert json.loads(json.dumps(card.to_dict()))["balancings"][1]["step"] == "balance"
