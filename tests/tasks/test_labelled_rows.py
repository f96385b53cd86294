"""What the rows of a build hold: the second backbone wherever something can use it."""

from types import SimpleNamespace

import numpy as np
import pytest
from labelled_build import Picture, WordEncoder, publish

from storage.builds import Builds
from storage.feature_store import FeatureStore
from tasks.adapters import EVALUATE_ADAPTERS, evaluate_adapters
from tasks.labelled_rows import labelled_rows
from tasks.run import Run, SecondChoice

CLASSES = ["cat", "dog"]
SECOND = "1" * 64
RULE = {"build": "some-1", "list": "things", "classes": CLASSES, "texts": {}, "describe": None, "adapters": ["cooked"]}


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    """A run with a second backbone, on a build whose pictures have their rows by it."""
    monkeypatch.setattr("tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    monkeypatch.setattr("tasks.encoders._load_second", lambda _choice, _cache: SimpleNamespace(identity=SECOND))
    pictures = [
        Picture(name, {name: 1.0, f"a {number}": 0.8}, part)
        for name in [*CLASSES, "tree"]
        for part in ("train", "val", "test")
        for number in range(4)
    ]
    split = publish(workspace, pictures)
    ids = [f"{number:032x}" for number in range(len(pictures))]
    rows = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    rows += 3 * np.repeat(np.eye(3, 8, dtype=np.float32), 12, axis=0)
    norms = np.linalg.norm(rows, axis=1)
    FeatureStore(workspace, SECOND, "images").append(ids, (rows / norms[:, None]).astype(np.float16), norms)
    RULE["split"] = split
    return Run(workspace=workspace, seed=7, second=SecondChoice())


@pytest.mark.parametrize(
    ("adapters", "unseen", "made"),
    [
        (["amu"], {}, True),
        (["cooked"], {}, True),
        (["gda"], {}, False),
        (["gda"], {"near": ["tree"], "far": []}, True),
        (["gda"], {"near": [], "far": []}, False),
    ],
)
def test_rows_of_the_second_backbone_are_made_where_something_can_use_them(run, adapters, unseen, made):
    manifest = Builds(run.workspace).read("some-1")
    rows = labelled_rows(run, manifest, RULE | {"unseen": unseen}, adapters=adapters)
    assert (rows.features.second is not None) == made
    identity = EVALUATE_ADAPTERS.spec(run, (), RULE | {"unseen": unseen, "adapters": adapters}).inputs.get("second")
    assert identity == (SECOND if made else None)


def test_the_third_classifier_of_cooked_does_not_depend_on_its_neighbours(run):
    alone = evaluate_adapters(run, (), RULE | {"unseen": {"near": ["tree"]}})
    beside = evaluate_adapters(run, (), RULE | {"unseen": {"near": ["tree"]}, "adapters": ["amu", "cooked"]})
    tables = [output.tables["ensembles"].to_pandas() for output in (alone, beside)]
    assert set(tables[0]["part"]) == {"zero-shot", "probe on the image features", "probe on the second backbone", "all"}
    assert tables[0].equals(tables[1])
    near = tables[0][tables[0]["set"] == "near"]
    assert len(near) == 4
    assert near["auroc"].between(0, 1).all()
