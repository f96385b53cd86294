import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.ood.metrics import aupr, auroc, fpr95
from evenly.adapters.ood.table import ood_table
from tests.adapters.ood.test_metrics import auroc_interval

GENERATOR = np.random.default_rng(0)
ID = GENERATOR.normal(2, 1, 200)
SETS = {
    "near": {"dogs": GENERATOR.normal(1, 1, 150), "cats": GENERATOR.normal(1.5, 1, 60)},
    "far": {"noise": GENERATOR.normal(-1, 1, 100)},
}


@pytest.fixture(scope="module")
def table():
    return ood_table(ID, SETS, seed=0, n=400)


def test_every_set_and_every_average_has_a_row(table):
    assert list(zip(table["kind"], table["set"], strict=True)) == [
        ("near", "dogs"), ("near", "cats"), ("far", "noise"), ("near", "mean"), ("far", "mean"), ("mean", "mean"),
    ]  # fmt: skip
    assert list(table.columns) == [
        "kind", "set", "n_id", "n_ood", "auroc", "auroc_low", "auroc_high", "fpr95", "fpr95_low", "fpr95_high", "aupr",
    ]  # fmt: skip
    assert table["n_ood"].tolist() == [150, 60, 100, 210, 100, 310]
    assert (table["n_id"] == 200).all()


def test_values_are_those_of_the_measures(table):
    for row, scores in enumerate([*SETS["near"].values(), *SETS["far"].values()]):
        assert table["auroc"][row] == auroc(ID, scores)
        assert table["fpr95"][row] == fpr95(ID, scores)
        assert table["aupr"][row] == aupr(ID, scores)


def test_sets_count_alike_within_a_kind_and_kinds_within_the_mean(table):
    for measure in ("auroc", "fpr95", "aupr"):
        values = table[measure]
        assert values[3] == pytest.approx((values[0] + values[1]) / 2)
        assert values[5] == pytest.approx((values[3] + values[4]) / 2)


def test_intervals_hold_the_value_and_those_of_averages_are_narrower(table):
    for measure in ("auroc", "fpr95"):
        assert table[measure].between(table[f"{measure}_low"], table[f"{measure}_high"]).all()
    width = table["auroc_high"] - table["auroc_low"]
    assert width[3] < width[1]


def test_a_further_set_changes_no_other_row(table):
    more = ood_table(ID, {"near": SETS["near"], "far": SETS["far"] | {"svhn": ID - 1}}, seed=0, n=400)
    assert more.iloc[:3].equals(table.iloc[:3])


def test_groups_widen_the_interval():
    single = ood_table(ID, {"far": {"noise": ID[:100] - 1}}, seed=0, n=400).iloc[0]
    copies = np.repeat(ID[:100] - 1, 2)
    grouped = ood_table(
        ID, {"far": {"noise": copies}}, seed=0, n=400, groups_ood={"noise": np.repeat(np.arange(100), 2)}
    ).iloc[0]
    assert grouped["auroc"] == pytest.approx(single["auroc"])
    assert grouped["auroc_low"] == pytest.approx(single["auroc_low"])


def test_an_empty_set_is_nan_and_so_are_its_averages():
    table = ood_table(ID, {"near": {"none": np.empty(0)}, "far": SETS["far"]}, seed=0, n=50)
    assert table["auroc"].isna().tolist() == [True, False, True, False, True]


def test_a_kind_without_sets_is_refused():
    with pytest.raises(ParameterError, match=r"`scores_ood` must hold at least one set per kind; got \{'near': \[\]\}"):
        ood_table(ID, {"near": {}}, seed=0)


def test_one_set_alone_has_the_interval_of_its_kind():
    table = ood_table(ID, {"far": SETS["far"]}, seed=3, n=200)
    assert table["auroc_low"].nunique() == 1
    assert auroc_interval(ID, SETS["far"]["noise"], seed=3, n=200).low == pytest.approx(table["auroc_low"][0], abs=0.01)
