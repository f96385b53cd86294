"""`evenly fit --arrays` as people run it: what it writes, what reloads, what is searched and what is kept as given."""

import json

import numpy as np
import pandas as pd
import pytest

from evenly.adapters import ADAPTERS
from evenly.adapters.evaluation.measures.calibration import fit_temperature
from evenly.adapters.own_features.arrays import parts_in
from evenly.adapters.own_features.defaults import with_defaults
from evenly.flows.cli.adapters.fit import print_chosen
from evenly.flows.cli.adapters.predict import open_adapter
from evenly.storage.files.arrays import write_arrays

QUICK = {"tip_f": ["epochs=3"], "singular_scaling": ["basis=texts"], "nola": ["epochs=10"]}


@pytest.fixture
def arrays(tmp_path, digit_arrays):
    path = tmp_path / "digits.npz"
    write_arrays(path, digit_arrays)
    return path


@pytest.fixture
def fit(evenly, arrays, tmp_path):
    """Fit on the digits; the result."""

    def run(adapter, *options, file=arrays):
        status, out, err = evenly(
            "fit", "--arrays", file, "--adapter", adapter, "--out", tmp_path / "o", *options, "--json"
        )
        assert status == 0, err
        return json.loads(out)

    return run


def parameters(*pairs):
    return [word for pair in pairs for word in ("--param", pair)]


def logits_of(folder):
    with np.load(folder / "test_logits.npz") as file:
        return file["logits"], file["labels"]


@pytest.mark.parametrize("adapter", [name for name, kind in ADAPTERS.items() if "tower" not in kind.needs])
def test_every_adapter_writes_a_result_logits_a_curve_and_itself(fit, tmp_path, digit_arrays, adapter):
    result = fit(adapter, *parameters(*QUICK.get(adapter, [])))
    out = tmp_path / "o"
    assert json.loads((out / "result.json").read_text()) == {key: result[key] for key in result if key != "out"}
    logits, labels = logits_of(out)
    assert np.array_equal(labels, digit_arrays["test_labels"])
    assert logits.shape == (120, 10)
    assert np.mean(logits.argmax(axis=1) == labels) == result["metrics"]["accuracy"]
    curve = pd.read_csv(out / "curve.csv")
    assert curve["validation_accuracy"].max() == pytest.approx(result["best_accuracy"])
    assert set(result["chosen"]) <= set(curve.columns)
    assert result["validation_accuracy"] >= result["zero_shot_accuracy"]
    card, fitted = open_adapter(out)
    assert card["adapter"] == ("zero_shot" if result["kept_zero_shot"] else adapter)
    parts, _ = with_defaults(parts_in(digit_arrays), ADAPTERS[adapter])
    assert np.array_equal(fitted.decision_function(parts.test.features), logits)
    validation = fitted.decision_function(parts.val.features), parts.val.labels
    expected = fit_temperature(*validation)
    assert card["temperature"] == result["temperature"] == (None if expected.why else pytest.approx(expected.value))
    assert card["temperature_why"] == result["temperature_why"] == expected.why


def test_a_class_without_training_rows_does_not_ruin_the_calibration(fit, tmp_path, digit_arrays):
    """Its logit of -10000 drove the temperature to the bound of the search, 1000."""
    kept = np.flatnonzero(digit_arrays["train_labels"] != 4)
    fewer = {
        key: np.take(array, kept, axis=1 if key == "train_views" else 0)
        for key, array in digit_arrays.items()
        if key.startswith(("train_", "aux_train_"))
    }
    write_arrays(tmp_path / "absent.npz", digit_arrays | fewer)
    result = fit("linear", "--no-guard", file=tmp_path / "absent.npz")
    assert result["temperature_why"] == ""
    assert 0.001 < result["temperature"] < 100
    assert result["metrics"]["calibrated_error"] < result["metrics"]["calibration_error"] + 0.05


def test_the_card_says_what_the_adapter_is_made_of(fit, tmp_path, digit_arrays, arrays):
    result = fit("gda", *parameters("alpha=0.5"))
    card = json.loads((tmp_path / "o" / "adapter.json").read_text())
    assert card["parameters"]["alpha"] == card["given"]["alpha"] == 0.5
    assert card["metrics"] == result["metrics"]
    assert card["classes"] == [str(place) for place in range(10)]
    assert (card["encoder"], card["second"]) == (None, None)
    assert card["lineage"]["file"] == arrays.name
    assert {"split_hash", "class_list_hash", "arrays_sha256", "why", "chosen", "chosen_on", "fallback"} <= card.keys()
    named = arrays.with_name("named.npz")
    write_arrays(named, {**digit_arrays, "classes": np.array(list("abcdefghij"))})
    fit("gda", *parameters("alpha=0.5"), "--force", file=named)
    other = json.loads((tmp_path / "o" / "adapter.json").read_text())
    assert other["classes"] == list("abcdefghij")
    assert other["split_hash"] == card["split_hash"]
    assert other["class_list_hash"] != card["class_list_hash"]
    assert other["lineage"]["sha256"] != card["lineage"]["sha256"]


def test_moving_a_row_to_another_part_changes_the_split_hash(fit, tmp_path, digit_arrays, arrays):
    fit("gda")
    before = json.loads((tmp_path / "o" / "adapter.json").read_text())["split_hash"]
    labels = digit_arrays["val_labels"].copy()
    labels[0] = (labels[0] + 1) % 10
    moved = arrays.with_name("moved.npz")
    write_arrays(moved, {**digit_arrays, "val_labels": labels})
    fit("gda", "--force", file=moved)
    assert json.loads((tmp_path / "o" / "adapter.json").read_text())["split_hash"] != before


