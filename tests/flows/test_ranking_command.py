"""`evenly fit --arrays --adapter ranking`: digits ordered by their value, on pixel rows."""

import json

import numpy as np
import pandas as pd
import pytest

from evenly.adapters.evaluation.protocols.array_ranking import graded_parts
from evenly.adapters.features import unit_rows
from evenly.flows.cli.adapters.predict import open_adapter

GRADED = tuple(f"{part}_{key}" for part in ("train", "val", "test") for key in ("features", "values"))


@pytest.fixture
def graded(digit_arrays):
    """Features and values of three parts, and texts of low and high: the pictures of 0 and 9."""
    return {key: digit_arrays[key] for key in GRADED} | {"prototypes": digit_arrays["prototypes"][[0, 9]]}


@pytest.fixture
def rank(evenly, tmp_path):
    def run(arrays, *options):
        np.savez(tmp_path / "a.npz", **arrays)
        place = ["--arrays", tmp_path / "a.npz", "--adapter", "ranking", "--out", tmp_path / "o"]
        status, out, err = evenly("fit", *place, *options, "--json")
        return status, json.loads(out) if status == 0 else None, err

    return run


def test_it_writes_a_result_scores_a_curve_and_a_head_that_reloads(rank, graded, tmp_path):
    from scipy.stats import kendalltau, spearmanr

    _, result, _ = rank(graded)
    out = tmp_path / "o"
    assert json.loads((out / "result.json").read_text()) == {key: result[key] for key in result if key != "out"}
    with np.load(out / "test_scores.npz") as file:
        scores, values = file["scores"], file["values"]
    assert np.array_equal(values, graded["test_values"])
    found = result["metrics"]
    assert found["spearman"] == pytest.approx(spearmanr(scores, values).statistic)
    assert found["kendall"] == pytest.approx(kendalltau(scores, values).statistic)
    for name in ("spearman", "kendall", "pairwise_accuracy", "difference"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert found["spearman"] > found["text_spearman"] + 0.2
    curve = pd.read_csv(out / "curve.csv")
    assert curve.loc[curve["validation_spearman"].idxmax(), "strength"] == result["chosen"]["strength"]
    card, head = open_adapter(out)
    assert np.array_equal(head.score(graded_parts(graded)[0]["test"].features), scores)
    assert {"lineage", "split_hash", "metrics", "chosen", "why"} <= card.keys()


def test_a_given_strength_is_kept_as_given(rank, graded):
    _, result, _ = rank(graded, "--param", "strength=100", "--param", "neighbours=8")
    assert result["parameters"] == {"strength": 100.0, "pair_weight": 1.0, "neighbours": 8}
    assert (result["chosen"], result["kept_text"]) == ({}, False)


def test_the_guard_keeps_the_order_of_the_texts_where_learning_gains_nothing(rank, graded):
    backwards = graded | {"train_values": -graded["train_values"]}
    assert rank(backwards)[1]["kept_text"]
    assert not rank(backwards, "--no-guard", "--force")[1]["kept_text"]


def test_one_text_is_enough_and_labels_are_not_asked_for(rank, graded, digit_arrays):
    assert rank(graded | {"prototypes": digit_arrays["prototypes"][[9]]})[0] == 0


def test_without_validation_or_test_rows(rank, graded, tmp_path):
    few = {key: graded[key] for key in ("prototypes", "train_features", "train_values")}
    _, result, _ = rank(few)
    assert (result["kept_text"], result["why"]) == (True, "text order kept: no validation rows")
    assert result["metrics"] == {}
    _, result, _ = rank(few, "--no-guard", "--force")
    assert (result["kept_text"], result["why"]) == (False, "defaults: no validation rows")
    with np.load(tmp_path / "o" / "test_scores.npz") as file:
        assert file["scores"].shape == (0,)


def test_values_that_are_all_equal_leave_the_order_of_the_texts(rank, graded):
    _, result, _ = rank(graded | {"train_values": np.ones(80)})
    assert result["kept_text"]
    assert result["fallback"] == "text order: ranking needs images of 2 different values; got 1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_values": None}, "`train_values` must be there"),
        ({"val_values": None}, "`val_values` must come with `val_features`"),
        ({"test_values": np.full(120, np.nan)}, "`test_values` must be finite"),
        ({"prototypes": unit_rows(np.eye(64)[:3])}, "`prototypes` of a ranking must be one text, or two"),
        ({"prototypes": unit_rows(np.eye(64)[[1, 1]])}, "`prototypes` must differ from low to high"),
        ({"val_features": None}, "`val_values` must come with `val_features`"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(rank, graded, change, words):
    status, _, err = rank({key: array for key, array in (graded | change).items() if array is not None})
    assert (status, len(err.splitlines())) == (2, 1)
    assert words in err


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("strength=0", "`strength` must be a finite number above 0"),
        ("pair_weight=-1", "`pair_weight` must be a finite number of at least 0"),
        ("alpha=1", "with a name of neighbours, pair_weight, strength"),
    ],
)
def test_a_bad_parameter_is_a_usage_error(rank, graded, pair, words):
    status, _, err = rank(graded, "--param", pair)
    assert status == 2
    assert words in err


def test_people_see_the_choice_and_the_measures(evenly, graded, tmp_path):
    np.savez(tmp_path / "a.npz", **graded)
    status, out, _ = evenly("fit", "--arrays", tmp_path / "a.npz", "--adapter", "Ranking", "--out", tmp_path / "o")
    assert status == 0
    assert out.startswith("ranking: Spearman 0.")
    assert "pairwise_accuracy" in out


def test_a_head_is_exported_as_one_row(evenly, rank, graded, tmp_path):
    rank(graded)
    status, _, _ = evenly("export-adapter", tmp_path / "o", "--out", tmp_path / "head.npz")
    assert status == 0
    with np.load(tmp_path / "head.npz") as file, np.load(tmp_path / "o" / "test_scores.npz") as told:
        scores = graded["test_features"].astype(np.float64) @ file["weight"].T + file["bias"]
        np.testing.assert_allclose(scores[:, 0], told["scores"])
        assert file["classes"].tolist() == ["score"]
