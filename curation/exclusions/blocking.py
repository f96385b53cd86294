"""Pictures and hosts that a list of the user names. Reasons carry the hash of the list, never its content."""

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.decisions import Decisions

SHOWN = 12  # hexadecimal digits of a list's hash in a reason
_ROWS = 1 << 22  # comparisons at once


def judge_files(image_ids: pa.Array, blocked: Collection[str], sha256: str) -> Decisions:
    """Judge pictures by the sha256 of their file, in hex: reason blocked_file."""
    goes = pc.is_in(image_ids, pa.array(sorted(blocked), pa.string()))
    return Decisions.of(reason=_reason(goes, "blocked_file", sha256))


def judge_hashes(hashes: pa.Array, blocked: Collection[int], max_distance: int, sha256: str) -> Decisions:
    """Judge pictures by their perceptual hash: within `max_distance` bits of a blocked one is blocked_look.

    The value is the number of bits to the nearest blocked one; null without a hash.
    """
    own_hashes = hashes.fill_null(0).to_numpy()
    listed = np.array(sorted(blocked), dtype=np.uint64)
    bits = np.full(len(own_hashes), 65)
    size = max(1, _ROWS // max(1, len(listed)))
    for start in range(0, len(own_hashes) if len(listed) else 0, size):
        part = own_hashes[start : start + size]
        bits[start : start + size] = np.bitwise_count(part[:, None] ^ listed[None]).min(axis=1)
    value = pa.array(bits.astype(np.float64), mask=(bits > 64) | np.asarray(hashes.is_null()))
    goes = pc.fill_null(pc.less_equal(value, max_distance), False)
    return Decisions.of(reason=_reason(goes, "blocked_look", sha256), value=value)


def judge_hosts(hosts: pa.Array, blocked: Collection[str], sha256: str) -> Decisions:
    """Judge hosts: one that is a blocked domain, or lies below one, is blocked_domain. A null host stays.

    Hosts and domains are in ASCII (IDNA) and lower case.
    """
    blocked_domains = frozenset(blocked)
    coded = hosts.dictionary_encode()
    is_blocked = [
        host is not None and any(part in blocked_domains for part in _upwards(host))
        for host in coded.dictionary.to_pylist()
    ]
    goes = pc.fill_null(pa.array(is_blocked, pa.bool_()).take(coded.indices), False)
    return Decisions.of(reason=_reason(goes, "blocked_domain", sha256))


def _upwards(host: str) -> Iterator[str]:
    """The host and each domain that it lies below."""
    while host:
        yield host
        host = host.partition(".")[2]


def _reason(goes: pa.Array, reason: str, sha256: str) -> pa.Array:
    return pc.if_else(pc.fill_null(goes, False), f"{reason}:{sha256[:SHOWN]}", "")
