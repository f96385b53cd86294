"""Models per training source: whose pictures each learns from, and what lies beyond the line through all of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evenly.adapters.features import Features, unit_rows
from evenly.tasks.adapters.source_models import ALL, SourceModel, source_models, source_tables
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish, seen

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
        "evenly.tasks.adapters.source_models.tune",
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
