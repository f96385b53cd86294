import json

import numpy as np
import pytest

from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.files.adapters import read_adapter, write_adapter

ARRAYS = {
    "weight_": np.arange(6, dtype=np.float32).reshape(2, 3),
    "rows_": np.empty(0, np.int64),
    "one_": np.array(1.5),
}
CARD = {
    "adapter": "gda",
    "parameters": {"alpha": 1.0},
    "learned": {"encoder_": "ü"},
    "arrays": {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in ARRAYS.items()},
}


@pytest.fixture
def folder(tmp_path):
    write_adapter(tmp_path / "new" / "folder", "gda-names", CARD, ARRAYS)
    return tmp_path / "new" / "folder"


def test_what_is_read_is_what_was_written(folder):
    card, arrays = read_adapter(folder, "gda-names")
    assert {key: card[key] for key in CARD} == CARD
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)


def test_equal_adapters_give_equal_bytes_and_leave_nothing_else(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_adapter(folder, "gda-names", CARD, ARRAYS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert set(before) == {"gda-names.json", "gda-names.safetensors"}


def test_a_card_without_the_hash_is_read_as_those_of_earlier_versions(folder):
    (folder / "gda-names.json").write_text(json.dumps(CARD))
    assert read_adapter(folder, "gda-names")[0] == CARD


def test_an_adapter_that_is_not_there_lists_those_that_are(folder):
    with pytest.raises(NotFoundError, match=r"adapter `tip` must be in .*There: gda-names"):
        read_adapter(folder, "tip")


def test_arrays_of_another_fit_are_refused(folder):
    """A fit that was cut short between its two files must not be mistaken for a whole one."""
    kept = (folder / "gda-names.json").read_bytes()
    write_adapter(folder, "gda-names", CARD, ARRAYS | {"weight_": ARRAYS["weight_"] + 1})
    (folder / "gda-names.json").write_bytes(kept)
    with pytest.raises(DamagedError, match="must hold the arrays of the card beside it"):
        read_adapter(folder, "gda-names")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gda-names.safetensors", b"", "must be safetensors"),
        ("gda-names.safetensors", b"\xff" * 100, "must be safetensors"),
        ("gda-names.json", b"{", "must be JSON"),
        ("gda-names.json", b"[]", "must be a JSON object"),
        ("gda-names.json", b"{}", "got no `adapter`"),
        ("gda-names.json", json.dumps(CARD | {"arrays": []}).encode(), "got no `arrays`"),
        ("gda-names.json", json.dumps(CARD | {"arrays": {}}).encode(), "must hold the arrays of the card"),
    ],
)
def test_broken_files_are_named(folder, name, content, words):
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedError, match=words) as error:
        read_adapter(folder, "gda-names")
    assert str(folder) in str(error.value)
