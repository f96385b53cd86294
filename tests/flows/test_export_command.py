"""`evenly export-adapter`: what other programs compute from the file equals the logits of the adapter."""

import json

import numpy as np
import pytest

PARAMETERS = {"tip_f": ["epochs=2"], "gda": ["alpha=1"], "tip": ["alpha=1.5", "beta=3"], "zero_shot": []}


@pytest.fixture
def fitted(evenly, digit_arrays, tmp_path):
    """The folder of an adapter fitted on named digits, and its test logits."""

    def run(adapter):
        np.savez(tmp_path / "a.npz", **digit_arrays, classes=np.array([f"digit {one}" for one in "0123456789"]))
        given = [word for pair in PARAMETERS.get(adapter, []) for word in ("--param", pair)]
        fit = ["fit", "--arrays", tmp_path / "a.npz", "--adapter", adapter, "--no-guard", *given]
        assert evenly(*fit, "--out", tmp_path / "o")[0] == 0
        with np.load(tmp_path / "o" / "test_logits.npz") as file:
            return tmp_path / "o", file["logits"]

    return run


@pytest.mark.parametrize("adapter", ["zero_shot", "linear", "gda", "tip", "tip_f"])
def test_onnx_gives_the_logits_and_names_the_classes(evenly, fitted, digit_arrays, tmp_path, adapter):
    runtime = pytest.importorskip("onnxruntime")
    folder, logits = fitted(adapter)
    status, out, _ = evenly("export-adapter", folder, "--out", tmp_path / "new" / "a.onnx", "--json")
    assert status == 0
    assert json.loads(out) == {"adapter": adapter, "classes": 10, "out": str(tmp_path / "new" / "a.onnx")}
    session = runtime.InferenceSession(tmp_path / "new" / "a.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image_features": digit_arrays["test_features"]})
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"])[3] == "digit 3"
    assert facts["adapter"] == adapter


@pytest.mark.parametrize("adapter", ["zero_shot", "linear", "gda"])
def test_npz_gives_the_logits_and_names_the_classes(evenly, fitted, digit_arrays, tmp_path, adapter):
    folder, logits = fitted(adapter)
    assert evenly("export-adapter", folder / "adapter.json", "--out", tmp_path / "w.npz")[0] == 0
    with np.load(tmp_path / "w.npz") as file:
        found = digit_arrays["test_features"].astype(np.float64) @ file["weight"].T + file["bias"]
        assert file["classes"][3] == "digit 3"
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("adapter", "ending", "words"),
    [
        ("amu", "onnx", "`amu` must have logits of the form W x + b to be written as .onnx"),
        ("cooked", "npz", "`cooked` must have logits of the form W x + b"),
        ("tip", "npz", "`tip` must have logits of the form W x + b to be written as .npz"),
        ("gda", "txt", "must be a file that ends in .onnx or .npz"),
    ],
)
def test_what_cannot_be_exported_is_refused(evenly, fitted, adapter, ending, words):
    folder, _ = fitted(adapter)
    status, _, err = evenly("export-adapter", folder, "--out", folder / f"exported.{ending}")
    assert (status, len(err.splitlines())) == (2, 1)
    assert words in err
    assert not (folder / f"exported.{ending}").exists()


def test_a_damaged_adapter_is_one_line(evenly, fitted, tmp_path):
    folder, _ = fitted("gda")
    (content,) = (folder / "objects").iterdir()
    content.write_bytes(b"cut")
    status, _, err = evenly("export-adapter", folder, "--out", tmp_path / "a.npz")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "must hold the arrays of adapter `adapter`; it does not. Fit it again." in err
