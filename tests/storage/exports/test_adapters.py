import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from evenly.adapters import ADAPTERS
from evenly.adapters.contract import Adapter
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.storage.errors import InputError, StorageError
from evenly.storage.exports import adapters as adapter_exports
from evenly.storage.exports.adapters import CacheModel, export_affine_npz, export_cache_onnx, export_onnx
from tests.adapters.small_tower import SmallTower

C, D, N = 5, 16, 40
HOSTILE = ['"; DROP TABLE classes; --', "line\nbreak\ttab", "日本語 🐈 é", "</script>{{x}}%s\\", ""]
ENCODER = "a" * 64
AFFINE = [name for name, kind in ADAPTERS.items() if kind.affine_form is not Adapter.affine_form]


def rows(n, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32))


@pytest.fixture
def problem():
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(C, D))
    labels = np.arange(N) % C
    image = unit_rows((centres[labels] + 0.5 * generator.normal(size=(N, D))).astype(np.float32))
    features = Features(
        image=image, prototypes=rows(C, 2), norms=np.ones(N, np.float32), captions=image, second=rows(N, 4),
        unlabelled=rows(60, 5), unlabelled_second=rows(60, 6), encoder=ENCODER, class_texts=rows(2 * C, 7),
        class_text_labels=np.arange(2 * C) % C, pair_texts=rows(2, 8), pair_text_classes=np.array([[0, 1], [1, 0]]),
        context_prototypes=rows(2 * C, 9).reshape(2, C, D), descriptor_texts=rows(C, 10),
        descriptor_text_labels=np.arange(C),
        tower=SmallTower(tuple("abcde"), dict(zip("abcde", rows(C, 2), strict=True))),
    )  # fmt: skip
    return features, labels


def run(path, image):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image_features": image})
    return logits, session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("single", [False, True])
def test_an_affine_adapter_gives_the_same_logits_in_onnx(tmp_path, problem, name, single):
    adapter = ADAPTERS[name]().fit(*problem)
    weight, bias = adapter.affine_form()
    export_onnx(tmp_path / "a.onnx", weight, bias, HOSTILE, adapter=name, encoder=ENCODER, single=single)
    query = rows(30, 3)
    logits, metadata = run(tmp_path / "a.onnx", query)
    expected = adapter.decision_function(Features(image=query))
    assert logits.dtype == np.float32
    assert logits.shape == (30, C)
    scale = np.abs(expected).max()
    assert np.abs(logits - expected).max() <= (1e-4 if single else 2e-6) * scale
    assert np.array_equal(logits.argmax(axis=1), adapter.predict(Features(image=query)))
    assert json.loads(metadata["classes"]) == HOSTILE
    assert (metadata["adapter"], metadata["encoder"]) == (name, ENCODER)


def test_weights_that_cancel_are_counted_in_double(tmp_path):
    weight = np.full((C, D), 1e7) + np.random.default_rng(0).normal(size=(C, D))
    bias = np.full(C, -1e7)
    image = np.zeros((3, D), np.float32)
    image[:, 0] = 1
    export_onnx(tmp_path / "a.onnx", weight, bias, HOSTILE)
    assert np.allclose(run(tmp_path / "a.onnx", image)[0], image.astype(np.float64) @ weight.T + bias, atol=1e-6)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("case", [(1.17, 5.5, N), (50.0, 0.1, N), (0.0, 1.0, N), (3.0, 1.0, 0)])
def test_a_cache_adapter_gives_the_logits_of_its_formula_in_onnx(tmp_path, problem, case, single):
    (features, labels), (alpha, beta, n) = problem, case
    keys, values, query = features.image[:n], np.eye(C)[labels[:n]], rows(30, 3)
    cache = CacheModel(prototypes=features.prototypes, keys=keys, values=values, alpha=alpha, beta=beta)
    export_cache_onnx(tmp_path / "a.onnx", cache, HOSTILE, adapter="tip", encoder=ENCODER, single=single)
    logits, metadata = run(tmp_path / "a.onnx", query)
    affinity = query.astype(np.float64) @ keys.T.astype(np.float64)
    expected = cosine_logits(query, features.prototypes, 100.0) + alpha * np.exp(-beta * (1 - affinity)) @ values
    assert np.abs(logits - expected).max() <= (1e-4 if single else 2e-6) * np.abs(expected).max()
    assert json.loads(metadata["classes"]) == HOSTILE
    if not alpha or not n:
        assert [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node] == ["Cast", "MatMul", "Cast"]


