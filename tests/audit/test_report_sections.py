"""The sections of a report as data: what each shows of little, of much, and of a build without its step."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.card import card_lines, read_balance, read_card
from evenly.audit.funnel import largest_losses, read_funnel, read_key_figures, read_source_funnel
from evenly.audit.published import PublishedBuild
from evenly.audit.report.captions import read_scores
from evenly.audit.report.classes import read_descriptions
from evenly.audit.report.gallery import KEPT, PER_REASON, read_gallery
from evenly.audit.report.page import _cell, _count, _extra_columns, _number, _percent, _points, _seen, page_environment
from evenly.audit.report.plots.figures import _bin_edges, _drawn_ranks, rank_plot, rank_rows, score_histogram
from evenly.storage.ledger import VERDICTS

# Funnel.


def test_each_step_has_a_row_whose_verdicts_add_up_and_are_drawn_to_one_scale(published):
    build = PublishedBuild(*published)
    rows = read_funnel(build)
    assert [row["step"] for row in rows] == [record.name for record in build.deciding]
    widest = max(row["rows_in"] for row in rows)
    for row in rows:
        assert sum(row[verdict] for verdict in VERDICTS) == row["rows_in"]
        assert sum(count for _, count in row["reasons"]) == row["rows_in"] - row["kept"]
        assert [count for _, count in row["reasons"]] == sorted((count for _, count in row["reasons"]), reverse=True)
        assert row["widths"]["kept"] == pytest.approx(100 * row["kept"] / widest)


def test_key_figures_are_those_of_the_rows(published, shared_build, shared):
    build = PublishedBuild(*published)
    kept = build.samples(where="balance_verdict = 'kept'").to_pylist()
    figures = read_key_figures(build)
    assert (figures["kept"], figures["rows_in"]) == (len(kept), build.records[0].rows_in)
    assert figures["share"] == len(kept) / build.records[0].rows_in
    assert figures["pictures"] == len({row["image_id"] for row in kept})
    assert figures["rewritten"] == sum(row["chosen_caption"] != row["caption"] for row in kept)
    texts_only = ("download", "check_images", "deduplicate_exact", "deduplicate_perceptual", "recaption", "align")
    bare = read_key_figures(PublishedBuild(shared, shared_build(off=texts_only)))
    assert (bare["pictures"], bare["rewritten"]) == (None, None)


def test_the_largest_losses_come_first_and_no_more_than_asked(published):
    funnel = read_funnel(PublishedBuild(*published))
    counts = sorted((count for row in funnel for _, count in row["reasons"]), reverse=True)
    for n in (0, 1, 3, 99):
        assert [loss["count"] for loss in largest_losses(funnel, n)] == counts[:n]
    assert largest_losses([]) == []


def test_sources_are_counted_at_every_step_arrivals_at_the_first(published):
    build = PublishedBuild(*published)
    rows = read_source_funnel(build)
    assert [row["step"] for row in rows] == [record.name for record in build.deciding]
    for row, record in zip(rows, build.deciding, strict=True):
        assert row["source"] == "web"
        assert {verdict: row[verdict] for verdict in VERDICTS} == record.counts
        assert row["rows_in"] == record.rows_in


def test_pairs_without_a_source_column_have_no_source_funnel():
    assert read_source_funnel(SimpleNamespace(sample_columns={"uid"})) == []


# Gallery.


def test_every_reason_has_its_cards_and_merged_ones_their_twin(published, read_all):
    build = PublishedBuild(*published)
    gallery = read_gallery(build, read_all)
    assert len(gallery["kept"]) == min(KEPT, build.deciding[-1].counts["kept"])
    shown = Counter((card["step"], card["reason"]) for card in [*gallery["gone"], *gallery["merged"]])
    wanted = Counter(
        {
            (record.name, reason): min(PER_REASON, count)
            for record in build.deciding[1:]
            for reason, count in record.reasons.items()
        }
    )
    assert shown == wanted
    assert all(card["twin"]["uid"] != card["uid"] for card in gallery["merged"])
    assert {card["verdict"] for card in gallery["merged"]} == {"merged"}
    assert "merged" not in {card["verdict"] for card in gallery["gone"]}


def test_a_value_is_named_by_its_step_and_held_against_a_threshold_where_there_is_one(published, read_all):
    gallery = read_gallery(PublishedBuild(*published), read_all)
    named = {card["step"]: (card["value_name"], card["threshold"]) for card in [*gallery["gone"], *gallery["merged"]]}
    assert named["align"][0] == "score"
    assert named["align"][1] is not None
    assert named["balance"] == ("P(keep)", None)
    assert named["deduplicate_perceptual"] == ("differing bits", None)
    assert named["download"][0] is None
    for card in gallery["gone"]:
        if card["step"] == "align":
            assert card["value"] < card["threshold"]


def test_cards_of_other_groups_come_first(published, read_all):
    cards = read_gallery(PublishedBuild(*published), read_all)["kept"]
    groups = [card["group"] for card in cards]
    fresh = len(set(groups))
    assert len(set(groups[:fresh])) == fresh


def test_a_build_without_recaptioning_or_pictures_has_cards_all_the_same(shared_build, shared, read_all):
    texts_only = ("download", "check_images", "deduplicate_exact", "deduplicate_perceptual", "recaption", "align")
    gallery = read_gallery(PublishedBuild(shared, shared_build(off=texts_only)), read_all)
    assert gallery["kept"]
    assert {card["image"] for card in gallery["kept"]} == {None}


# Scores.


def test_scores_say_the_threshold(published):
    build = PublishedBuild(*published)
    (aligned,) = read_scores(build, build.step("align"))
    assert f"{build.step('align').notes['threshold']:.4f}" in aligned["text"]
    assert f"{build.step('align').rows_in:,} pairs" in aligned["text"]


@given(
    values=st.lists(st.floats(-1, 1), max_size=20).map(np.array),
    threshold=st.none() | st.floats(-1, 1),
)
def test_bins_hold_every_score_and_none_lies_on_both_sides_of_the_threshold(values, threshold):
    edges = _bin_edges(values, threshold)
    assert (np.diff(edges) > 0).all()
    if len(values):
        assert edges[0] <= values.min() + 1e-9
        assert edges[-1] >= values.max() - 1e-9
    if threshold is not None and len(values) and edges[0] <= threshold <= edges[-1]:
        assert np.abs(edges - threshold).min() < 1e-6


@pytest.mark.parametrize("series", [{}, {"kept": np.array([])}, {"kept": np.array([0.5]), "dropped": np.array([])}])
def test_few_or_no_scores_are_drawn(series):
    for threshold in (None, 0.3):
        assert "<svg" in score_histogram(series, threshold=threshold)


# Head and tail.


def test_concepts_that_nothing_names_any_more_are_left_out_of_the_ranks():
    counts = np.array([1.0, 5.0, 3.0])
    series = {"before any draw": counts, "kept": np.array([2.0, 0.0, 0.0])}
    assert "<svg" in rank_plot(series, head=2, threshold=None)
    assert rank_rows(series) == [
        {"rank": 1, "before any draw": 5.0, "kept": 2.0},
        {"rank": 2, "before any draw": 3.0, "kept": None},
    ]
    assert [row["rank"] for row in rank_rows({"kept": np.ones(60)})] == [1, 2, 5, 10, 20, 50]


def test_a_plot_of_many_concepts_is_small_and_goes_from_the_first_to_the_last():
    counts = 100_000 / np.arange(1, 50_001)
    assert len(rank_plot({"before any draw": counts, "kept": counts / 2}, head=0, threshold=None)) < 100_000
    for n in (0, 1, 2, 30, 50_000):
        ranks = _drawn_ranks(n).tolist()
        assert ranks == list(range(1, n + 1)) if n <= 30 else ranks[:10] + ranks[-1:] == [*range(1, 11), n]


def test_the_plot_of_ranks_names_head_tail_and_threshold_and_says_in_words_what_it_shows():
    counts = np.array([50.0, 9.0, 1.0])
    series = {"before any draw": counts, "after the preselection": counts / 2, "kept": np.minimum(counts, 4)}
    drawn = str(rank_plot(series, head=2, threshold=4.0))
    assert all(f">{text}<" in drawn for text in ("head", "tail", "t = 4", *series))
    assert "has, before any draw 50, after the preselection 25, kept 4. The first 2 concepts are the head" in drawn
    without_head = str(rank_plot(series, head=0, threshold=90.0))
    assert ">head<" not in without_head
    assert "are the head" not in without_head


def test_with_thresholds_by_language_no_rank_parts_head_and_tail(shared_build, shared, little):
    pool = tuple(replace(row, group=f"g{place % 2}") for place, row in enumerate(little.pool))
    build = PublishedBuild(shared, shared_build(pool=pool, balance={"language": "group", "reference": "g0"}))
    balance = read_balance(build)
    assert (balance["t"], balance["head"] > 0) == (None, True)
    assert "are the head" not in balance["plot"]


def test_shares_of_head_and_tail_are_those_of_a_loop_over_concepts(published):
    build = PublishedBuild(*published)
    balance = read_balance(build)
    counts = build.ledger.table(build.step("balance"), "counts").to_pylist()
    assert [moment["name"] for moment in balance["moments"]] == ["before any draw", "after the preselection", "kept"]
    for moment, column in zip(balance["moments"], ("weighted", "before", "after"), strict=True):
        total = sum(row[column] for row in counts)
        assert moment["tail"] == pytest.approx(sum(row[column] for row in counts if row["p"] >= 1) / total)
        assert moment["head"] == pytest.approx(1 - moment["tail"])
    assert balance["tail_after"] > balance["tail_before"]
    assert len(balance["ranks"]) > 1


def test_without_a_preselection_there_are_two_moments(shared_build, shared):
    balance = read_balance(PublishedBuild(shared, shared_build(off=("preselect",))))
    assert [moment["name"] for moment in balance["moments"]] == ["before any draw", "kept"]
    assert not balance["preselected"]


def test_a_balancing_that_thins_out_nothing_is_said_in_a_line(shared_build, shared):
    build = PublishedBuild(shared, shared_build(off=("preselect",), t=1000))
    balance = read_balance(build)
    assert balance["head"] == 0
    page = " ".join(page_environment().get_template("balance.html.j2").render(balance=balance).split())
    assert "Balancing thins out nothing: none of the" in page
    assert "has more than 1000 matches; the most that one has are" in page
    assert "<table" not in page


# Descriptions.


def described(rows, rule=None):
    record = SimpleNamespace(hashes={"descriptions": "x"}, rule=rule or {"list": "birds"}, model=None)
    ledger = SimpleNamespace(
        table=lambda *_: pa.Table.from_pylist(rows) if rows else pa.table({"class": pa.array([], pa.string())})
    )
    return read_descriptions(ledger, [record])


def row(name, verdict="accepted", reason="", method="description"):
    return {
        "class": name,
        "method": method,
        "text": f"{name} text",
        "verdict": verdict,
        "reason": reason,
        "request_id": None,
    }


def test_texts_are_counted_by_method_and_reason():
    rows = [
        row("owl"),
        row("fox", "failed", "timeout"),
        *[row(name, "rejected", "too_long") for name in ("owl", "fox")],
    ]
    (section,) = described([*rows, row("owl", method="synonyms")])
    assert section["classes"] == 2
    assert section["methods"] == [
        {
            "method": "description",
            "accepted": 1,
            "others": 3,
            "reasons": [("rejected: too_long", 2), ("failed: timeout", 1)],
        },
        {"method": "synonyms", "accepted": 1, "others": 0, "reasons": []},
    ]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
def test_up_to_three_classes_are_shown_in_full(n):
    names = [f"class {number}" for number in range(n)]
    (section,) = described([one for name in names for one in (row(name), row(name, "rejected", "x"))])
    shown = [one["class"] for one in section["shown"]]
    assert shown == (names if n <= 3 else ["class 0", "class 4", "class 9"])
    assert all(len(one["methods"]["description"]) == 2 for one in section["shown"])


def test_equal_texts_are_shown_once_with_all_classes_that_they_are_told_from():
    rows = [row("owl", "rejected", "unfinished", "differential") | {"other": other} for other in ("fox", "elk", "fox")]
    (shown,) = described(rows)[0]["shown"][0]["methods"]["differential"]
    assert (shown["text"], shown["times"], shown["others"]) == ("owl text", 3, ["fox", "elk"])
    assert shown["is_difference"]
    both = [row("owl"), row("owl", "rejected", "x")]
    assert [one["times"] for one in described(both)[0]["shown"][0]["methods"]["description"]] == [1, 1]


def test_classes_that_show_both_verdicts_are_preferred():
    rows = [row("a"), row("b"), row("b", "rejected", "x"), row("c")]
    assert [one["class"] for one in described(rows)[0]["shown"]] == ["b"]
    assert [one["class"] for one in described([row("a"), row("b")])[0]["shown"]] == ["a", "b"]


# Values on their way to the page.


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (_count(None), "\N{EN DASH}"),
        (_count(1234567.0), "1,234,567"),
        (_percent(0.12345), "12.3 %"),
        (_percent(None), "\N{EN DASH}"),
        (_number(0.5), "0.500"),
        (_points(-0.1), "\u221210.0"),
        (_points(0.1), "+10.0"),
        (_cell(None), "\N{EN DASH}"),
        (_cell(True), "True"),
        (_cell(3.0), "3"),
        (_cell(3.14159), "3.142"),
        (_cell("text"), "text"),
        (_cell([1, 2]), "[1, 2]"),
    ],
)
def test_values_are_written_for_people(shown, wanted):
    assert shown == wanted


def test_texts_are_made_visible_and_nothing_becomes_empty():
    assert _seen("a\x1b[31m") == "a\\x1b[31m"
    assert (_seen(None), _seen(3)) == ("", 3)


def test_columns_of_the_truth_that_have_no_place_follow_in_order():
    rows = [{"fault": "x", "found": 1, "auc": 0.5}, {"fault": "y", "note": "n", "auc": 0.6}]
    assert _extra_columns(rows) == ["auc", "note"]
    assert _extra_columns([]) == []


# The data card against a plain count.


@pytest.mark.parametrize(
    "balance", [{}, {"law": "v2"}, {"texts": "one_per_image"}, {"language": "group", "reference": "g0"}], ids=str
)
def test_the_card_counts_what_a_loop_over_rows_counts(shared_build, shared, balance):
    build = PublishedBuild(shared, shared_build(balance=balance))
    card = read_card(build)
    for one, matched in zip(card.balancings, ("match_concepts", "match_again"), strict=True):
        rows = build.samples(["uid", f"{one.step}_verdict", "group"], f"{one.step}_verdict IS NOT NULL").to_pylist()
        names = {row["uid"]: row["entries"] for row in build.table(matched, "matches").to_pylist()}
        kept = [row["uid"] for row in rows if row[f"{one.step}_verdict"] == "kept"]
        before = Counter(entry for row in rows for entry in names[row["uid"]])
        after = Counter(entry for uid in kept for entry in names[uid])
        assert (one.pairs, one.kept) == (len(rows), len(kept))
        if balance.get("texts") != "one_per_image":
            assert (one.matches_before, one.matches_after) == (before.total(), after.total())
        if "language" not in balance and balance.get("texts") != "one_per_image":
            assert (one.concepts_before, one.concepts_after) == (len(before), len(after))
            assert [row["before"] for row in one.largest] == sorted(before.values(), reverse=True)
        assert one.head + one.tail == one.entries.num_rows
        assert sum(row["pairs"] for row in one.agreement) == one.pairs
        assert sum(row["kept"] for row in one.agreement) == one.kept


def test_the_text_of_a_card_names_more_languages_than_it_shows(shared_build, shared, little):
    pool = tuple(type(row)(row.url, row.caption, row.picture, f"group {at:02}") for at, row in enumerate(little.pool))
    card = read_card(
        PublishedBuild(shared, shared_build(pool=pool, balance={"language": "group", "reference": "group 00"}))
    )
    lines = list(card_lines(card))
    shown = sum(line.startswith("  group ") for line in lines)
    hidden = [line for line in lines if "more languages (all of them with --json)" in line]
    assert shown == 24
    assert len(hidden) == 2
