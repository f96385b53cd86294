"""onnxruntime in place of torch for the picture tower: torch's rows but for rounding, kept, checked and refused."""

import sys

import numpy as np
import pytest
import torch

from evenly.features.encoder import load_encoder
from evenly.features.encoders import engines
from evenly.features.errors import TowerEngineError
from tests.tiny_encoders import ENCODERS, write_clip


def load(folder, cache, **options):
    return load_encoder(f"local-dir:{folder}", cache=cache, **({"threads": 2, "batch_size": 4} | options))


def by_onnxruntime(folder, cache, **options):
    return load(folder, cache, **options).with_engine(engines.TowerEngine(name="onnxruntime", cache=cache))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def encoder(clip, cache):
    return by_onnxruntime(clip, cache)


def smallest_cosine(rows, others):
    rows, others = rows.astype(np.float64), others.astype(np.float64)
    return ((rows * others).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(others, axis=1)).min()


@pytest.mark.parametrize("kind", ENCODERS)
def test_rows_of_each_kind_of_encoder_are_torchs_but_for_rounding(kind, drawings, tmp_path):
    folder = ENCODERS[kind](tmp_path / kind)
    plain, other = load(folder, tmp_path), by_onnxruntime(folder, tmp_path)
    assert smallest_cosine(plain.encode_images(drawings[:6]), other.encode_images(drawings[:6])) > 1 - 1e-6
    texts = ["a cat", "two dogs on a red sofa"]
    assert plain.encode_texts(texts).tobytes() == other.encode_texts(texts).tobytes()


@pytest.mark.parametrize("sizes", [(37,), (4, 33), (1, 2, 34), (20, 17)])
def test_the_grouping_of_a_list_changes_no_bit(encoder, drawings, sizes):
    ends = np.cumsum(sizes)
    parts = [drawings[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    whole = encoder.encode_images(drawings)
    assert np.concatenate([encoder.encode_images(part) for part in parts]).tobytes() == whole.tobytes()
    assert encoder.encode_images(drawings[::-1])[::-1].tobytes() == whole.tobytes()


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 3}, {"device": "cpu:0"}])
def test_threads_and_handed_batches_change_no_bit_and_not_the_identity(encoder, clip, cache, drawings, options):
    other = by_onnxruntime(clip, cache, **options)
    assert other.identity == encoder.identity
    assert other.encode_images(drawings).tobytes() == encoder.encode_images(drawings).tobytes()


def test_the_identity_names_the_engine_and_its_version_and_nothing_of_torch(encoder, clip, cache, monkeypatch):
    plain = load(clip, cache)
    assert "engine" not in plain.facts
    (name,), (number,) = encoder.facts["engine"], encoder.facts["engine"].values()
    assert (name, number.count(".")) == ("onnxruntime", 1)
    assert {**plain.facts, "engine": encoder.facts["engine"]} == encoder.facts
    monkeypatch.setattr("onnxruntime.__version__", "99.1.2")
    assert by_onnxruntime(clip, cache).facts["engine"] == {"onnxruntime": "99.1"}
    assert load(clip, cache).identity == plain.identity


def test_a_tower_is_exported_once_and_anew_where_its_file_is_damaged(clip, tmp_path, drawings, monkeypatch):
    rows = by_onnxruntime(clip, tmp_path).encode_images(drawings)
    (file,) = tmp_path.glob("onnx-*/tower.onnx")
    content, export = file.read_bytes(), engines._export_onnx
    monkeypatch.setattr(engines, "_export_onnx", lambda *_: pytest.fail("exported again"))
    assert by_onnxruntime(clip, tmp_path).encode_images(drawings).tobytes() == rows.tobytes()
    monkeypatch.setattr(engines, "_export_onnx", export)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (bytes(flipped), content[:-10]):
        file.write_bytes(damaged)
        assert by_onnxruntime(clip, tmp_path).encode_images(drawings).tobytes() == rows.tobytes()
        assert file.read_bytes() == content


def test_other_weights_batches_and_refinements_have_a_file_of_their_own(clip, tmp_path):
    encoder = by_onnxruntime(clip, tmp_path)
    encoder.with_long_texts("chunks")
    assert len(list(tmp_path.glob("onnx-*/tower.onnx"))) == 1
    encoder.with_opened(encoder.opened, 5)
    by_onnxruntime(write_clip(tmp_path / "other", seed=1), tmp_path)
    assert len(list(tmp_path.glob("onnx-*/tower.onnx"))) == 3


def test_a_tower_whose_rows_are_others_is_refused_and_not_kept(clip, tmp_path, monkeypatch):
    export = engines._export_onnx

    def halved(tower, visual, path):
        weight = next(visual.parameters())
        kept = weight.detach().clone()
        with torch.no_grad():
            weight[: len(weight) // 2] = 0
        export(tower, visual, path)
        with torch.no_grad():
            weight.copy_(kept)

    monkeypatch.setattr(engines, "_export_onnx", halved)
    with pytest.raises(
        TowerEngineError,
        match=r"must give torch's rows, to a cosine of 0\.9999; got 0\.\d+ for the .* Write `engine: torch`",
    ):
        by_onnxruntime(clip, tmp_path)
    assert not list(tmp_path.glob("onnx-*/*"))


def test_a_tower_that_cannot_be_exported_is_refused(clip, tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise torch.onnx.errors.UnsupportedOperatorError("aten::new", 18, None)

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(
        TowerEngineError, match=r"must be able to run the model; got: .*aten::new.* Write `engine: torch`"
    ):
        by_onnxruntime(clip, tmp_path)
    monkeypatch.setattr(engines, "_LARGEST_BYTES", 1000)
    with pytest.raises(TowerEngineError, match=r"must have a picture tower of up to 0\.0 GB"):
        by_onnxruntime(clip, tmp_path)


def test_another_precision_and_another_device_are_refused(clip, cache):
    with pytest.raises(TowerEngineError, match="`precision: fp32`; got `bf16`"):
        by_onnxruntime(clip, cache, precision="bf16")
    with pytest.raises(TowerEngineError, match=r"must have `device: cpu`; got `cuda:1`\. Write `engine: torch`"):
        engines.check_onnx_fits(precision="fp32", device="cuda:1")


def test_without_its_packages_it_is_refused_with_what_installs_them(clip, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        TowerEngineError, match=r"onnx and onnxruntime installed; onnx is not\. Run `.*pip install .*onnx"
    ):
        by_onnxruntime(clip, cache)


@pytest.mark.embedded
@pytest.mark.slow
def test_the_embedded_model_has_torchs_rows_whatever_they_are_encoded_with(embedded, embedded_cache, drawings):
    other = embedded.with_engine(engines.TowerEngine(name="onnxruntime", cache=embedded_cache))
    rows = other.encode_images(drawings)
    assert smallest_cosine(embedded.encode_images(drawings), rows) > 1 - 1e-9
    parts = [other.encode_images(drawings[:3]), other.encode_images(drawings[3:])]
    assert np.concatenate(parts).tobytes() == rows.tobytes()
