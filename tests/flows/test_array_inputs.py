"""What people bring along to `evenly fit --arrays`: errors name the key, stand-ins are said, no traceback."""

import json

import numpy as np
import pytest

from evenly.adapters import ADAPTERS

LEARN_FROM_POOL = ("gda_em", "fpl", "ifpl", "grip")
QUICK = {"tip_f": ["epochs=2"], "nola": ["epochs=5"], "amu": ["epochs=5"]}


@pytest.fixture
def fit(evenly, tmp_path):
    """Fit on arrays, saved as people save them; (exit status, result or None, stderr)."""

    def run(adapter, arrays, *options):
        np.savez(tmp_path / "arrays.npz", **arrays)
        place = ["--arrays", tmp_path / "arrays.npz", "--adapter", adapter, "--out", tmp_path / "o"]
        quick = [word for pair in QUICK.get(adapter, []) for word in ("--param", pair)]
        status, out, err = evenly("fit", *place, *quick, *options, "--json")
        assert "Traceback" not in err
        return status, json.loads(out) if status == 0 else None, err

    return run


def without(arrays, *keys):
    return {key: array for key, array in arrays.items() if key not in keys}


def beginning(arrays, *starts):
    return [key for key in arrays if key.startswith(starts)]


@pytest.mark.parametrize(
    ("adapter", "lacking", "named"),
    [
        ("amu", ["aux_train_features"], ["aux_train_features"]),
        ("amu", ["aux_val_features", "aux_test_features"], ["aux_val_features", "aux_test_features"]),
        ("caps", ["train_caption_features"], ["train_caption_features"]),
        ("nola", ["aux_unlabelled_features", "aux_train_features"], ["aux_unlabelled_features", "aux_train_features"]),
        ("nola", ["aux_test_features"], ["aux_test_features"]),
        ("vcd", ["class_texts", "class_text_labels"], ["class_texts", "class_text_labels"]),
        (
            "disclip",
            ["descriptor_texts", "descriptor_text_labels"],
            ["descriptor_texts", "descriptor_text_labels"],
        ),
        ("fudd", ["pair_texts", "pair_text_classes"], ["pair_texts", "pair_text_classes"]),
        ("perceptionclip", ["context_prototypes"], ["context_prototypes"]),
        ("gda", ["prototypes"], ["prototypes"]),
        ("gda", ["train_labels"], ["train_labels"]),
        ("gda", ["val_labels"], ["val_labels"]),
        ("gda", ["test_labels"], ["test_labels"]),
    ],
)
def test_what_a_method_needs_and_does_not_get_is_named_by_its_key(fit, digit_arrays, adapter, lacking, named):
    arrays = without(digit_arrays, *lacking)
    if "aux_train_features" in lacking:
        arrays = without(arrays, "aux_encoder")
    if "prototypes" in lacking:
        arrays = without(arrays, *beginning(arrays, "negation", "context", "class_text", "descriptor", "pair_text"))
    status, _, err = fit(adapter, arrays)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert all(f"`{key}`" in err for key in named)
    fields = ("`second`", "`captions`", "`unlabelled`", "`unlabelled_second`", "`norms`", "`labels`")
    assert not any(field in err for field in fields)


def test_a_parameter_that_asks_for_a_pool_names_its_key(fit, digit_arrays):
    status, _, err = fit("tipx", without(digit_arrays, *beginning(digit_arrays, "unlabelled", "aux_unlabelled")),
                         "--param", "support=retrieved")  # fmt: skip
    assert status == 2
    assert "got none for `unlabelled_features`" in err


