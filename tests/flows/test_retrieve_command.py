"""`evenly retrieve` on a build of pictures as numbers, and `evenly fit --arrays` on what it wrote."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from evenly.adapters.class_texts import ListSplit
from evenly.curation.retrieval_sets import RetrievalRule
from evenly.flows.cli.datasets.options import RetrieveOptions
from evenly.flows.cli.datasets.retrieval import retrieval_limits
from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.samples import Samples
from evenly.tasks.labelled_rows import labelled_pairs
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish

CLASSES = ["cat", "dog", "ship", "whale"]


def test_limits_are_those_of_the_papers():
    assert retrieval_limits(RetrieveOptions()) == RetrievalRule(per_class=100)
    swat = RetrieveOptions(method="swat")
    assert retrieval_limits(swat) == RetrievalRule(min_image_cosine=0.25, max_duplicate_cosine=0.9)
    assert retrieval_limits(replace(swat, min_image_cosine=0.05)).min_image_cosine == 0.05


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


@pytest.fixture
def retrieve(evenly, workspace, tmp_path):
    """Retrieve from a build of pictures, no two of them twins, that show what their captions say.

    Returns (exit status, facts or errors).
    """
    shown = [{name: 1.0, "thing": 0.2 + 0.02 * at, str(at): 0.3} for at in range(30) for name in CLASSES[:3]]
    pictures = [Picture(next(iter(one)), one, "train", f"a {next(iter(one))} {at}") for at, one in enumerate(shown)]
    publish(workspace, pictures)
    listing = tmp_path / "animals.txt"
    listing.write_text("\n".join(CLASSES) + "\n")

    def run(*arguments, as_json=True):
        more = ["--json"] if as_json else []
        status, out, err = evenly("retrieve", listing, "--root", workspace.root, "--build", "some-1", *arguments, *more)
        return status, err if status else json.loads(out) if as_json else out

    return run


def judged_uids(workspace):
    run = Run(workspace=workspace, seed=7)
    found = labelled_pairs(run, Builds(workspace).read("some-1"), ListSplit(classes=tuple(CLASSES)))
    return {uid for uid, part in zip(found.pairs["uid"].to_pylist(), found.split, strict=True) if part != "train"}


@pytest.mark.parametrize("method", ["t2t", "t2i", "swat", "reco"])
def test_no_validation_or_test_picture_is_chosen_and_short_classes_are_named(retrieve, workspace, tmp_path, method):
    status, found = retrieve("--method", method, "--per-class", 8, "--out", tmp_path / "out")
    assert status == 0
    rows = pq.read_table(tmp_path / "out" / "retrieved.parquet").to_pylist()
    everything = pq.read_table(tmp_path / "out" / "candidates.parquet").to_pylist()
    judged = judged_uids(workspace)
    assert judged
    assert not {row["uid"] for row in rows} & judged
    assert all(row["reason"] for row in everything if row["verdict"] != "kept")
    assert sum(found["excluded"].values()) == len(judged)
    counts = {row["class"]: row["kept"] for row in found["classes"]}
    if method == "reco":
        assert (counts["whale"], found["short"]) == (8, [])
    else:
        assert (counts["whale"], "whale" in found["short"]) == (0, True)
        assert {row["name"] for row in rows} <= set(CLASSES)
    if method in {"t2t", "t2i"}:
        assert counts == {"cat": 8, "dog": 8, "ship": 8, "whale": 0}
        score = "caption_cosine" if method == "t2t" else "image_cosine"
        cats = [row[score] for row in everything if row["class"] == "cat"]
        assert cats == sorted(cats, reverse=True)
    if method == "swat":
        assert found["reasons"]["near_duplicate"]


def test_the_test_pictures_of_the_split_of_an_evaluation_are_never_chosen(retrieve, workspace):
    split = workspace.root / "own.csv"
    rows = Samples(workspace, "some").read(Builds(workspace).read("some-1")["samples"]["version"], ["url"])
    urls = rows["url"].to_pylist()
    parts = [f"{url},{'test' if number % 2 else 'train'}" for number, url in enumerate(urls)]
    split.write_text("\n".join(["key,part", *parts]) + "\n")
    rule = {"build": "some-1", "list": "animals", "classes": CLASSES, "split": str(split)}
    spec = StepSpec(name="evaluate_adapters", version=1, rule=rule, inputs={})
    Ledger(workspace).commit(spec, StepOutput(), uids=None, started=datetime.now(UTC))
    status, found = retrieve("--per-class", 30)
    assert status == 0, found
    assert found["excluded"] == {"test_picture": 45}
    assert [row["kept"] for row in found["classes"]] == [15, 15, 15, 0]


def test_a_second_run_finds_the_step_and_writes_the_same_bytes(retrieve, tmp_path):
    names = ("retrieved.parquet", "candidates.parquet", "prototypes.safetensors", "support.npz")
    _, first = retrieve("--per-class", 5, "--out", tmp_path / "a")
    _, second = retrieve("--per-class", 5, "--out", tmp_path / "b")
    assert first["step"] == second["step"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    vectors = load_file(tmp_path / "a" / "prototypes.safetensors")
    assert {name: rows.shape for name, rows in vectors.items()} == {"text": (4, 16), "image": (3, 16)}


def test_adapters_are_fitted_on_what_was_retrieved(retrieve, evenly, tmp_path):
    retrieve("--per-class", 8, "--out", tmp_path / "out")
    with np.load(tmp_path / "out" / "support.npz") as arrays:
        assert np.bincount(arrays["train_labels"], minlength=4).tolist() == [8, 8, 8, 0]
        assert len(arrays["unlabelled_features"]) == 24
    for adapter, more in (("real_linear", ()), ("tipx", ("--param", "support=retrieved"))):
        where = ("--arrays", tmp_path / "out" / "support.npz", "--adapter", adapter, *more)
        status, _, error = evenly("fit", *where, "--out", tmp_path / adapter)
        assert status == 0, error
        assert json.loads((tmp_path / adapter / "result.json").read_text())["metrics"]["n"] > 0


def test_pictures_near_an_evaluation_set_are_never_chosen(retrieve, tmp_path):
    _, free = retrieve("--per-class", 30, "--out", tmp_path / "free")
    with np.load(tmp_path / "free" / "support.npz") as arrays:
        cats = arrays["train_features"][arrays["train_labels"] == 0]
    np.savez(tmp_path / "held.npz", image_features=cats[:3])
    limits = ("--against", tmp_path / "held.npz", "--max-evaluation-cosine", 0.9999)
    status, found = retrieve("--per-class", 30, *limits)
    assert status == 0, found
    assert found["excluded"]["evaluation_set"] >= 3
    more = sum(found["excluded"].values()) - sum(free["excluded"].values())
    assert more >= 3
    assert found["kept"] == free["kept"] - more


def test_the_table_says_what_was_left_out(retrieve):
    status, out = retrieve("--per-class", 5, as_json=False)
    assert status == 0
    assert "fall short: 1 classes: whale" in out
    assert "never chosen: test_picture" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "t3t"), "`--method` must be one of t2t, t2i, swat, reco; got `t3t`"),
        (("--template", "a photo"), "`--template` must hold {}"),
        (("--min-image-cosine", "7"), "`min_image_cosine` must be a cosine"),
    ],
)
def test_what_cannot_be_is_refused(retrieve, arguments, message):
    status, error = retrieve(*arguments)
    assert status == 2
    assert message in error
