"""Checks of the rows of a file's parts, whatever is done with them: groups, duplicates, class names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError, SplitError
from evenly.adapters.features import Booleans, Floats, Integers
from evenly.adapters.splits import PARTS
from evenly.adapters.training import row_keys

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


def without_duplicates(images: Mapping[str, Floats]) -> tuple[dict[str, Booleans], tuple[str, ...]]:
    """Which rows of each part stay (rows,), and a sentence per part that loses rows; `images` by part (rows, d).

    A row that stands in a part which is judged later as well (test after val after train) goes from the earlier one: no
    twin of a test picture is learned from, as where a recipe's split parts a group.
    """
    keys = {part: row_keys(rows + np.float32(0)) for part, rows in images.items()}  # -0 is 0
    kept, notes = {}, []
    for place, part in enumerate(PARTS):
        later = {key for later_part in PARTS[place + 1 :] for key in keys[later_part]}
        kept[part] = np.array([key not in later for key in keys[part]], dtype=np.bool_)
        if n_gone := np.count_nonzero(~kept[part]):
            judged = " or ".join(PARTS[place + 1 :])
            notes.append(f"{n_gone:,} of {len(keys[part]):,} {part} rows stand in {judged} as well: left out of {part}")
    return kept, tuple(notes)


def unlabelled_test_images(pool: Floats | None, test: Floats) -> tuple[str, ...]:
    """A sentence where rows of the pool without labels (m, d) are test rows (n, d)."""
    if pool is None:
        return ()
    judged = set(row_keys(test + np.float32(0)))
    count = sum(key in judged for key in row_keys(pool + np.float32(0)))
    return (f"{count:,} of {len(pool):,} rows of the unlabelled pool are test rows",) if count else ()


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