def spoiled(arrays, key, change):
    array = arrays[key].copy()
    change(array)
    return {**arrays, key: array}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda a: a | {"val_features": a["val_features"] * 3},
            "`val_features` must have rows of length 1; got 3 at [0]",
        ),
        (lambda a: a | {"prototypes": a["prototypes"] * 0.5}, "`prototypes` must have rows of length 1"),
        (lambda a: spoiled(a, "train_features", lambda x: x.__setitem__((4, 5), np.nan)), "got nan at [4, 5]"),
        (
            lambda a: spoiled(a, "test_features", lambda x: x.__setitem__((0, 0), np.inf)),
            "`test_features` must be finite",
        ),
        (lambda a: spoiled(a, "train_features", lambda x: x.__setitem__(7, 0)), "got 0 at [7]"),
        (lambda a: spoiled(a, "train_labels", lambda x: x.__setitem__(3, 10)), "`train_labels` must lie in 0 to 9"),
        (lambda a: spoiled(a, "test_labels", lambda x: x.__setitem__(3, -1)), "got -1 at [3] (1 such)"),
        (lambda a: a | {"train_labels": a["train_labels"] + 0.5}, "`train_labels` must hold whole numbers"),
        (lambda a: a | {"train_labels": a["train_labels"][:-1]}, "`train_labels` must have 80 train rows"),
        (lambda a: a | {"val_features": a["val_features"][:, :60]}, "`val_features` must have 64 columns"),
        (lambda a: a | {"train_norms": a["train_norms"] * 0}, "`train_norms` must be above 0"),
        (lambda a: a | {"prototypes": a["prototypes"][:0]}, "`prototypes` must have at least 1 of classes"),
        (lambda a: a | {"trian_features": a["train_features"]}, "got `trian_features`"),
        (lambda a: a | {"encoder": np.array(["embedded", "x"])}, "`encoder` must have 3 values; got 2"),
        (lambda a: a | {"test_groups": np.array([{}] * 120)}, "`test_groups` must hold plain values"),
    ],
)
def test_what_is_wrong_is_named_by_key_value_and_place(fit, digit_arrays, change, words):
    status, _, err = fit("gda", change(digit_arrays))
    assert status == 2
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"text"])
def test_a_file_that_is_no_npz_is_one_line(evenly, tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    status, _, err = evenly("fit", "--arrays", tmp_path / "a.npz", "--adapter", "gda", "--out", tmp_path / "o")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "must be a readable .npz file" in err


def test_other_number_types_and_memory_orders_change_nothing(fit, digit_arrays):
    other = {
        key: np.asfortranarray(array.astype(np.float64 if array.dtype.kind == "f" else np.int32))
        for key, array in digit_arrays.items()
    }
    assert fit("gda", other)[1]["metrics"] == fit("gda", digit_arrays, "--force")[1]["metrics"]


def test_normalise_scales_rows_of_any_length(fit, digit_arrays):
    lengths = np.linspace(2, 9, 80, dtype=np.float32)[:, None]
    longer = digit_arrays | {"train_features": digit_arrays["train_features"] * lengths}
    longer["prototypes"] = digit_arrays["prototypes"] * 7
    _, result, _ = fit("gda", longer, "--normalise")
    _, expected, _ = fit("gda", digit_arrays, "--force")
    assert result["metrics"]["accuracy"] == pytest.approx(expected["metrics"]["accuracy"], abs=0.01)


@pytest.mark.parametrize("adapter", [name for name, kind in ADAPTERS.items() if "tower" not in kind.needs])
def test_without_validation_rows_the_defaults_are_fitted(fit, digit_arrays, adapter):
    arrays = without(digit_arrays, *beginning(digit_arrays, "val_", "aux_val_", "ood_", "aux_ood_"))
    status, result, err = fit(adapter, arrays, "--no-guard")
    assert status == 0, err
    assert result["why"].startswith("defaults: no validation rows")
    assert (result["chosen"], result["temperature"], result["validation_accuracy"]) == ({}, None, None)
    assert result["metrics"]["temperature"] is None


def test_without_validation_rows_the_guard_keeps_zero_shot(fit, digit_arrays):
    _, result, _ = fit("gda", without(digit_arrays, *beginning(digit_arrays, "val_", "aux_val_")))
    assert result["kept_zero_shot"]
    assert result["metrics"]["difference"] == 0


@pytest.mark.parametrize("adapter", ["gda", "amu", "cooked", "nola"])
def test_without_test_rows_an_adapter_is_chosen_and_saved_but_not_judged(fit, digit_arrays, tmp_path, adapter):
    arrays = without(digit_arrays, *beginning(digit_arrays, "test_", "aux_test_"))
    _, result, _ = fit(adapter, arrays)
    assert (result["metrics"], result["ood"], result["rows"]["test"]) == ({}, [], 0)
    assert result["temperature"] > 0
    with np.load(tmp_path / "o" / "test_logits.npz") as file:
        assert file["logits"].shape == (0, 10)


def with_train(arrays, rows):
    """The file with some of its train rows."""
    per_row = {key for key in arrays if key.startswith(("train_", "aux_train_"))}
    return {
        key: (array[:, rows] if key == "train_views" else array[rows]) if key in per_row else array
        for key, array in arrays.items()
    }


@pytest.mark.parametrize("adapter", ["linear", "gda", "tip", "amu", "real_linear", "cooked", "grip"])
@pytest.mark.parametrize("kept", ["not 3", "only 4", "fewer than classes", "none"])
def test_classes_without_support_keep_their_columns(fit, digit_arrays, tmp_path, adapter, kept):
    labels = digit_arrays["train_labels"]
    rows = {
        "not 3": np.flatnonzero(labels != 3),
        "only 4": np.flatnonzero(labels == 4),
        "fewer than classes": np.arange(6),
        "none": np.arange(0),
    }[kept]
    status, result, err = fit(adapter, with_train(digit_arrays, rows), "--no-guard")
    assert status == 0, err
    assert result["rows"]["train"] == len(rows)
    with np.load(tmp_path / "o" / "test_logits.npz") as file:
        assert file["logits"].shape == (120, 10)
        assert np.isfinite(file["logits"]).all()
    if kept == "none" and adapter != "grip":
        assert result["fallback"].startswith("zero-shot")


def test_a_constant_feature_does_no_harm(fit, digit_arrays, tmp_path):
    def widened(array):
        wide = np.concatenate([array, np.full((*array.shape[:-1], 1), 0.5, np.float32)], axis=-1)
        return wide / np.linalg.norm(wide, axis=-1, keepdims=True)

    arrays = {key: widened(array) if array.shape[-1] == 64 else array for key, array in digit_arrays.items()}
    assert fit("gda", arrays)[0] == 0
    with np.load(tmp_path / "o" / "test_logits.npz") as file:
        assert np.isfinite(file["logits"]).all()


def test_without_any_lengths_cooked_takes_rows_as_they_are(fit, digit_arrays):
    ones = {f"{part}_norms": np.ones_like(digit_arrays[f"{part}_norms"]) for part in ("train", "val", "test")}
    _, expected, _ = fit("cooked", digit_arrays | ones)
    _, result, _ = fit("cooked", without(digit_arrays, *ones, "ood_norms"), "--force")
    assert result["metrics"] == expected["metrics"]
    assert result["fallback"] == "each row taken to be of length 1, as there is no `train_norms`"


def test_without_lengths_of_judged_rows_cooked_takes_the_mean_of_the_train_rows(fit, digit_arrays):
    _, result, _ = fit("cooked", without(digit_arrays, "val_norms", "test_norms"))
    assert result["fallback"] == "the mean of `train_norms` as there is no `val_norms`, `test_norms`"
    assert result["metrics"]["accuracy"] > 0.7


def test_cooked_does_without_a_second_backbone_that_judged_rows_lack(fit, digit_arrays):
    _, result, _ = fit("cooked", without(digit_arrays, "aux_test_features"))
    assert result["fallback"].startswith("GDA in place of a probe on the second backbone, as there is no `aux_test_f")


@pytest.mark.parametrize("adapter", LEARN_FROM_POOL)
def test_without_a_pool_the_train_rows_are_one_without_their_labels(fit, digit_arrays, adapter):
    arrays = without(digit_arrays, "unlabelled_features", "aux_unlabelled_features")
    _, result, _ = fit(adapter, arrays)
    same = {"unlabelled_features": digit_arrays["train_features"]}
    _, expected, _ = fit(adapter, arrays | same, "--force")
    assert result["metrics"] == expected["metrics"]
    assert result["fallback"].startswith("the 80 train rows, without their labels, as the pool, as there is no `unlab")


@pytest.mark.parametrize("lacking", [["unlabelled_features", "aux_unlabelled_features"], ["aux_unlabelled_features"]])
def test_nola_takes_the_train_rows_where_the_pool_has_no_second_backbone(fit, digit_arrays, lacking):
    _, result, _ = fit("nola", without(digit_arrays, *lacking))
    assert f"as the pool, as there is no `{lacking[0]}`" in result["fallback"]


def test_scores_of_unseen_pictures_that_lack_arrays_are_skipped_by_key(fit, digit_arrays):
    _, result, _ = fit("amu", without(digit_arrays, "aux_ood_features", "ood_norms", "negation_prototypes"))
    skipped = {row["score"]: row["skipped"] for row in result["ood"] if row["skipped"]}
    assert skipped["msp"] == "aux_ood_features"
    assert skipped["cooked_msp"] == "ood_norms"
    assert skipped["clipn_ctw"] == "negation_prototypes"
    assert {row["score"] for row in result["ood"] if not row["skipped"]} == {
        "near_miss",
        "near_miss_max",
        "zero_shot_msp",
        "zero_shot_entropy",
    }


def test_unseen_pictures_without_rows_are_shown_without_numbers(evenly, digit_arrays, tmp_path):
    empty = {key: digit_arrays[key][:0] for key in ("ood_features", "ood_norms", "aux_ood_features")}
    np.savez(tmp_path / "a.npz", **{**digit_arrays, **empty})
    status, _, err = evenly("fit", "--arrays", tmp_path / "a.npz", "--adapter", "gda", "--out", tmp_path / "o")
    assert status == 0, err
