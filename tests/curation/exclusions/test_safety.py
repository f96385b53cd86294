import numpy as np
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.exclusions.safety import Unsafe, judge_unsafe, measure_unsafe

NAMES = ("FACE", "ANUS_EXPOSED", "BUTTOCKS_EXPOSED", "FEET_EXPOSED")
RULE = Unsafe(threshold=0.3, classes=("BUTTOCKS_EXPOSED", "ANUS_EXPOSED"))


def measured(*rows, rule=RULE):
    return measure_unsafe(np.array(rows, np.float32).reshape(-1, 4), NAMES, rule)


def test_the_highest_score_of_an_unsafe_class_decides_and_names_the_class():
    values, which = measured([0.9, 0.1, 0.30002, 0.9], [0.9, 0.29, 0, 0.9], [0, 0.5, 0.5, 0])
    assert values.to_pylist() == [0.3, 0.29, 0.5]
    assert which.to_pylist() == ["BUTTOCKS_EXPOSED", "ANUS_EXPOSED", "BUTTOCKS_EXPOSED"]
    assert judge_unsafe(values, RULE).reason.to_pylist() == ["unsafe", "", "unsafe"]


def test_a_picture_without_scores_fails():
    values, which = measured([np.nan] * 4)
    decisions = judge_unsafe(values, RULE)
    assert which.to_pylist() == [None]
    assert (decisions.verdict.to_pylist(), decisions.reason.to_pylist()) == (["failed"], ["not_measured"])


def test_no_pictures_give_no_decisions():
    assert len(judge_unsafe(measured()[0], RULE)) == 0


def test_a_class_that_the_detector_does_not_know_is_refused():
    with pytest.raises(RuleError, match=r"must be some of FACE.*got KNEES"):
        measured([0] * 4, rule=Unsafe(classes=("KNEES",)))


@pytest.mark.parametrize("rule", [{"threshold": 0}, {"threshold": 25}, {"classes": ()}])
def test_impossible_rule_is_refused(rule):
    with pytest.raises(RuleError, match="got"):
        Unsafe(**rule)
