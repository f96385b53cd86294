import numpy as np
import pandas as pd
import pytest

from evenly.adapters.evaluation.measures.classification import expected_calibration_error, softmax
from evenly.adapters.evaluation.protocols.experiment import Evaluation
from evenly.adapters.evaluation.protocols.further_tables import reliability_bins

LABELS = np.array([0, 1, 2, 1, 0, 2])
LOGITS = np.random.default_rng(0).normal(size=(6, 3)) * 4


def evaluation(temperature: float) -> Evaluation:
    return Evaluation(
        results=pd.DataFrame([{"name": "gda", "texts": "names", "temperature": temperature}]),
        curves=pd.DataFrame(),
        per_class=pd.DataFrame(),
        fitted={},
        test_logits={("gda", "names"): LOGITS},
        notes=(),
    )


@pytest.mark.parametrize(("state", "temperature"), [("as fitted", 1.0), ("at temperature", 2.5)])
def test_bins_add_up_to_the_calibration_error_of_their_state(state, temperature):
    bins = reliability_bins(evaluation(2.5), LABELS)
    mine = bins[(bins["state"] == state) & (bins["n"] > 0)]
    error = (mine["n"] * (mine["accuracy"] - mine["confidence"]).abs()).sum() / mine["n"].sum()
    assert error == pytest.approx(expected_calibration_error(softmax(LOGITS / temperature), LABELS))


def test_without_a_temperature_there_is_no_second_state():
    assert set(reliability_bins(evaluation(float("nan")), LABELS)["state"]) == {"as fitted"}
