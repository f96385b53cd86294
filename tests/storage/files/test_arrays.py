import contextlib
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from evenly.storage.errors import InputError
from evenly.storage.files.array_keys import ARRAY_KEYS
from evenly.storage.files.arrays import read_arrays, write_arrays

SIZES = {
    "train rows": 6, "val rows": 4, "test rows": 5, "columns": 8, "auxiliary columns": 3, "views": 2, "classes": 3,
    "contexts": 2, "rejection texts": 2, "class texts": 7, "descriptor texts": 5, "pair texts": 4, "2": 2,
    "unlabelled rows": 9, "ood rows": 2, "near_ood rows": 3, "pair rows": 4, "3": 3,
}  # fmt: skip


def unit(*shape):
    rows = np.random.default_rng(len(shape) + sum(shape)).normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def example(key):
    rule = ARRAY_KEYS[key]
    shape = tuple(SIZES[axis] for axis in rule.axes)
    positions = np.arange(np.prod(shape)).reshape(shape)
    return {
        "unit rows": lambda: unit(*shape),
        "floats": lambda: -positions.astype(np.float32),
        "lengths": lambda: positions.astype(np.float32) + 1,
        "classes": lambda: positions.astype(np.int64) % SIZES["classes"],
        "names": lambda: np.array([f"name {number}" for number in positions]),
    }[rule.kind]()


REQUIRED = {key: example(key) for key in ("train_features", "train_labels", "prototypes")}


def saved(path, **arrays):
    np.savez(path, **{key: value for key, value in {**REQUIRED, **arrays}.items() if value is not None})
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "features.npz"


def test_every_known_array_comes_back_as_it_was_saved(path):
    everything = {key: example(key) for key in ARRAY_KEYS}
    read = read_arrays(saved(path, **everything))
    assert read.keys() == ARRAY_KEYS.keys()
    assert all(np.array_equal(read[key], array) and read[key].dtype == array.dtype for key, array in everything.items())


def test_numbers_are_converted_to_what_adapters_take(path):
    read = read_arrays(
        saved(
            path,
            train_features=np.asfortranarray(REQUIRED["train_features"].astype(">f8")),
            train_labels=REQUIRED["train_labels"].astype(np.uint8),
            prototypes=REQUIRED["prototypes"].astype(np.float16),
            train_groups=np.arange(6, dtype=np.int16),
        )
    )
    assert {key: array.dtype.str for key, array in read.items() if key != "train_groups"} == {
        "train_features": "<f4", "train_labels": "<i8", "prototypes": "<f4",
    }  # fmt: skip
    assert all(array.flags.c_contiguous for array in read.values())
    assert np.array_equal(read["train_features"], REQUIRED["train_features"])
    assert read["train_groups"].tolist() == ["0", "1", "2", "3", "4", "5"]


def test_ranking_needs_values_in_place_of_labels(path):
    values = np.linspace(0, 1, 6)
    np.savez(path, train_features=REQUIRED["train_features"], train_values=values)
    read = read_arrays(path, required=("train_features", "train_values"))
    assert np.array_equal(read["train_values"], values.astype(np.float32))
    with pytest.raises(InputError, match="`train_labels` must be there; got none among train_features, train_values"):
        read_arrays(path)


