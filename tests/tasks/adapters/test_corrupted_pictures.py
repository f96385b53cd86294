"""Which adapters the probe of corrupted pictures judges, and when a line through them means something."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from evenly.adapters import adapter_class
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.saved import to_arrays, to_card
from evenly.storage.artifacts.kinds import fitted_adapters_of, put_adapter
from evenly.storage.ledger import StepOutput, StepSpec
from evenly.tasks.adapters.corrupted_pictures import CorruptionRule, corrupt_pictures, fitted_adapters, models_table
from evenly.tasks.run import Run

RULE = CorruptionRule(build="some-build", list="things", classes=("cat", "dog"))


def rows(n: int, d: int, seed: int) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def fitted(name: str):
    support = Features(
        image=rows(8, 6, 0),
        second=rows(8, 5, 1),
        prototypes=rows(2, 6, 2),
        class_texts=rows(2, 6, 2),
        class_text_labels=np.array([0, 1]),
        unlabelled=rows(8, 6, 3),
        unlabelled_second=rows(8, 5, 4),
    )
    return adapter_class(name)().fit(support, np.array([0, 1] * 4))


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=1)


def save(run, name, card, adapter):
    artifacts = fitted_adapters_of(run.workspace, RULE.build, RULE.list)
    put_adapter(artifacts, name, card, to_arrays(adapter), made_of={}, force=True)


@pytest.fixture
def evaluation(run):
    """The record of an evaluation of two adapters without a test picture, and their files."""
    results = [{"name": name, "texts": "names", "accuracy": 0.5} for name in ("gda", "nola")]
    for row in results:
        adapter = fitted(row["name"])
        card = to_card(adapter) | {"metrics": {"accuracy": 0.5}}
        save(run, f"{row['name']}-names", card, adapter)
    split = pa.table({"uid": ["a"], "class": ["cat"], "group": ["a"], "part": ["train"]})
    output = StepOutput(tables={"results": pa.Table.from_pylist(results), "split": split})
    spec = StepSpec(name="evaluate_adapters", version=1, rule={}, inputs={})
    return run.ledger.commit(spec, output, uids=None, started=datetime.now(UTC))


def test_an_adapter_that_needs_a_second_backbone_is_skipped_by_name(run, evaluation):
    found, skipped = fitted_adapters(run, evaluation, RULE)
    assert list(found) == [("gda", "names")]
    assert [line.partition(": ")[0] for line in skipped] == ["nola with names"]
    assert "`second`" in skipped[0]


def test_a_file_of_another_evaluation_is_not_judged_in_this_ones_place(run, evaluation):
    adapter = fitted("gda")
    save(run, "gda-names", to_card(adapter) | {"metrics": {"accuracy": 0.7}}, adapter)
    found, skipped = fitted_adapters(run, evaluation, RULE)
    assert not found
    assert "another evaluation" in skipped[0]


def test_without_test_pictures_there_is_nothing_to_corrupt(run, evaluation):
    output = corrupt_pictures(run, [evaluation], RULE)
    assert not output.tables
    assert len(output.notes["skipped"]) == 1


def models(*accuracies: tuple[float, float]) -> list[dict]:
    return [
        {"name": f"adapter {place}", "texts": "names", "clean": clean, "corrupted": corrupted}
        for place, (clean, corrupted) in enumerate(accuracies)
    ]


@pytest.mark.parametrize(
    ("accuracies", "different"),
    [
        ([(0.8, 0.5)], 1),
        ([(0.8, 0.5), (0.6, 0.4)], 2),
        ([(0.8, 0.5), (0.6, 0.4), (0.6, 0.4)], 2),
        ([(0.8, 0.5), (0.6, 0.4), (1.0, 0.3)], 2),
    ],
    ids=["one", "two", "two of them equal", "one without a logit"],
)
def test_fewer_than_three_models_that_differ_make_no_line(accuracies, different):
    table = models_table(models(*accuracies))
    assert table[["expected", "effective_robustness", "residual", "slope", "intercept"]].isna().all(axis=None)
    assert set(table["state"]) == {f"no line: models of different accuracy must be at least 3; there are {different}"}
    assert table["clean"].tolist() == [clean for clean, _ in accuracies]


def test_a_model_that_loses_more_than_the_others_lies_below_the_line():
    table = models_table(models((0.9, 0.8), (0.7, 0.6), (0.8, 0.4), (0.6, 0.5)))
    assert (table["state"] == "").all()
    assert table["effective_robustness"].idxmin() == 2
    np.testing.assert_allclose(table["expected"] + table["effective_robustness"], table["corrupted"])
    assert table["residual"].sum() == pytest.approx(0)
