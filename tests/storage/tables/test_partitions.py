"""The first bits of keys, which cut tables."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.storage.errors import StorageError
from evenly.storage.tables.partitions import first_words, partition_of

DIGITS = "0123456789abcdef"
EQUALLY_LONG = st.integers(8, 40).flatmap(lambda size: st.lists(st.text(DIGITS, min_size=size, max_size=size)))


@given(keys=EQUALLY_LONG | st.lists(st.text(DIGITS, min_size=8, max_size=12)), start=st.integers(0, 3))
def test_the_first_word_of_a_key_is_what_its_first_eight_digits_say(keys, start):
    table = pa.table({"uid": pa.array([*keys], pa.string())}).slice(start)
    words = first_words(table, "uid")
    assert words.tolist() == [int(key[:8], 16) for key in keys[start:]]
    assert (words >> 27).tolist() == [partition_of(key, 5) for key in keys[start:]]


@pytest.mark.parametrize("keys", [["0" * 32, "0" * 7 + "g" + "0" * 24], ["0" * 7], ["0" * 8, ""], ["0" * 7] * 2])
def test_keys_that_are_not_in_hex_are_refused(keys):
    with pytest.raises(StorageError, match=f"must begin with 8 hex digits; got `{keys[-1]}`"):
        first_words(pa.table({"uid": keys}), "uid")