OBJECTS = np.array([{"a": 1}] * 6, dtype=object)
ONE_LONG = REQUIRED["train_features"] * np.array([1, 1, 2, 1, 1, 3], np.float32)[:, None]
WITH_NAN = np.where(np.arange(6)[:, None] == 4, np.nan, REQUIRED["train_features"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"test_feature": example("test_features")}, "keys must be of those known; got `test_feature`. Known: train_"),
        ({"prototypes": None}, "`prototypes` must be there; got none among train_features, train_labels"),
        ({"train_labels": OBJECTS}, "`train_labels` must hold plain values; got Python objects"),
        ({"train_groups": OBJECTS}, "`train_groups` must hold plain values; got Python objects"),
        ({"train_features": np.ones((6, 8), int)}, "`train_features` must hold floats .*; got int64"),
        ({"train_features": unit(6, 8) + 0j}, "`train_features` must hold floats .*; got complex64"),
        ({"train_labels": np.arange(6.0)}, "`train_labels` must hold whole numbers.*; got float64"),
        ({"train_labels": np.array(list("abcabc"))}, "`train_labels` must hold whole numbers.*; got <U1"),
        ({"train_labels": np.zeros(6, bool)}, "`train_labels` must hold whole numbers.*; got bool"),
        ({"train_labels": np.zeros(6, "i8,f8")}, "`train_labels` must hold whole numbers.*; got "),
        (
            {"train_features": unit(48)},
            r"`train_features` must have the axes \(train rows, columns\); got shape \(48,\)",
        ),
        (
            {"train_labels": np.zeros((6, 1), int)},
            r"`train_labels` must have the axes \(train rows\); got shape \(6, 1",
        ),
        (
            {"train_labels": np.zeros(5, int)},
            "`train_labels` must have 6 train rows, as many as `train_features`; got 5",
        ),
        ({"prototypes": unit(3, 9)}, "`prototypes` must have 8 columns, as many as `train_features`; got 9"),
        ({"train_views": unit(2, 5, 8)}, "`train_views` must have 6 train rows, as many as `train_features`; got 5"),
        ({"prototypes": unit(1, 8)[:0]}, r"`prototypes` must have at least 1 of classes; got shape \(0, 8\)"),
        ({"train_features": np.zeros((6, 0))}, "`train_features` must have at least 1 of columns"),
        ({"classes": np.array(["a", "b"])}, "`classes` must have 3 classes, as many as `prototypes`; got 2"),
        ({"val_labels": np.zeros(4, int)}, "`val_labels` must come with `val_features`; got none"),
        ({"class_texts": unit(7, 8)}, "`class_texts` must come with `class_text_labels`; got none"),
        (
            {"pair_texts": unit(4, 8), "pair_text_classes": np.zeros((4, 3), int)},
            "`pair_text_classes` must have 2 columns; got 3",
        ),
        (
            {"train_features": ONE_LONG},
            r"`train_features` must have rows of length 1; got 2 at \[2\] \(2 such\). Divide",
        ),
        ({"train_features": WITH_NAN}, r"`train_features` must be finite; got nan at \[4, 0\] \(8 such\)"),
        ({"train_features": np.full((6, 8), 1e300)}, r"`train_features` must be finite; got inf at \[0, 0\]"),
        ({"train_labels": np.array([0, 1, 2, 3, 0, 0])}, r"`train_labels` must lie in 0 to 2, .*; got 3 at \[3\]"),
        ({"train_labels": np.array([0, 1, -1, -1, 0, 0])}, r"`train_labels` must lie in 0 to 2, .*; got -1 at \[2\]"),
        ({"train_labels": np.full(6, 2**64 - 1, np.uint64)}, "`train_labels` must lie in 0 to 2"),
        ({"train_norms": np.zeros(6)}, r"`train_norms` must be above 0; got 0 at \[0\] \(6 such\)"),
        ({"train_values": np.full(6, np.inf)}, "`train_values` must be finite; got inf"),
    ],
)
def test_what_breaks_the_rules_is_named_with_value_rule_remedy_and_file(path, arrays, message):
    with pytest.raises(InputError, match=message) as caught:
        read_arrays(saved(path, **arrays))
    assert str(caught.value).endswith(f"File: `{path}`.")
    assert re.search(r"\. [A-Z][a-z]+ [^.]*(\.[a-z]+[^.]*)?\. File: ", str(caught.value))


def test_rows_rounded_to_half_precision_count_as_unit_rows(path):
    wide = unit(6, 512).astype(np.float16)
    assert read_arrays(saved(path, train_features=wide, prototypes=unit(3, 512)))["train_features"].dtype == np.float32


def test_rows_of_any_length_above_zero_are_read_on_request(path):
    read = read_arrays(saved(path, train_features=ONE_LONG), any_length=True)
    assert np.array_equal(read["train_features"], ONE_LONG)
    for wrong, message in (
        (ONE_LONG * 0, r"have rows longer than 0; got 0 at \[0\]"),
        (WITH_NAN, "be finite; got nan"),
    ):
        with pytest.raises(InputError, match=f"`train_features` must {message}"):
            read_arrays(saved(path, train_features=wrong), any_length=True)


def test_an_empty_part_is_no_error(path):
    read = read_arrays(saved(path, train_features=unit(6, 8)[:0], train_labels=np.zeros(0, int)))
    assert read["train_features"].shape == (0, 8)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all" * 9, b"\x93NUMPY"])
def test_what_is_no_archive_is_named(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"`arrays` must be a readable \.npz file; got .* at `.*features\.npz`"):
        read_arrays(path)


@pytest.mark.parametrize("name", ["absent.npz", "."])
def test_what_is_no_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"`arrays` must be an \.npz file; got"):
        read_arrays(tmp_path / name)


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for key, content in members.items():
            file.writestr(f"{key}.npy", content)
    return path


def member(header, content=b"", version=(1, 0)):
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 if version == (1, 0) else 4, "little") + text + content


