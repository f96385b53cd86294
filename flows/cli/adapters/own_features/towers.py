"""The text tower of the encoder that a file of features names, for adapters that learn prompts."""

from collections.abc import Sequence
from dataclasses import replace

from evenly.adapters.labelled import takes_tower
from evenly.adapters.own_features.arrays import ENCODER, Arrays, Parts, class_names_in
from evenly.flows.runs import workspace_run
from evenly.signatures import Place


def with_tower(parts: Parts, arrays: Arrays, adapters: Sequence[str], *, root: Place | None) -> Parts:
    """The parts with the tower, where an adapter learns through it and the file names its encoder and the classes."""
    if not takes_tower(adapters) or ENCODER not in arrays or "classes" not in arrays:
        return parts
    from evenly.tasks.adapters.prompts import run_tower
    from evenly.tasks.run import EncoderChoice

    model, pretrained, identity = map(str, arrays[ENCODER])
    run = workspace_run(root, encoder=EncoderChoice(model=model, pretrained=pretrained or None))
    tower = run_tower(run, class_names_in(arrays), of_features=identity)
    train, val, test = (
        replace(part, features=replace(part.features, tower=tower)) for part in (parts.train, parts.val, parts.test)
    )
    return replace(parts, train=train, val=val, test=test)
