"""`evenly encode` and `evenly encoders`, with a small random encoder made here."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.encoding import encode_items
from tests.tiny_encoders import ENCODERS

MODEL = "tiny-for-commands"


@pytest.fixture
def encode(evenly, tiny_weights, tmp_path):
    """Encode into `tmp_path / "a.npz"`: (exit status, facts or None, stderr)."""

    def run(*arguments):
        model = ["--model", MODEL, "--pretrained", tiny_weights, "--batch-size", "4"]
        status, out, err = evenly(
            "encode", *arguments, *model, "--out", tmp_path / "a.npz", "--root", tmp_path / "w", "--json"
        )
        return status, json.loads(out) if status == 0 else None, err

    return run


def test_rows_of_pictures_and_texts_stand_under_their_names_and_have_unit_length(encode, digit_pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"<html>")
    one = next(digit_pictures.rglob("*.png"))
    (tmp_path / "texts.txt").write_bytes("a zero\r\n\u2028 in a line\n".encode())
    status, found, err = encode(one, digit_pictures, broken, "--texts", tmp_path / "texts.txt")
    assert status == 0, err
    assert (found["pictures"], found["texts"]) == (121, 2)
    assert found["device"].startswith("cpu ")
    assert list(found["failed"]) == [str(broken)]
    arrays = np.load(tmp_path / "a.npz")
    assert arrays["texts"].tolist() == ["a zero", "\u2028 in a line"]
    assert arrays["encoder"].tolist() == [MODEL, arrays["encoder"][1], found["encoder"]]
    again = arrays["paths"].tolist().index(f"{digit_pictures}/{one.relative_to(digit_pictures).as_posix()}")
    assert arrays["paths"][0] == str(one)
    assert np.array_equal(arrays["image_features"][0], arrays["image_features"][again])
    for name in ("image_features", "text_features"):
        assert np.allclose(np.linalg.norm(arrays[name], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\n\nb\n", "got none in line 2 of"), (b"", "got no line of"), (b"\xff\xfe", "must be a file in UTF-8")],
)
def test_a_file_of_texts_that_says_less_than_its_lines_is_refused(encode, tmp_path, content, message):
    (tmp_path / "texts.txt").write_bytes(content)
    status, _, err = encode("--texts", tmp_path / "texts.txt")
    assert status == 2
    assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "`encode` must get pictures, `--texts FILE` or both"),
        (["nothing.png"], "`images` must be a folder, a picture or a Parquet file; got `nothing.png`"),
        (["--device", "cuda:99"], "`device` must be one that is here"),
        (["--precision", "int8"], "`--precision`: Input should be 'fp32', 'bf16' or 'fp16'; got `int8`"),
        (["--engine", "onnx"], "`--engine`: Input should be 'torch' or 'onnxruntime'; got `onnx`"),
        (
            ["--engine", "onnxruntime", "--precision", "bf16"],
            "`engine: onnxruntime` must have `precision: fp32`; got `bf16`. Write `engine: torch`.",
        ),
    ],
)
def test_what_cannot_be_encoded_is_named_before_anything_is_loaded(encode, tmp_path, options, message):
    texts = [] if len(options) != 2 else ["--texts", tmp_path / "texts.txt"]
    (tmp_path / "texts.txt").write_text("a cat\n")
    status, _, err = encode(*options, *texts)
    assert status == 2
    assert message in err


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_kind_of_encoder_encodes_files(evenly, kind, digit_pictures, tmp_path):
    folder = ENCODERS[kind](tmp_path / kind)
    (tmp_path / "texts.txt").write_text("a fox\ntwo cat on a red sofa\n")
    pictures = sorted(digit_pictures.rglob("*.png"))[:5]
    options = ("--texts", tmp_path / "texts.txt", "--model", f"local-dir:{folder}", "--root", tmp_path / "w")
    status, out, err = evenly("encode", *pictures, *options, "--out", tmp_path / "a.npz", "--json")
    assert status == 0, err
    arrays = np.load(tmp_path / "a.npz")
    assert (len(arrays["image_features"]), len(arrays["text_features"]), json.loads(out)["cut"]) == (5, 2, 0)
    assert arrays["image_features"].shape[1] == arrays["text_features"].shape[1]


def test_another_precision_is_another_encoder(encode, digit_pictures, tmp_path):
    _, full, _ = encode(digit_pictures)
    rows = np.load(tmp_path / "a.npz")["image_features"]
    _, half, _ = encode(digit_pictures, "--precision", "bf16")
    assert half["encoder"] != full["encoder"]
    cosines = (np.load(tmp_path / "a.npz")["image_features"] * rows).sum(axis=1)
    assert 0.99 < cosines.min() < cosines.max() <= 1.0001


def test_another_engine_is_another_encoder_with_rows_that_are_near(encode, digit_pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    _, plain, _ = encode(digit_pictures)
    rows = np.load(tmp_path / "a.npz")["image_features"]
    status, other, err = encode(digit_pictures, "--engine", "onnxruntime")
    assert status == 0, err
    assert other["encoder"] != plain["encoder"]
    assert (np.load(tmp_path / "a.npz")["image_features"] * rows).sum(axis=1).min() > 0.9999


def test_long_texts_are_encoded_in_chunks_where_asked(encode, tmp_path):
    (tmp_path / "texts.txt").write_text("a cat\n" + "a long text. " * 40 + "\n")
    _, cut, _ = encode("--texts", tmp_path / "texts.txt")
    rows = np.load(tmp_path / "a.npz")["text_features"]
    status, whole, err = encode("--texts", tmp_path / "texts.txt", "--long-texts", "chunks")
    assert status == 0, err
    assert (cut["cut"], whole["cut"]) == (1, 0)
    assert cut["encoder"] != whole["encoder"]
    other = np.load(tmp_path / "a.npz")["text_features"]
    assert np.array_equal(rows[0], other[0])
    assert not np.allclose(rows[1], other[1])
    status, _, err = encode("--texts", tmp_path / "texts.txt", "--long-texts", "all")
    assert (status, "`--long-texts`: Input should be 'cut', 'chunks' or 'stretched'; got `all`" in err) == (2, True)


def test_python_encodes_texts_as_the_command_does(encode, tiny_weights, tmp_path):
    texts = ["a cat", "a long text. " * 40]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    encode("--texts", tmp_path / "texts.txt", "--long-texts", "chunks")
    rows = encode_items(texts, model=MODEL, pretrained=str(tiny_weights), long_texts="chunks")
    np.testing.assert_allclose(rows, np.load(tmp_path / "a.npz")["text_features"], atol=1e-3)


def test_views_and_boxes_have_rows_of_their_own(encode, digit_pictures, tmp_path):
    contents = [path.read_bytes() for path in sorted(digit_pictures.rglob("*.png"))[:3]]
    boxes = [[[0.0, 0.0, 8.0, 8.0], [900.0, 0.0, 901.0, 1.0]], None, [[4.0, 4.0, 2.0, 8.0]]]
    table = {"name": ["a", "b", "c"], "image": [contents[0], b"no picture", contents[2]], "boxes": boxes}
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    status, facts, err = encode(tmp_path / "p.parquet", "--views", 2, "--flip", "--boxes", "boxes")
    assert status == 0, err
    assert (facts["pictures"], facts["views"]) == (2, 5)
    a, b, c = (f"{tmp_path}/p.parquet/{name}" for name in "abc")
    assert list(facts["failed"]) == [b, f"{a} view 3", f"{c} view 2"]
    assert "`box 900 0 901 1` must lie on its picture" in facts["failed"][f"{a} view 3"]
    arrays = np.load(tmp_path / "a.npz")
    assert arrays["view_paths"].tolist() == [a, a, a, c, c]
    assert arrays["views"].tolist() == ["crop 0 flip", "crop 1 flip", "box 0 0 8 8", "crop 0 flip", "crop 1 flip"]
    assert arrays["view_features"].shape == (5, 24)
    assert np.allclose(np.linalg.norm(arrays["view_features"], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--flip"], "`--views` and `--flip` must go with pictures; got none"),
        (["pictures", "--boxes", "boxes"], "`--boxes` must go with Parquet files"),
        (["p.parquet", "--boxes", "name"], "must be a column of lists of boxes"),
        (["p.parquet", "--boxes", "gone"], "got `gone` (not there)"),
    ],
)
def test_views_that_cannot_be_are_refused(encode, digit_pictures, tmp_path, arguments, message):
    pq.write_table(pa.table({"name": ["a"], "image": [b"x"]}), tmp_path / "p.parquet")
    (tmp_path / "t.txt").write_text("a")
    given = [{"pictures": digit_pictures, "p.parquet": tmp_path / "p.parquet"}.get(one, one) for one in arguments]
    status, _, err = encode(*given, "--texts", tmp_path / "t.txt")
    assert status == 2
    assert message in err


def test_tuning_measures_each_batch_and_the_list_shows_what_was_measured(evenly, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    options = ("--pretrained", tiny_weights, "--batch-sizes", "4,2", "--rounds", "1", "--threads", "2")
    status, out, err = evenly("encoders", "tune", MODEL, *options, "--json")
    assert status == 0, err
    tuned = json.loads(out)
    tried = [(row["engine"], row["batch_size"]) for row in tuned["speeds"]]
    assert tried == [("torch", 2), ("torch", 4), ("onnxruntime", 2), ("onnxruntime", 4)]
    assert (tuned["engine"], tuned["batch_size"]) in tried
    assert not list((tmp_path / "cache").rglob("*.onnx"))
    assert all(row[name] > 0 for row in tuned["speeds"] for name in ("preparing", "computing", "encoding"))
    assert (tuned["threads"], tuned["device"]) == (2, "cpu")
    status, out, err = evenly("encoders", "--json")
    listed = {row["model"]: row for row in json.loads(out)["encoders"]}
    assert listed["embedded"]["dimension"] == 1280
    assert listed["embedded"]["measured"] is None


def test_a_batch_that_does_not_fit_ends_the_search_and_is_named(evenly, tiny_weights, tmp_path, monkeypatch):
    from evenly.features.errors import DeviceError
    from evenly.tasks import encoder_speed

    monkeypatch.setenv("EVENLY_CACHE", str(tmp_path / "cache"))
    measure = encoder_speed.measure_speed

    def bounded(encoder, pictures, *, rounds):
        if encoder.images.batch_size > 2:
            raise DeviceError("`batch_size` must fit the memory of `cuda`; 4 do not.")
        return measure(encoder, pictures, rounds=rounds)

    monkeypatch.setattr(encoder_speed, "measure_speed", bounded)
    tune = ("encoders", "tune", MODEL, "--pretrained", tiny_weights, "--rounds", "1", "--json")
    _, out, _ = evenly(*tune, "--batch-sizes", "2,4,8")
    assert (json.loads(out)["batch_size"], json.loads(out)["too_large"]) == (2, [4, 8])
    status, _, err = evenly(*tune, "--batch-sizes", "4")
    assert status == 2
    assert "must fit the memory" in err
