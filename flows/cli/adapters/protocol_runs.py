"""`evenly base-to-new` and `evenly sessions`: two protocols of the field on files of features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenly.adapters import adapter_class, adapter_name
from evenly.adapters.contract import Adapter
from evenly.adapters.evaluation.protocols.base_to_new import (
    evaluate_base_to_new,
    harmonic_mean_of_averages,
    mean_of_harmonic_means,
    of_classes,
)
from evenly.adapters.evaluation.protocols.sessions import evaluate_sessions, split_sessions
from evenly.adapters.features import Integers, LabelledFeatures
from evenly.adapters.methods.gda_incremental import GDAIncremental
from evenly.adapters.own_features.arrays import Parts, parts_in
from evenly.flows.cli.adapters.own_features.fit import parse_parameters, plain
from evenly.flows.cli.errors import UsageError
from evenly.storage.files.arrays import read_arrays


def base_to_new(
    files: Sequence[Path], *, adapter: str, parameters: Sequence[str] = (), normalise: bool, guard: bool
) -> dict[str, Any]:
    """One row per file, and both harmonic means over them under the names that tell them apart."""
    kind = adapter_class(adapter)
    rows = [_base_to_new(file, kind, parameters, normalise=normalise, guard=guard) for file in files]
    base, new = ([row[name] for row in rows] for name in ("base", "new"))
    result: dict[str, Any] = plain(
        {
            "adapter": adapter_name(adapter),
            "data_sets": rows,
            "base_average": np.mean(base),
            "new_average": np.mean(new),
            "mean_of_harmonic_means": mean_of_harmonic_means(base, new),
            "harmonic_mean_of_averages": harmonic_mean_of_averages(base, new),
        }
    )
    return result


def _base_to_new(
    file: Path, kind: type[Adapter], parameters: Sequence[str], *, normalise: bool, guard: bool
) -> dict[str, Any]:
    fixed = parse_parameters(kind, parameters)
    parts = _judgeable(file, normalise=normalise)
    result = evaluate_base_to_new(
        kind,
        train=parts.train,
        validation=parts.val,
        test=parts.test,
        fixed=fixed,
        guard=guard,
    )
    return {
        "data_set": file.stem,
        "base": result.base,
        "base_low": result.base_interval.low,
        "base_high": result.base_interval.high,
        "new": result.new,
        "new_low": result.new_interval.low,
        "new_high": result.new_interval.high,
        "harmonic_mean": result.harmonic_mean,
        "base_rows": result.base_rows,
        "new_rows": result.new_rows,
        "chosen": dict(result.tuned.chosen),
        "kept_zero_shot": result.tuned.kept_zero_shot,
        "notes": list(parts.notes),
    }


def sessions(file: Path, *, first: int, step: int, alpha: float, normalise: bool) -> dict[str, Any]:
    """Class-incremental GDA: `first` classes, then `step` more at a time; accuracy over the classes seen, per session.

    `alpha` is not searched: later sessions have no say in what an earlier one chose.
    """
    parts = _judgeable(file, normalise=normalise)
    n_classes = len(parts.train.features.required_prototypes(adapter="sessions"))
    if first > n_classes:
        raise UsageError(f"`--first` must be at most the {n_classes} classes of the file; got {first}. Lower it.")
    result = evaluate_sessions(
        GDAIncremental(alpha=alpha),
        [_session(parts.train, classes) for classes in split_sessions(n_classes, first=first, step=step)],
        test=parts.test,
    )
    return {
        "adapter": "gda_incremental",
        "alpha": alpha,
        "sessions": plain(result.sessions.to_dict("records")),
        "average": result.average,
        "performance_drop": result.drop,
        "notes": list(parts.notes),
    }


def _session(train: LabelledFeatures, classes: Integers) -> LabelledFeatures:
    """The train rows of some classes, under the class list up to the last of them."""
    rows = train.rows(np.flatnonzero(np.isin(train.labels, classes)))
    learned = np.arange(int(classes[-1]) + 1)
    return LabelledFeatures(features=of_classes(rows.features, learned), labels=rows.labels)


def _judgeable(file: Path, *, normalise: bool) -> Parts:
    parts = parts_in(read_arrays(file, any_length=normalise), normalise=normalise)
    if not len(parts.test.labels):
        raise UsageError(
            f"`{file}` must hold `test_features` and `test_labels` to be judged on; it has none. Add them."
        )
    return parts
