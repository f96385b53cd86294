"""The foot of each table of adapters: which of them lost against zero-shot on test."""

import pytest

from evenly.adapters.evaluation.tables import losses_in_words, lost_on_test
from evenly.flows.cli.adapters.evaluation import print_evaluation
from evenly.flows.cli.adapters.fit import print_board, print_chosen
from evenly.flows.cli.output import print_adapters

FIGURES = dict.fromkeys(
    ("accuracy", "low", "high", "top5", "mean_per_class", "calibration_error", "calibrated_error", "temperature",
     "validation_accuracy"), 0.5,
)  # fmt: skip


def row(name, difference, low=None, high=None, **more):
    ends = {"difference": difference, "difference_low": low, "difference_high": high}
    return {"name": name, "texts": "names", **ends, **FIGURES, **more}


BASELINE = row("zero_shot", 0.0, 0.0, 0.0)
WORSE = row("tip", -0.0123, -0.031, 0.004)
WORST = row("gda_em", -0.2, -0.3, -0.1)
BETTER = row("gda", 0.1, 0.05, 0.15)
FOOT = (
    "lost against zero-shot on test, with 95 % intervals: gda em (names) -0.200 [-0.300, -0.100], "
    "tip (names) -0.012 [-0.031, +0.004] (2 of 4 rows, 1 with the whole interval below)"
)


def test_the_largest_loss_stands_first_with_its_interval():
    rows = [BASELINE, WORSE, BETTER, WORST]
    assert losses_in_words(rows) == FOOT
    ends = {lost["name"]: lost["difference_high"] for lost in lost_on_test(rows)}
    assert list(ends.items()) == [("gda_em", -0.1), ("tip", 0.004)]


@pytest.mark.parametrize("shots", [1, 4])
def test_a_row_of_a_leaderboard_is_named_with_its_shots(shots):
    assert f"tip (names) at {shots} shot{'s' * (shots > 1)} -0.012 [" in losses_in_words([WORSE | {"shots": shots}])


def test_a_table_without_a_loss_says_so():
    assert losses_in_words([BASELINE, BETTER]) == "lost against zero-shot on test: none"
    assert lost_on_test([BASELINE, BETTER]) == []


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_where_nothing_was_judged_no_loss_is_denied(nothing):
    assert "nothing is known" in losses_in_words([row("gda", nothing, nothing, nothing), {"name": "tip"}])


def test_a_loss_by_one_group_has_no_interval():
    assert "tip (names) -0.012 (1 of 1 rows, 0 with" in losses_in_words([WORSE | {"difference_high": float("nan")}])


def shown_as_outcome(rows):
    print_adapters([{"list": "birds", **row} for row in rows])


def shown_as_evaluation(rows):
    facts = dict.fromkeys(("notes", "head_tail", "ood", "ensembles", "pairs"), ())
    print_evaluation({"list": "birds", "results": [{"n": 9, "groups": 9, **row} for row in rows], **facts}
                     | {"chosen_on_validation": None})  # fmt: skip


def shown_as_fit(rows):
    facts = {"list": "birds", "validation_rows": 9, "saved": "a/b.json", "chosen": "", "kept_zero_shot": False}
    print_chosen([facts | row for row in rows])


def shown_as_leaderboard(rows):
    facts = {"title": "birds", "skipped": [], "notes": [], "below_zero_shot_on_validation": 0, "out": "board"}
    board = facts | {"summary": [row | {"shots": 1} for row in rows]}
    print_board(board)


@pytest.mark.parametrize("show", [shown_as_outcome, shown_as_evaluation, shown_as_fit, shown_as_leaderboard])
def test_every_table_of_adapters_has_the_foot(show, capsys):
    show([BASELINE, WORSE, BETTER, WORST])
    assert FOOT in capsys.readouterr().out.replace(" at 1 shot", "")