@pytest.mark.parametrize("name", ["tip", "tip_f"])
def test_a_fitted_cache_adapter_gives_the_same_logits_in_onnx(tmp_path, problem, name):
    adapter = ADAPTERS[name]().fit(*problem)
    values, query = np.eye(C)[adapter.key_labels_], rows(30, 3)
    options = {"alpha": adapter.alpha, "beta": adapter.beta, "logit_scale": adapter.logit_scale}
    cache = CacheModel(prototypes=adapter.prototypes_, keys=adapter.keys_, values=values, **options)
    export_cache_onnx(tmp_path / "a.onnx", cache, HOSTILE)
    expected = adapter.decision_function(Features(image=query))
    assert np.allclose(run(tmp_path / "a.onnx", query)[0], expected, rtol=1e-5, atol=1e-5)


def test_no_rows_and_one_row_are_rows_too(tmp_path, problem):
    features, labels = problem
    values = np.eye(C)[labels]
    cache = CacheModel(prototypes=features.prototypes, keys=features.image, values=values, alpha=1.0, beta=1.0)
    export_cache_onnx(tmp_path / "a.onnx", cache, HOSTILE)
    many = run(tmp_path / "a.onnx", rows(9))[0]
    assert run(tmp_path / "a.onnx", rows(9)[:0])[0].shape == (0, C)
    assert np.allclose(run(tmp_path / "a.onnx", rows(9)[4:5])[0], many[4:5], rtol=1e-6)


def test_equal_adapters_give_equal_bytes(tmp_path):
    weight, bias = rows(C).astype(np.float64), np.zeros(C)
    for name in ("a", "b"):
        export_onnx(tmp_path / f"{name}.onnx", weight, bias, HOSTILE)
        export_affine_npz(tmp_path / f"{name}.npz", weight, bias, HOSTILE)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_npz_holds_all_that_is_needed_to_predict(tmp_path, problem):
    adapter = ADAPTERS["gda"]().fit(*problem)
    export_affine_npz(tmp_path / "a.npz", *adapter.affine_form(), HOSTILE, adapter="gda", encoder=ENCODER)
    query = rows(30, 3)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        logits = query @ read["weight"].T + read["bias"]
        assert read["classes"].tolist() == HOSTILE
        assert (read["adapter"].item(), read["encoder"].item()) == ("gda", ENCODER)
    assert np.allclose(logits, adapter.decision_function(Features(image=query)), rtol=1e-5, atol=1e-5)


def test_another_adapter_or_class_list_changes_the_metadata_alone(tmp_path):
    export_onnx(tmp_path / "a.onnx", rows(C), np.zeros(C), HOSTILE, adapter="one")
    export_onnx(tmp_path / "b.onnx", rows(C), np.zeros(C), list("abcde"), adapter="two")
    first, second = (onnx.load(tmp_path / f"{name}.onnx") for name in ("a", "b"))
    assert first.graph == second.graph
    assert first.metadata_props != second.metadata_props


WRONG = np.full((C, D), np.nan)


@pytest.mark.parametrize("export", [export_onnx, export_affine_npz])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((rows(C), np.zeros(C), HOSTILE[1:]), "`classes` must name each of 5 rows; got 4 names"),
        ((rows(C), np.zeros(C), ["a", "b", "c", "d", "e\0"]), r"`classes` must be text without nulls .* got 'e\\x00'"),
        ((rows(C), np.zeros(C), ["a", "b", "c", "d", "\ud800"]), r"`classes` must be text .* got '\\ud800'"),
        ((rows(C), np.zeros(4), HOSTILE), "`bias` must have one value per row of `weight`, 5; got 4"),
        ((rows(C)[0], np.zeros(C), HOSTILE), r"`weight` must be finite with 2 axes; got shape \(16,\)"),
        ((WRONG, np.zeros(C), HOSTILE), "`weight` must be finite with 2 axes; got NaN or infinity"),
    ],
)
def test_what_cannot_be_exported_is_named_and_leaves_no_file(tmp_path, export, arrays, message):
    with pytest.raises(InputError, match=message):
        export(tmp_path / "out", *arrays)
    assert list(tmp_path.iterdir()) == []


def test_keys_of_another_fit_are_refused(tmp_path):
    cache = CacheModel(prototypes=rows(C), keys=rows(3), values=np.eye(4, C), alpha=1.0, beta=1.0)
    with pytest.raises(InputError, match=r"`keys` and `values` must have shapes \(N, 16\) and \(N, 5\); got "):
        export_cache_onnx(tmp_path / "a.onnx", cache, HOSTILE)


def test_a_model_beyond_the_limit_of_the_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(adapter_exports, "_LARGEST_BYTES", 600)
    with pytest.raises(InputError, match="must stay below 2 GiB; got 680 bytes of weights"):
        export_onnx(tmp_path / "a.onnx", rows(C), np.zeros(C), HOSTILE)
    export_onnx(tmp_path / "a.onnx", rows(C), np.zeros(C), HOSTILE, single=True)


def test_the_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(StorageError, match="pip install 'onnx>="):
        export_onnx(tmp_path / "a.onnx", rows(C), np.zeros(C), HOSTILE)
