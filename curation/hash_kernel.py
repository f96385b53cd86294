"""Compiled blake2b (RFC 7693) of many short messages, for draws and uids. Import it late: it loads numba.

`LANES` messages of equally many blocks are hashed at once, word k of all beside each other, so that the compiler can
use vector registers; one of more than `_MANY` blocks, of 128 bytes each, is hashed alone.
For that, loops over lanes have a constant length, so that rows of words cannot overlap, and indices are unsigned: a
signed one would be tested for counting from the end.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Ints, compiled, text_buffers

_Four = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
LANES = 32
BLOCK = 128
WORDS = 16
_LANES, _BLOCK, _WORDS, _HALF, _LENGTH = (np.uint64(number) for number in (LANES, BLOCK, WORDS, 8, 8))
_AT = tuple(np.uint64(LANES * word) for word in range(WORDS))
_BY = tuple(np.uint64(bits) for bits in (32, 24, 16, 63))
_BACK = tuple(np.uint64(64 - bits) for bits in (32, 24, 16, 63))
_ZERO, _ONE, _BYTE = np.uint64(0), np.uint64(1), np.uint64(255)
_ALL = np.uint64(2**64 - 1)
_MANY = np.uint64(64)
_START = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)  # fmt: skip
_ORDERS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_SCHEDULE = np.array([*_ORDERS, *_ORDERS[:2]], dtype=np.uint64) * _LANES


def starting_state(*, digest_size: int, person: bytes) -> np.ndarray:
    """Return the eight words that blake2b without a key starts from."""
    state = _START.copy()
    state[0] ^= np.uint64(0x01010000 ^ digest_size)
    state[6:] ^= np.frombuffer(person.ljust(16, b"\0"), dtype="<u8")
    return state


class Texts(NamedTuple):
    """n texts, and which of them is asked for in each of m rows: text k is data[ends[k]:ends[k + 1]].

    ends (n + 1,) uint64; data, UTF-8 bytes; rows (m,) uint64.
    """

    ends: np.ndarray
    data: np.ndarray
    rows: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """The bytes of the text of each row (m,)."""
        sizes: np.ndarray = np.diff(self.ends)[self.rows]
        return sizes


def texts_of(texts: pa.Array, rows: Ints) -> Texts:
    """Arrow strings without nulls, of which row i asks for texts[rows[i]]."""
    buffers = text_buffers(texts)
    return Texts(buffers.offsets.view(np.uint64), buffers.data, rows.astype(np.uint64))


def hashes_of(start: np.ndarray, prefix: bytes, first: Texts, second: Texts, *, words: int) -> np.ndarray:
    """Return the first words of each row's hash (m, words) uint64: of `prefix` and two texts, length ahead of each.

    start: see `starting_state`.
    """
    blocks = (len(prefix) + 2 * int(_LENGTH) + first.sizes + second.sizes + BLOCK - 1) // BLOCK
    order = np.argsort(np.minimum(blocks, 0xFFFF).astype(np.uint16), kind="stable").astype(np.uint64)
    most = int(blocks.max(initial=0))
    data = np.zeros(max(LANES * min(most, int(_MANY)), most) * BLOCK, np.uint8)
    hashes = np.empty((len(order), words), np.uint64)
    _hash_rows(start, _Messages(np.frombuffer(prefix, np.uint8), first, second, order), data, hashes)
    return hashes


class _Messages(NamedTuple):
    """The message that is hashed of each row; `order` (m,) has rows of equally many blocks side by side."""

    prefix: np.ndarray
    first: Texts
    second: Texts
    order: np.ndarray


class _Lanes(NamedTuple):
    """Room to hash in: state (8 * LANES,), work and message (16 * LANES,) uint64.

    words: the messages, those of a lane together; sizes, taken (LANES,): bytes of each, and those of them by now.
    """

    state: np.ndarray
    work: np.ndarray
    message: np.ndarray
    words: np.ndarray
    sizes: np.ndarray
    taken: np.ndarray


@compiled
def _hash_rows(start: np.ndarray, messages: _Messages, data: np.ndarray, hashes: np.ndarray) -> None:
    """Fill `hashes`; `data` is room for the messages of all lanes."""
    room = _Lanes(
        np.empty(_HALF * _LANES, np.uint64),
        np.empty(_WORDS * _LANES, np.uint64),
        np.empty(_WORDS * _LANES, np.uint64),
        data.view(np.uint64),
        np.zeros(_LANES, np.uint64),
        np.empty(_LANES, np.uint64),
    )
    prefix, (u_ends, u_data, u_rows), (e_ends, e_data, e_rows), order = messages
    lane_rows = np.empty(_LANES, np.uint64)
    lane, n_blocks, prefix_size = _ZERO, _ZERO, np.uint64(len(prefix))
    for place in range(np.uint64(len(order))):
        row = order[place]
        u, e = u_ends[u_rows[row]], e_ends[e_rows[row]]
        n_u, n_e = u_ends[u_rows[row] + _ONE] - u, e_ends[e_rows[row] + _ONE] - e
        size = prefix_size + _LENGTH + n_u + _LENGTH + n_e
        if lane == _LANES or (lane > _ZERO and (_blocks(size) != n_blocks or n_blocks > _MANY)):
            _hash_lanes(start, lane_rows[:lane], n_blocks, room, hashes)
            lane = _ZERO
        n_blocks = _blocks(size)
        begin = lane * n_blocks * _BLOCK
        end = _copy(data, begin, prefix, _ZERO, prefix_size)
        end = _copy(data, _count(data, end, n_u), u_data, u, n_u)
        end = _copy(data, _count(data, end, n_e), e_data, e, n_e)
        _clear(data, end, begin + n_blocks * _BLOCK)
        room.sizes[lane], lane_rows[lane] = size, row
        lane += _ONE
    if lane > _ZERO:
        _hash_lanes(start, lane_rows[:lane], n_blocks, room, hashes)


@compiled
def _blocks(size: np.uint64) -> np.uint64:
    return (size + _BLOCK - _ONE) // _BLOCK


@compiled
def _copy(target: np.ndarray, place: np.uint64, data: np.ndarray, begin: np.uint64, n: np.uint64) -> np.uint64:
    for i in range(n):
        target[place + i] = data[begin + i]
    return place + n


@compiled
def _count(target: np.ndarray, place: np.uint64, n: np.uint64) -> np.uint64:
    """Write `n` as eight bytes, the lowest first."""
    for i in range(_LENGTH):
        target[place + i] = (n >> (i * _HALF)) & _BYTE
    return place + _LENGTH


@compiled
def _clear(target: np.ndarray, place: np.uint64, end: np.uint64) -> None:
    for i in range(end - place):
        target[place + i] = 0


@compiled
def _hash_lanes(
    start: np.ndarray, lane_rows: np.ndarray, n_blocks: np.uint64, room: _Lanes, hashes: np.ndarray
) -> None:
    """Fill hashes[lane_rows[i]] from the message in lane i, of as many blocks as those in the other lanes."""
    lanes = np.uint64(len(lane_rows))
    _begin(start, room.state)
    for block in range(n_blocks):
        for lane in range(lanes):
            for word in range(_WORDS):
                room.message[word * _LANES + lane] = room.words[(lane * n_blocks + block) * _WORDS + word]
        is_last = block + _ONE == n_blocks
        for lane in range(_LANES):
            room.taken[lane] = room.sizes[lane] if is_last else (block + _ONE) * _BLOCK
        _compress(room, _ALL if is_last else _ZERO)
    for lane in range(lanes):
        for word in range(np.uint64(hashes.shape[1])):
            hashes[lane_rows[lane], word] = room.state[word * _LANES + lane]


@compiled
def _begin(start: np.ndarray, state: np.ndarray) -> None:
    for word in range(_HALF):
        for lane in range(_LANES):
            state[word * _LANES + lane] = start[word]


@compiled
def _compress(room: _Lanes, last: np.uint64) -> None:
    """Take one block of every lane into its state; last: all bits set where the message ends with it."""
    state, work = room.state, room.work
    for word in range(_HALF):
        for lane in range(_LANES):
            work[word * _LANES + lane] = state[word * _LANES + lane]
            work[(word + _HALF) * _LANES + lane] = _START[word]
    for lane in range(_LANES):
        work[_AT[12] + lane] ^= room.taken[lane]
        work[_AT[14] + lane] ^= last
    for turn in range(len(_SCHEDULE)):
        _mix(work, room.message, _SCHEDULE[turn])
    for word in range(_HALF):
        for lane in range(_LANES):
            place = word * _LANES + lane
            state[place] ^= work[place] ^ work[place + _HALF * _LANES]


@compiled
def _mix(v: np.ndarray, w: np.ndarray, order: np.ndarray) -> None:
    """One round: columns, then diagonals, of each lane; `order` says where its message words stand."""
    o0, o1, o2, o3, o4, o5, o6, o7 = order[0], order[1], order[2], order[3], order[4], order[5], order[6], order[7]
    o8, o9, o10, o11, o12, o13 = order[8], order[9], order[10], order[11], order[12], order[13]
    o14, o15 = order[14], order[15]
    for i in range(_LANES):
        v0, v4, v8, v12 = _stir((v[_AT[0] + i], v[_AT[4] + i], v[_AT[8] + i], v[_AT[12] + i]), w[o0 + i], w[o1 + i])
        v1, v5, v9, v13 = _stir((v[_AT[1] + i], v[_AT[5] + i], v[_AT[9] + i], v[_AT[13] + i]), w[o2 + i], w[o3 + i])
        v2, v6, v10, v14 = _stir((v[_AT[2] + i], v[_AT[6] + i], v[_AT[10] + i], v[_AT[14] + i]), w[o4 + i], w[o5 + i])
        v3, v7, v11, v15 = _stir((v[_AT[3] + i], v[_AT[7] + i], v[_AT[11] + i], v[_AT[15] + i]), w[o6 + i], w[o7 + i])
        v[_AT[0] + i], v[_AT[5] + i], v[_AT[10] + i], v[_AT[15] + i] = _stir((v0, v5, v10, v15), w[o8 + i], w[o9 + i])
        v[_AT[1] + i], v[_AT[6] + i], v[_AT[11] + i], v[_AT[12] + i] = _stir((v1, v6, v11, v12), w[o10 + i], w[o11 + i])
        v[_AT[2] + i], v[_AT[7] + i], v[_AT[8] + i], v[_AT[13] + i] = _stir((v2, v7, v8, v13), w[o12 + i], w[o13 + i])
        v[_AT[3] + i], v[_AT[4] + i], v[_AT[9] + i], v[_AT[14] + i] = _stir((v3, v4, v9, v14), w[o14 + i], w[o15 + i])


@compiled
def _stir(four: _Four, x: np.uint64, y: np.uint64) -> _Four:
    a, b, c, d = four
    a = a + b + x
    d = ((d ^ a) >> _BY[0]) | ((d ^ a) << _BACK[0])
    c = c + d
    b = ((b ^ c) >> _BY[1]) | ((b ^ c) << _BACK[1])
    a = a + b + y
    d = ((d ^ a) >> _BY[2]) | ((d ^ a) << _BACK[2])
    c = c + d
    b = ((b ^ c) >> _BY[3]) | ((b ^ c) << _BACK[3])
    return a, b, c, d
