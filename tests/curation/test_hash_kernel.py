"""The compiled hash, as Python runs it: messages of as many blocks side by side, and long ones alone."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from evenly.curation import hash_kernel
from tests.curation.interpreted import interpreted

PLAIN = interpreted("evenly.curation.hash_kernel")


SIZES = [[], [0], [96, 97, 3], [300, 1, 128, 129], [7] * 33 + [200] + [7] * 33, [4096, 9000, 8, 4096] + [150] * 40]


@pytest.mark.parametrize("sizes", SIZES, ids=len)
def test_the_compiled_hash_is_that_of_python_and_of_hashlib(sizes):
    uids, entries, prefix = ["é" * size for size in sizes], ["dog", "", "犬" * 50], b"prefix"
    numbers = np.array([row % 3 for row in range(len(sizes))], np.int64)
    arrays = [(pa.array(uids, pa.string()), np.arange(len(sizes))), (pa.array(entries), numbers)]
    expected = [defined(prefix, uid, entries[n]) for uid, n in zip(uids, numbers, strict=True)]
    for module in (hash_kernel, PLAIN):
        start = module.starting_state(digest_size=16, person=b"p")
        with np.errstate(over="ignore"):  # words wrap around
            hashes = module.hashes_of(start, prefix, *(module.texts_of(*part) for part in arrays), words=2)
        assert [row.astype("<u8").tobytes() for row in hashes] == expected


def defined(prefix, uid, entry):
    fields = [text.encode() for text in (uid, entry)]
    message = prefix + b"".join(len(field).to_bytes(8, "little") + field for field in fields)
    return hashlib.blake2b(message, digest_size=16, person=b"p").digest()
