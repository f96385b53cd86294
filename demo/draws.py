"""Choices by hash, so that equal pictures make equal webs on every machine and in any order."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

DEMO_SEED = 20261124


def demo_draw(seed: int, *key: str) -> float:
    """A number in [0, 1) from the first 53 bits of blake2b over seed and key, each part with its length in front."""
    digest = blake2b(digest_size=8)
    for part in (str(seed), *key):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2**53


def pick(choices: Sequence[T], seed: int, *key: str) -> T:
    """One of `choices`, each as likely as the other."""
    return choices[int(demo_draw(seed, *key) * len(choices))]


def lowest(keys: Iterable[str], k: int, seed: int, purpose: str) -> list[str]:
    """The `k` keys with the lowest draw for `purpose`, lowest first; all of them where there are fewer."""
    return sorted(keys, key=lambda key: (demo_draw(seed, purpose, key), key))[:k]


def shares(n: int, weights: Mapping[K, float]) -> list[K]:
    """A list of `n` choices in proportion to their weights (largest remainder), each at least once where `n` allows."""
    total = sum(weights.values())
    exact = {choice: n * weight / total for choice, weight in weights.items()}
    counts = {choice: max(int(value), 1) for choice, value in exact.items()}
    by_remainder = sorted(exact, key=lambda choice: exact[choice] - int(exact[choice]), reverse=True)
    while sum(counts.values()) < n:
        counts[by_remainder[0]] += 1
        by_remainder = [*by_remainder[1:], by_remainder[0]]
    chosen = [choice for choice, count in counts.items() for _ in range(count)]
    while len(chosen) > n:
        chosen.remove(max(set(chosen), key=lambda choice: (chosen.count(choice), -list(weights).index(choice))))
    return chosen