def test_a_given_value_is_kept_and_the_others_are_searched(fit, tmp_path):
    result = fit("tip", *parameters("beta=2.5"))
    assert result["given"] == {"beta": 2.5}
    assert result["parameters"]["beta"] == 2.5
    assert set(result["chosen"]) == {"alpha"}
    assert set(pd.read_csv(tmp_path / "o" / "curve.csv").columns) == {"alpha", "stage", "validation_accuracy"}


def test_an_adapter_whose_values_are_all_given_is_fitted_as_given(fit, tmp_path, digit_arrays):
    """So that the published formula can be had whatever validation says; `--guard` still asks it."""
    alone = {key: array for key, array in digit_arrays.items() if key != "train_views"}
    file = tmp_path / "alone.npz"
    write_arrays(file, alone)
    result = fit("tip", *parameters("alpha=90", "beta=0.1"), file=file)
    assert not result["kept_zero_shot"]
    assert result["chosen"] == {}
    assert result["why"].startswith("as given, nothing to choose")
    test, train = alone["test_features"].astype(np.float64), alone["train_features"].astype(np.float64)
    closeness = np.exp(-0.1 * (1 - test @ train.T)) @ np.eye(10)[alone["train_labels"]]
    expected = 100 * test @ alone["prototypes"].T + 90 * closeness
    np.testing.assert_allclose(logits_of(tmp_path / "o")[0], expected, rtol=1e-5)
    assert result["validation_accuracy"] < result["zero_shot_accuracy"]
    guarded = fit("tip", *parameters("alpha=90", "beta=0.1"), "--guard", "--force", file=file)
    assert guarded["kept_zero_shot"]
    assert guarded["why"].startswith("zero-shot kept")


def test_without_the_guard_the_best_point_is_kept_though_it_gains_nothing(fit):
    assert fit("fudd")["kept_zero_shot"]
    assert not fit("fudd", "--no-guard", "--force")["kept_zero_shot"]


def test_names_of_papers_are_understood(fit):
    assert fit("Tip-Adapter-F", *parameters("epochs=1", "alpha=1", "beta=1"))["adapter"] == "tip_f"


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("alpha=much", "`--param alpha` must be a number; got `much`"),
        ("alfa=1", "with a name of alpha"),
        ("alpha", "must be name=value"),
        ("alpha=-1", "`alpha` must be a finite number of at least 0; got -1.0"),
        ("alpha=nan", "`alpha` must be a finite number of at least 0; got nan"),
        ("precision_scale=huge", "`precision_scale` must be one of rows, published; got 'huge'"),
    ],
)
def test_a_bad_parameter_is_a_usage_error(evenly, arrays, tmp_path, pair, words):
    status, _, err = evenly("fit", "--arrays", arrays, "--adapter", "gda", "--out", tmp_path / "o", "--param", pair)
    assert status == 2
    assert err.startswith("evenly: ")
    assert words in err
    assert not (tmp_path / "o").exists()


def test_a_whole_number_or_none_is_read_where_the_field_says_so(fit):
    assert fit("gda_base_to_new", *parameters("neighbours=6"))["given"] == {"neighbours": 6}
    assert fit("gda_base_to_new", *parameters("neighbours=none"), "--force")["given"] == {"neighbours": None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--adapter", "gad", "--out", "o"], "must be one of zero_shot, linear"),
        (["--adapter", "gda"], "`--out DIR`"),
        (["--out", "o"], "`--adapter NAME`"),
        (["--adapter", "gda", "--out", "a file"], "must be a folder; got the file"),
    ],
)
def test_what_the_command_needs_is_named(evenly, arrays, arguments, words):
    status, _, err = evenly("fit", "--arrays", arrays, *(arrays if one == "a file" else one for one in arguments))
    assert status == 2
    assert words in err


def test_a_recipe_goes_without_the_options_of_arrays(evenly, tmp_path):
    status, _, err = evenly("fit", tmp_path / "recipe.yaml", "--adapter", "gda")
    assert status == 2
    assert "`fit RECIPE` must go without `--adapter`" in err


def test_people_see_the_choice_the_measures_and_what_was_skipped(evenly, arrays, tmp_path):
    status, out, _ = evenly("fit", "--arrays", arrays, "--adapter", "gda", "--out", tmp_path / "o")
    assert status == 0
    assert out.startswith("gda: best of 7 points: ")
    assert "chosen on" in out
    assert "entropy" in out
    assert out.rstrip().endswith(f"written to {tmp_path / 'o'}")


def test_what_validation_chose_stands_in_a_table_that_fits(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder = "/home/someone/a/long/way/down/.evenly/adapters/birds-26526241dd03/birds"
    row = {
        "list": "birds",
        "texts": "names",
        "chosen": "alpha=1",
        "validation_accuracy": 0.8686,
        "validation_rows": 236,
    }
    rows = [
        row | {"name": "gda", "kept_zero_shot": False, "why": "best of 7", "saved": f"{folder}/gda-names.json"},
        row | {"name": "tip", "kept_zero_shot": True, "why": "no point is better", "saved": f"{folder}/tip-names.json"},
    ]
    print_chosen(rows)
    out = capsys.readouterr().out
    assert "birds: chosen on 236 validation pictures" in out
    assert "best of 7" not in out
    assert "no point is better" in out
    assert f"saved in {folder} as ADAPTER-TEXTS.json" in out
    assert max(map(len, out.splitlines()[:-1])) <= 80
