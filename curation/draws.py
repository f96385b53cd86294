"""Random choices as a pure function of (seed, step, uid, entry), and the interval of a share of rows drawn so.

No generator crosses a row: a draw does not depend on shard order, on the number of workers, on retries or on the point
of resume.
"""

import hashlib
import math
import sys
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints, Words, is_compiled_for
from evenly.curation.errors import ColumnsError, RuleError

KERNEL_FROM = 500_000
"""Draws from which the compiled kernel is faster, loading numba included."""
LOADED_FROM = 30_000
"""The same where numba is loaded."""
OPEN_FROM = 1_000
"""The same where the kernel is loaded too."""
Z95 = 1.959963984540054
"""The quantile of the normal distribution that leaves 2.5 % at either end."""
_KERNEL = "evenly.curation.hash_kernel"
_UNIT = 2.0**-53
_DIGEST_SIZE = 8
_PERSON = b"evenly draw"


def draw(*, seed: int, step: str, uid: str, entry: str) -> float:
    """Return a number in [0, 1): 53 bits of blake2b over the four length-prefixed fields."""
    state = _state(seed, step)
    state.update(_field(uid))
    state.update(_field(entry))
    return (int.from_bytes(state.digest(), "little") >> 11) * _UNIT


def draws(*, seed: int, step: str, uids: Sequence[str], entries: Sequence[str]) -> Floats:
    """Return the draws (n,) float64 of row i's uid and entry, equal to `draw` of each; equal uids may repeat."""
    if len(uids) != len(entries):
        message = f"`uids` and `entries` must be equally long; got {len(uids)} and {len(entries)}. Pass one per row."
        raise ColumnsError(message)
    rows = np.arange(len(uids))
    texts = [pa.array(values, pa.large_string()) for values in (uids, entries)]
    return draws_at(seed=seed, step=step, uids=texts[0], rows=rows, entries=texts[1], numbers=rows)


def draws_at(*, seed: int, step: str, uids: pa.Array, rows: Ints, entries: pa.Array, numbers: Ints) -> Floats:
    """Return the draws (m,) float64 of uid rows[i] and entry numbers[i], equal to `draw` of each.

    `uids` and `entries` are Arrow strings without nulls; with equal uids side by side it is faster.
    """
    for name, texts, places in (("uids", uids, rows), ("entries", entries, numbers)):
        if texts.null_count:
            raise ColumnsError(f"`{name}` must hold no nulls; got {texts.null_count}. Draw for named rows only.")
        if len(places) and not 0 <= places.min() <= places.max() < len(texts):
            raise ColumnsError(f"`{name}` must hold each row asked for; it has {len(texts)}. Ask for rows it has.")
    if not is_for_kernel(len(rows), KERNEL_FROM):
        return _hashed(seed, step, uids.take(pa.array(rows)).to_pylist(), entries.take(pa.array(numbers)).to_pylist())
    return _compiled(_field(str(seed)) + _field(step), (uids, rows), (entries, numbers))


def is_for_kernel(n: int, least: int) -> bool:
    """Whether `n` hashes are made by the compiled kernel: fewer than `least` are there sooner than numba is loaded."""
    return is_compiled_for(n, least, loaded=OPEN_FROM if _KERNEL in sys.modules else LOADED_FROM)


def _hashed(seed: int, step: str, uids: Sequence[str], entries: Sequence[str]) -> Floats:
    start = _state(seed, step)
    digests, fields = bytearray(), {entry: _field(entry) for entry in set(entries)}
    last_uid, of_uid = None, start
    for uid, entry in zip(uids, entries, strict=True):
        if uid != last_uid:
            of_uid = start.copy()
            of_uid.update(_field(uid))
            last_uid = uid
        state = of_uid.copy()
        state.update(fields[entry])
        digests += state.digest()
    return _numbers(np.frombuffer(digests, "<u8"))


def _compiled(prefix: bytes, uids: tuple[pa.Array, Ints], entries: tuple[pa.Array, Ints]) -> Floats:
    from evenly.curation.hash_kernel import hashes_of, starting_state, texts_of

    start = starting_state(digest_size=_DIGEST_SIZE, person=_PERSON)
    hashes = hashes_of(start, prefix, texts_of(*uids), texts_of(*entries), words=1)
    return _numbers(hashes[:, 0])


def _numbers(hashes: Words) -> Floats:
    """Return the numbers in [0, 1) that hashes (n,) stand for."""
    return (hashes >> np.uint64(11)).astype(np.float64) * _UNIT


def _state(seed: int, step: str) -> hashlib.blake2b:
    state = hashlib.blake2b(digest_size=_DIGEST_SIZE, person=_PERSON)
    state.update(_field(str(seed)))
    state.update(_field(step))
    return state


def _field(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return len(encoded).to_bytes(8, "little") + encoded


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (0 to 1) seen in `n` trials (above 0), within 0 and 1.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. `n` need not be whole, as
    scipy's has to be: an effective number of trials is not.
    """
    if not (0 <= share <= 1 and n > 0):
        raise RuleError(f"`share` must be 0 to 1 and `n` above 0; got {share} and {n}. Judge a caption or more.")
    centre = share + Z95 * Z95 / (2 * n)
    spread = Z95 * math.sqrt(share * (1 - share) / n + Z95 * Z95 / (4 * n * n))
    low, high = ((centre + side * spread) / (1 + Z95 * Z95 / n) for side in (-1, 1))
    return (0.0 if share == 0 else max(low, 0.0)), (1.0 if share == 1 else min(high, 1.0))
