"""Tables of figures that nothing could be measured for: no labelled pictures, no validation pictures."""

import pytest

from evenly.flows.cli.adapters.evaluation import print_evaluation
from evenly.flows.cli.classes.descriptions import print_audits
from evenly.flows.cli.output import print_adapters, with_interval

NOTHING = dict.fromkeys(
    ("accuracy", "low", "high", "difference", "difference_low", "difference_high", "top5", "mean_per_class",
     "calibration_error", "calibrated_error", "temperature", "temperature_why", "validation_accuracy",
     "validation_rows")
)  # fmt: skip
ROW = NOTHING | {"name": "zero_shot", "texts": "names", "list": "birds", "n": 0, "groups": 0}


@pytest.mark.parametrize(
    ("value", "low", "shown"),
    [(0.5, 0.25, "+0.50 [+0.25, +0.25]"), (0.5, None, "+0.50"), (None, None, "none"), (None, 0.25, "none")],
)
def test_what_is_missing_is_shown_as_none(value, low, shown):
    assert with_interval(value, low, low, sign="+", digits=2) == shown


def test_adapters_without_a_test_picture_are_shown(capsys):
    print_adapters([ROW])
    shown = capsys.readouterr().out.replace("│", " ")
    words = shown.split()
    assert words[:5] == ["birds:", "adapters", "on", "test,", "95"]
    assert "zero_shot names none none" in " ".join(words)
    assert shown.endswith("lost against zero-shot on test: nothing is known, there are no test rows\n")


def test_an_evaluation_without_a_labelled_picture_is_shown(capsys):
    facts = {"list": "birds", "results": [ROW], "chosen_on_validation": ROW, "notes": [], "head_tail": [], "ood": []}
    print_evaluation(facts | {"ensembles": [], "pairs": []})
    assert "chosen on validation: zero_shot names, none on 0 validation pictures" in capsys.readouterr().out


def test_an_audit_of_descriptions_without_a_picture_is_shown(capsys):
    row = {
        "texts": "all",
        "draws": 1,
        "minus": "names",
        "accuracy": None,
        "difference": None,
        "low": None,
        "high": None,
    }
    facts = {"list": "birds", "method": "description", "texts": 3, "pictures": 0, "verdict": "not shown"}
    audit = facts | {"accuracies": [row], "differences": [row], "without_texts": []}
    print_audits({"audits": [audit]})
    assert capsys.readouterr().out.count("none") == 2
