"""Random choices as a pure function of (seed, step, uid, entry): no generator crosses a row.

A draw does not depend on shard order, on the number of workers, on retries or on the point of resume.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from curation.errors import ColumnsError

_UNIT = 2.0**-53


def draw(*, seed: int, step: str, uid: str, entry: str) -> float:
    """Return a number in [0, 1): 53 bits of blake2b over the four length-prefixed fields."""
    state = _state(seed, step)
    state.update(_field(uid))
    state.update(_field(entry))
    return (int.from_bytes(state.digest(), "little") >> 11) * _UNIT


def draws(*, seed: int, step: str, uids: Sequence[str], entries: Sequence[str]) -> np.ndarray:
    """Return the draws (n,) float64 of row i's uid and entry, equal to `draw` of each; equal uids may repeat."""
    if len(uids) != len(entries):
        message = f"`uids` and `entries` must be equally long; got {len(uids)} and {len(entries)}. Pass one per row."
        raise ColumnsError(message)
    start = _state(seed, step)
    numbers = np.empty(len(uids), dtype=np.float64)
    last_uid, of_uid = None, start
    for row, (uid, entry) in enumerate(zip(uids, entries, strict=True)):
        if uid != last_uid:
            of_uid = start.copy()
            of_uid.update(_field(uid))
            last_uid = uid
        state = of_uid.copy()
        state.update(_field(entry))
        numbers[row] = (int.from_bytes(state.digest(), "little") >> 11) * _UNIT
    return numbers


def _state(seed: int, step: str) -> hashlib.blake2b:
    state = hashlib.blake2b(digest_size=8, person=b"evenly draw")
    state.update(_field(str(seed)))
    state.update(_field(step))
    return state


def _field(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return len(encoded).to_bytes(8, "little") + encoded
