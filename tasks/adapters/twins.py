"""Twins among the kept pictures of a build, by its stored features: they are in one part of a split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.splits import joined_groups
from evenly.adapters.twins import TWIN_COSINE, twin_clusters
from evenly.storage.feature_store import FeatureStore
from evenly.storage.records import content_hash
from evenly.storage.samples import Samples
from evenly.storage.workspace import Workspace

Strings = npt.NDArray[np.str_]
MOST_GROUPS = 10
"""A picture in more groups, such as "image not available", does not join them: its pairs are a group of their own."""


@dataclass(frozen=True, kw_only=True)
class Twins:
    """The pairs of pictures that have twins: the uids of each cluster, the smallest first."""

    clusters: tuple[tuple[str, ...], ...]

    @property
    def inputs(self) -> dict[str, str]:
        """The inputs of a step that keeps twins together; none where there are no twins."""
        return {"twins": content_hash(self.clusters)} if self.clusters else {}

    def joined(self, uids: Sequence[str], groups: Strings) -> Strings:
        """The groups (n,) of pairs after joining those of twins."""
        group_of = dict(zip(uids, groups.tolist(), strict=True))
        sizes = Counter(groups.tolist())
        edges: list[tuple[str, str]] = []
        placeholders: list[tuple[str, ...]] = []
        for cluster in self.clusters:
            inside = Counter(group_of[uid] for uid in cluster)
            if sum(sizes[name] > count for name, count in inside.items()) > MOST_GROUPS:
                placeholders.append(cluster)
            else:
                edges += [(uid, cluster[0]) for uid in cluster[1:]]
        joined = dict(zip(uids, joined_groups(uids, groups.tolist(), edges).tolist(), strict=True))
        for cluster in placeholders:
            joined |= dict.fromkeys(cluster, f"twins of {cluster[0]}")
        return np.array([joined[uid] for uid in uids], dtype=np.str_)

    def of(self, uids: Sequence[str]) -> frozenset[str]:
        """The pairs and their twins."""
        named = frozenset(uids)
        return named.union(*(cluster for cluster in self.clusters if not named.isdisjoint(cluster)))

    def notes(self, uids: Sequence[str]) -> tuple[str, ...]:
        """A sentence on how many of these pairs have twins."""
        of_clusters = frozenset(uid for cluster in self.clusters for uid in cluster)
        count = sum(uid in of_clusters for uid in uids)
        return (f"{count:,} pictures have twins (cosine over {TWIN_COSINE}): in one part with them",) if count else ()


def build_twins(workspace: Workspace, manifest: Mapping[str, Any]) -> Twins:
    """The twins among the kept pairs of a build, pairs of one picture included; none in a build without features."""
    if manifest["encoder"] is None:
        return Twins(clusters=())
    samples, encoder = manifest["samples"], str(manifest["encoder"]["identity"])
    where = f"{samples['last']}_verdict = 'kept' AND image_id IS NOT NULL"
    stored = FeatureStore(workspace, encoder, "images").version
    return _twins(workspace, str(manifest["recipe_name"]), int(samples["version"]), where, encoder, stored)


@lru_cache(maxsize=4)
def _twins(workspace: Workspace, recipe: str, version: int, where: str, encoder: str, _stored: int | None) -> Twins:
    """The twins of a version of the sample table; they are looked for once in a process, for rows `_stored` so far."""
    pairs = Samples(workspace, recipe).read(version, ["uid", "image_id"], where)
    ids = pairs["image_id"].combine_chunks().dictionary_encode()
    numbers = np.arange(len(ids.dictionary))
    blocks = list(FeatureStore(workspace, encoder, "images").stored_batches(ids.dictionary))
    if blocks:
        places = np.concatenate([places for places, _ in blocks])
        clusters = twin_clusters(np.concatenate([rows for _, rows in blocks]))
        numbers[places] = places[clusters]
    of_pairs = numbers[ids.indices.to_numpy()]
    order = np.argsort(of_pairs, kind="stable")
    bounds = np.flatnonzero(np.diff(of_pairs[order])) + 1
    uids = np.array(pairs["uid"].to_pylist(), dtype=np.str_)
    clusters_of = [sorted(uids[members].tolist()) for members in np.split(order, bounds) if len(members) > 1]
    return Twins(clusters=tuple(sorted(map(tuple, clusters_of))))
