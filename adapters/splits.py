"""Splits by hash: a group of rows that belong together lies in one part, whatever the order of the rows."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import SplitError
from evenly.adapters.features import Strings

PARTS = ("train", "val", "test")


def split_by_group(
    groups: Sequence[str] | Strings,
    labels: Sequence[object] | npt.NDArray[np.generic] | None = None,
    *,
    seed: int,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
) -> Strings:
    """Return "train", "val" or "test" for each row (n,), equal for all rows of a group.

    Without labels a group's part is a pure function of (seed, group): a number in [0, 1) from its hash, cut at the
    `fractions`; other groups never matter. With labels the groups of each class (the most frequent label in the
    group) are ranked by their hash and the ranks cut at the fractions, from a start hashed from the class: each class
    is shared out as evenly as whole groups allow, and each group still lands in a part with the probability of its
    fraction; but a new group may move another one of its class.
    """
    names = [str(group) for group in groups]
    if any(not name for name in names):
        raise SplitError(
            f"`groups` must be non-empty; got '' at row {names.index('')}. "
            "Give a row without a group its uid, as `joined_groups` does."
        )
    cuts = _cuts(fractions)
    if labels is None:
        positions = {name: unit_hash(seed, "split", name) for name in set(names)}
    else:
        positions = _stratified(names, [str(label) for label in labels], seed)
    return np.array([PARTS[int(np.searchsorted(cuts, positions[name], side="right"))] for name in names], dtype="<U5")


def unit_hash(seed: int, *fields: str) -> float:
    """A number in [0, 1): the top 53 bits of BLAKE2b over the length-prefixed fields."""
    digest = hashlib.blake2b(digest_size=8)
    for item in (str(seed), *fields):
        data = item.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2.0**53


def joined_groups(uids: Sequence[str], groups: Sequence[str | None], edges: Iterable[tuple[str, str]]) -> Strings:
    """The groups (n,) after joining those that `edges` (uid, into) connect, so that merged duplicates stay together.

    A row without a group ("" or None) is a group of its own, named by its uid. Uids of edges that are not among
    `uids` join as well: A and B merged into a dropped C belong together. But only a row handed in brings its
    group: hand in the merged rows too, or the other members of their groups are not joined. A joined group
    has the smallest of its names.
    """
    if len(uids) != len(groups):
        raise SplitError(
            f"`groups` must hold one name per uid, {len(uids)}; got {len(groups)}. Hand in both from the same rows."
        )
    group_of = {uid: group or uid for uid, group in zip(uids, groups, strict=True)}
    parents: dict[str, str] = {}
    for uid, target in edges:
        first, second = sorted(_root(parents, group_of.get(node, node)) for node in (uid, target))
        parents[second] = first
    roots = {name: _root(parents, name) for name in group_of.values()}
    smallest: dict[str, str] = {}
    for name in sorted(roots, reverse=True):
        smallest[roots[name]] = name
    return np.array([smallest[roots[group_of[uid]]] for uid in uids], dtype=np.str_)


def settle_parts(split: Strings, groups: Strings) -> tuple[Strings, npt.NDArray[np.bool_], tuple[str, ...]]:
    """A given split made safe: (the parts, which rows stay, a sentence per kind of row that does not).

    Rows without a part ("") are left out. Of a group that lies in several parts only the rows of the one that is
    judged last stay (test before val before train): no twin of a test picture is trained on. Unknown parts are an
    error.
    """
    unknown = sorted(set(split.tolist()) - {*PARTS, ""})
    if unknown:
        raise SplitError(f"`split` must hold {', '.join(PARTS)} only; got `{unknown[0]}`. Rename this part.")
    rank = {part: place for place, part in enumerate(PARTS)}
    last: dict[str, int] = {}
    for name, part in zip(groups.tolist(), split.tolist(), strict=True):
        if part:
            last[name] = max(last.get(name, 0), rank[part])
    placed = split != ""
    in_last = np.array([part == "" or rank[part] == last[name] for name, part in zip(groups, split, strict=True)], bool)
    counts = {"rows are in no part of the split": ~placed, "rows have a twin in a part that is judged later": ~in_last}
    notes = tuple(f"{np.count_nonzero(rows)} {reason}: left out" for reason, rows in counts.items() if rows.any())
    return split, placed & in_last, notes


def check_whole_groups(split: Strings, groups: Strings) -> None:
    """Raise SplitError where a part has an unknown name or a group lies in two parts."""
    unknown = sorted(set(split.tolist()) - set(PARTS))
    if unknown:
        raise SplitError(f"`split` must hold {', '.join(PARTS)} only; got `{unknown[0]}`. Rename this part.")
    parts: dict[str, str] = {}
    for name, part in zip(groups.tolist(), split.tolist(), strict=True):
        owner = parts.setdefault(name, part)
        if owner != part:
            raise SplitError(
                f"`split` must keep each group in one part; got group `{name}` in {owner} and {part}. "
                "Make the split with `split_by_group`."
            )


def _cuts(fractions: tuple[float, float, float]) -> list[float]:
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise SplitError(
            f"`fractions` must be three shares of at least 0 that add up to 1; got {fractions}. Change them."
        )
    return [fractions[0], fractions[0] + fractions[1]]


def _stratified(names: list[str], labels: list[str], seed: int) -> dict[str, float]:
    """A position in [0, 1) per group: evenly spread within each class, in the order of the hashes."""
    if len(names) != len(labels):
        raise SplitError(
            f"`labels` must hold one label per row, {len(names)}; got {len(labels)}. Hand in both from the same rows."
        )
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, label in zip(names, labels, strict=True):
        votes[name][label] += 1
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for name, counts in votes.items():
        classes[min(counts, key=lambda label: (-counts[label], label))].append(name)
    positions: dict[str, float] = {}
    for label, members in classes.items():
        start = unit_hash(seed, "split class", label)
        members.sort(key=lambda name: (unit_hash(seed, "split", name), name))
        positions.update({name: (rank + start) / len(members) for rank, name in enumerate(members)})
    return positions


def _root(parents: dict[str, str], node: str) -> str:
    """The representative of `node`; shortens the path to it."""
    path = []
    while (parent := parents.get(node, node)) != node:
        path.append(node)
        node = parent
    for passed in path:
        parents[passed] = node
    return node
