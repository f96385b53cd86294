"""The compiled hash, as Python runs it: messages of one block side by side, and longer ones between them."""

import hashlib

import numpy as np
import pytest

from evenly.curation import draw_kernel
from tests.curation.interpreted import interpreted

PLAIN = interpreted("evenly.curation.draw_kernel")


def texts_of(module, texts, rows):
    data = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, data)]).astype(np.uint64)
    return module.Texts(ends, np.frombuffer(b"".join(data), np.uint8), np.array(rows, np.uint64))


@pytest.mark.parametrize("sizes", [[], [0], [96, 97, 3], [300, 1, 128, 129], [7] * 33 + [200] + [7] * 33], ids=len)
def test_the_compiled_hash_is_that_of_python_and_of_hashlib(sizes):
    uids, entries, prefix = ["é" * size for size in sizes], ["dog", "", "犬" * 50], b"prefix"
    numbers = [row % 3 for row in range(len(sizes))]
    results = []
    for module in (draw_kernel, PLAIN):
        start, drawn = module.starting_state(digest_size=8, person=b"p"), np.zeros(len(sizes))
        fields = texts_of(module, uids, range(len(sizes))), texts_of(module, entries, numbers)
        with np.errstate(over="ignore"):  # words wrap around
            module.draw_matches(start, np.frombuffer(prefix, np.uint8), *fields, drawn)
        results.append(drawn.tolist())
    assert results[0] == results[1] == [defined(prefix, uid, entries[n]) for uid, n in zip(uids, numbers, strict=True)]


def defined(prefix, uid, entry):
    fields = [text.encode() for text in (uid, entry)]
    message = prefix + b"".join(len(field).to_bytes(8, "little") + field for field in fields)
    digest = hashlib.blake2b(message, digest_size=8, person=b"p").digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53