def described(shape, dtype="<f4"):
    return str({"descr": dtype, "fortran_order": False, "shape": shape})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            member(described((10**9, 10**9))),
            "must hold the 4000000000000000000 bytes that its shape .* asks for; got 0",
        ),
        (member(described((-6, -8)), bytes(192)), "must hold the 192 bytes that its shape .* asks for; got 192"),
        (member(described((6, 8)), bytes(191)), "must hold the 192 bytes that its shape .* asks for; got 191"),
        (member(described((6, 8)), bytes(192), version=(2, 0)), "must be a plain array"),
        (member(described((6, 8), "|O"), b"cos\nsystem\n(S'false'\ntR."), "must hold plain values; got Python objects"),
        (member("(" * 9000), "must be a readable .npz file"),
        (member("{'descr': __import__('os')}"), "must be a readable .npz file"),
        (member("{"), "must be a readable .npz file"),
        (b"nothing", "must be a readable .npz file"),
    ],
)
@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
def test_a_header_that_lies_is_refused_before_anything_is_read(path, content, message):
    with pytest.raises(InputError, match=message):
        read_arrays(archive(path, train_features=content), required=())


def test_a_decompression_bomb_is_refused_by_its_declared_size(path):
    rows = 40_000_000
    head = member(described((rows,), "|u1"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("train_features.npy", member(described((rows, 1)), bytes(4 * rows)))
        file.writestr("train_labels.npy", head + bytes(rows))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(
        InputError, match=r"at most 1,000,000 bytes in memory; got 480,000,000, of which `train_labels`"
    ):
        read_arrays(path, required=(), limit_bytes=1_000_000)


def test_a_damaged_member_is_named(path):
    content = bytearray(saved(path).read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"must be a readable \.npz file; got `Bad CRC-32"):
        read_arrays(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_key_twice_is_refused(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train_features.npy", b"")
        file.writestr("train_features.npy", b"")
    with pytest.raises(InputError, match="keys must differ; got `train_features` twice"):
        read_arrays(path)


@settings(max_examples=50, deadline=None)
@given(place=st.integers(0, 2000), flips=st.binary(min_size=1, max_size=8))
def test_damage_anywhere_raises_an_input_error_or_nothing(tmp_path_factory, place, flips):
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    content = bytearray(saved(path).read_bytes())
    place %= len(content)
    content[place : place + len(flips)] = flips[: len(content) - place]
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_arrays(path)


NUMBERS = arrays_of.arrays(
    st.sampled_from(["<f4", ">f8", "<f2", "<i8", "|u1", "|b1", "<U3"]), arrays_of.array_shapes(min_dims=0, min_side=0)
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["weight", "bias", "logits", "été"]), NUMBERS))
def test_arrays_written_are_read_by_numpy_and_equal_arrays_give_equal_bytes(tmp_path_factory, arrays):
    first, second = (tmp_path_factory.mktemp("written") / name for name in ("a.npz", "b.npz"))
    write_arrays(first, arrays)
    write_arrays(second, {name: np.array(arrays[name], order="F") for name in reversed(arrays)})
    assert first.read_bytes() == second.read_bytes()
    with np.load(first, allow_pickle=False) as read:
        assert sorted(read.files) == sorted(arrays)
        for name, array in arrays.items():
            assert read[name].shape == array.shape
            assert np.array_equal(read[name], array, equal_nan=array.dtype.kind == "f")


def test_what_is_written_by_hand_is_read(path):
    write_arrays(path, REQUIRED)
    assert all(np.array_equal(array, REQUIRED[key]) for key, array in read_arrays(path).items())


@pytest.mark.parametrize("name", ["../weight", "", "a b", "1"])
def test_names_that_are_no_identifiers_are_not_written(path, name):
    with pytest.raises(InputError, match="names of arrays must be identifiers"):
        write_arrays(path, {name: np.zeros(1)})


@pytest.mark.parametrize("array", [OBJECTS, np.zeros(3, "M8[s]"), np.zeros(3, "i8,f8"), np.zeros(3, complex)])
def test_what_is_neither_number_nor_text_is_not_written(path, array):
    with pytest.raises(InputError, match="`weight` must hold numbers or text; got"):
        write_arrays(path, {"weight": array})
    assert not path.exists()


def test_a_write_that_fails_leaves_what_was_there(path, monkeypatch):
    write_arrays(path, {"weight": np.zeros(2)})
    before = path.read_bytes()

    def full(*_arguments: object, **_options: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space left"):
        write_arrays(path, {"weight": np.ones(2)})
    assert path.read_bytes() == before
    assert [item.name for item in Path(path.parent).iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1 has no such type")
@pytest.mark.filterwarnings("ignore:Custom dtypes are saved as python objects")
def test_text_that_numpy_saves_as_objects_is_refused_by_name(path):
    names = np.array(["a", "b", "longer name"], dtype=np.dtypes.StringDType())
    with pytest.raises(
        InputError, match=r"`classes` must hold plain values; got Python objects\. Save .*astype\(str\)"
    ):
        read_arrays(saved(path, classes=names))
