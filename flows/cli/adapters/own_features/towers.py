"""The text tower of the encoder that a file of features names, for adapters that learn prompts."""

from collections.abc import Sequence
from dataclasses import replace

from evenly.adapters.labelled import takes_tower
from evenly.adapters.own_features.arrays import Arrays, Parts, class_names_in
from evenly.flows.runs import workspace_run
from evenly.signatures import Place


def with_tower(parts: Parts, arrays: Arrays, adapters: Sequence[str], *, root: Place | None) -> Parts:
    """The parts with the tower, where one of the adapters learns through it and the file says which encoder it is."""
    if not takes_tower(adapters):
        return parts
    from evenly.tasks.adapters.prompts import tower_of_arrays

    tower = tower_of_arrays(workspace_run(root), arrays, class_names_in(arrays))
    train, val, test = (
        replace(part, features=replace(part.features, tower=tower)) for part in (parts.train, parts.val, parts.test)
    )
    unseen = {name: replace(features, tower=tower) for name, features in parts.unseen.items()}
    return replace(parts, train=train, val=val, test=test, unseen=unseen)
