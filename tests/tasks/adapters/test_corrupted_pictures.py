"""Which adapters the probe of corrupted pictures judges, and when a line through them means something."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evenly.adapters import adapter_class
from evenly.adapters.evaluation.measures.effective_robustness import SourceModel, models_table, source_tables
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.saved import to_arrays, to_card
from evenly.storage.artifacts.kinds import fitted_adapters_of, put_adapter
from evenly.storage.ledger import StepOutput, StepSpec
from evenly.tasks.adapters.corrupted_pictures import (
    ALL,
    CorruptionRule,
    corrupt_pictures,
    fitted_adapters,
    source_models,
)
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish, seen

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


CLASSES = ("cat", "dog")


@pytest.fixture
def split_of(workspace, monkeypatch):
    """Publish pictures of these sources; the run and the split table of an evaluation."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())

    def make(sources):
        pictures = [
            Picture(name, {name: 1.0, f"{source} {number} {part}": 0.5}, part, source=source)
            for name in CLASSES
            for part in ("train", "val", "test")
            for source in sources
            for number in range(8)
        ]
        publish(workspace, pictures)
        uids = [f"{number:032x}" for number in range(len(pictures))]
        columns = {"uid": uids, "class": [one.label for one in pictures], "part": [one.part for one in pictures]}
        return Run(workspace=workspace, seed=7), pa.table(columns), pictures

    return make


@pytest.mark.slow
def test_each_source_and_the_mixture_has_a_model_per_share(split_of):
    run, split, pictures = split_of(["blog", "shop"])
    models = source_models(run, split, build="some-1", classes=CLASSES)
    rows = {(model.source, model.share): model.rows for model in models}
    assert {source for source, _ in rows} == {"blog", "shop", ALL}
    assert (rows["blog", 1.0], rows[ALL, 1.0], rows["shop", 0.5]) == (16, 32, 8)
    test = [one for one in pictures if one.part == "test"]
    query = Features(image=unit_rows(np.stack([seen(one) for one in test])), encoder=WordEncoder.identity)
    labels = [CLASSES.index(one.label) for one in test]
    whole = {model.source: model.adapter for model in models if model.share == 1}
    assert all(np.mean(adapter.predict(query) == labels) > 0.8 for adapter in whole.values())
    again = source_models(run, split.take(np.arange(len(split))[::-1]), build="some-1", classes=CLASSES)
    for model, other in zip(models, again, strict=True):
        np.testing.assert_allclose(
            model.adapter.decision_function(query), other.adapter.decision_function(query), atol=1e-2
        )


def test_a_model_learns_from_its_own_source_alone(split_of, monkeypatch):
    run, split, _ = split_of(["blog", "shop"])
    monkeypatch.setattr(
        "evenly.tasks.adapters.corrupted_pictures.tune",
        lambda _kind, train, validation, **_: SimpleNamespace(adapter={"train": train, "validation": validation}),
    )
    models = source_models(run, split, build="some-1", classes=CLASSES)
    learned = {(model.source, model.share): rows_of(model.adapter["train"]) for model in models}
    blog, shop = learned["blog", 1.0], learned["shop", 1.0]
    assert (len(blog), len(shop), blog & shop) == (16, 16, set())
    assert learned["blog", 0.5] < blog
    assert learned[ALL, 1.0] == blog | shop
    assert all(len(model.adapter["validation"].labels) == 32 for model in models)


def rows_of(labelled):
    return {tuple(row) for row in labelled.features.image.tolist()}


def test_one_source_gives_no_models_and_no_tables(split_of):
    run, split, _ = split_of(["blog"])
    assert source_models(run, split, build="some-1", classes=CLASSES) == []
    assert source_tables([], []) == {}


def test_a_source_that_loses_less_lies_above_the_line():
    models = [
        SourceModel(source=source, share=share, rows=10, adapter=None)
        for source in ("blog", "shop")
        for share in (0.5, 1.0)
    ]
    accuracies = [(0.6, 0.5), (0.8, 0.7), (0.62, 0.3), (0.82, 0.5)]
    measures = [{"clean": clean, "corrupted": corrupted} for clean, corrupted in accuracies]
    tables = source_tables(models, measures)
    lines = tables["source_lines"].set_index("source")
    assert lines.loc["blog", "effective_robustness"] > 0.05 > -0.05 > lines.loc["shop", "effective_robustness"]
    assert lines["models"].tolist() == [2, 2]
    assert (tables["sources"]["corrupted"] - tables["sources"]["expected"]).tolist() == pytest.approx(
        tables["sources"]["effective_robustness"].tolist()
    )
    assert isinstance(tables["sources"], pd.DataFrame)
