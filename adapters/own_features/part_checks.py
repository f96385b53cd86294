"""Checks of the rows of a file's parts, whatever is done with them: groups, duplicates, class names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError, SplitError
from evenly.adapters.features import Booleans, Floats, Integers
from evenly.adapters.splits import PARTS
from evenly.adapters.twins import TWIN_COSINE, twin_clusters

POOL = "unlabelled"
LEFT_OUT = ": left out"
"""The end of a sentence on rows that do not stay."""
ABSENT = {
    "train": "no adapter learned from an image of them",
    "val": "they had no say in the choice of values",
    "test": "their accuracy is unknown",
}
"""What it means for a class to have no rows in a part."""


def check_class_names(names: Sequence[str]) -> None:
    """Refuse a class without a name, and two of the same name: nobody could tell their predictions apart."""
    bare = [name.strip() for name in names]
    if "" in bare:
        raise InvalidFeaturesError(f"`classes` must have names; got '' at position {bare.index('')}. Name this class.")
    name, count = Counter(bare).most_common(1)[0]
    if count > 1:
        places = ", ".join(str(place) for place, other_name in enumerate(bare) if other_name == name)
        raise InvalidFeaturesError(
            f"`classes` must differ; got `{name}` at positions {places}. Rename them, or join their rows in one class."
        )


def check_groups(groups: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse a group that lies in two of the parts; `groups` by part (rows,), of parts whose groups are named."""
    owners: dict[str, str] = {}
    for part, names in groups.items():
        for name in np.unique(np.asarray(names).astype(np.str_)).tolist():
            owner = owners.setdefault(name, part)
            if owner != part:
                raise SplitError(
                    f"`{owner}_groups` and `{part}_groups` must share no group; got `{name}` in both. "
                    "Move its rows to one part: what belongs together would be learned and judged on."
                )


def without_twins(
    images: Mapping[str, Floats], *, judged: Mapping[str, Floats] | None = None, pool: Floats | None = None
) -> tuple[dict[str, Booleans], tuple[str, ...]]:
    """True for rows of each part and of the pool that stay (rows,), and a sentence for each part that loses rows.

    `images` by part, `judged` by further set, `pool` (m, d) without labels, POOL by name. Of twins, and twins of twins,
    those stay that are judged last: test before val before train and the pool. The further sets are judged with test.
    """
    sets = {POOL: pool} if pool is not None else {}
    sets |= {part: images[part] for part in PARTS} | dict(judged or {})
    turns = {POOL: 0} | {part: place for place, part in enumerate(PARTS)}
    owners = np.repeat(np.arange(len(sets)), [len(rows) for rows in sets.values()])
    turn = np.array([turns.get(name, len(PARTS) - 1) for name in sets])[owners]
    clusters = twin_clusters(np.concatenate(list(sets.values())))
    last = np.zeros(len(clusters), np.int64)
    np.maximum.at(last, clusters, turn)
    stays = turn == last[clusters]
    kept, notes = {}, []
    for place, name in enumerate(sets):
        kept[name] = stays[owners == place]
        if n_gone := np.count_nonzero(~kept[name]):
            of_gone = np.isin(clusters, clusters[(owners == place) & ~stays]) & (turn > turns[name])
            twins = " or ".join(twin for number, twin in enumerate(sets) if (of_gone & (owners == number)).any())
            rows = "rows of the unlabelled pool" if name == POOL else f"{name} rows"
            notes.append(
                f"{n_gone:,} of {len(kept[name]):,} {rows} have a twin in {twins} (cosine over {TWIN_COSINE}){LEFT_OUT}"
            )
    return kept, tuple(notes)


def absent_classes(labels: Mapping[str, Integers], classes: Sequence[str]) -> list[str]:
    """A sentence per part that lacks a class; `labels` by part (rows,), positions in `classes`."""
    sentences = []
    for part, part_labels in labels.items():
        counts = np.bincount(part_labels, minlength=len(classes))
        absent = [name for name, count in zip(classes, counts, strict=True) if not count]
        if absent:
            count = f"{len(absent)} of {len(classes)} classes"
            sentences.append(f"{count} without {part} images ({ABSENT[part]}): {', '.join(absent)}")
    return sentences
