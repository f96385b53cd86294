"""`evenly base-to-new` and `evenly sessions`: two protocols of the field on files of features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenly.adapters import ADAPTERS, adapter_class, adapter_name
from evenly.adapters.contract import Adapter
from evenly.adapters.evaluation.protocols.base_to_new import (
    evaluate_base_to_new,
    harmonic_mean_of_averages,
    mean_of_harmonic_means,
)
from evenly.adapters.evaluation.protocols.sessions import (
    SessionResults,
    average_gain,
    evaluate_sessions,
    session_of,
    split_sessions,
)
from evenly.adapters.forms.sessions import SessionLearner
from evenly.adapters.own_features.arrays import Parts, parts_in
from evenly.flows.cli.adapters.options import BaseToNewOptions, SessionsOptions
from evenly.flows.cli.adapters.own_features.fit import parse_parameters, plain
from evenly.flows.cli.adapters.own_features.towers import with_tower
from evenly.flows.cli.errors import UsageError
from evenly.storage.files.arrays import read_arrays
from evenly.tasks.adapters.prompts import finish_prompts


def base_to_new(files: Sequence[Path], options: BaseToNewOptions) -> dict[str, Any]:
    """One row per file, and both harmonic means over them under the names that tell them apart."""
    kind = adapter_class(options.adapter)
    fixed = parse_parameters(kind, options.parameter or ())
    rows = [
        _base_to_new(file, kind, fixed, _judgeable(file, [options.adapter], options), guard=options.guard)
        for file in files
    ]
    base, new = ([row[name] for row in rows] for name in ("base", "new"))
    result: dict[str, Any] = plain(
        {
            "adapter": adapter_name(options.adapter),
            "data_sets": rows,
            "base_average": np.mean(base),
            "new_average": np.mean(new),
            "mean_of_harmonic_means": mean_of_harmonic_means(base, new),
            "harmonic_mean_of_averages": harmonic_mean_of_averages(base, new),
        }
    )
    return result


def _base_to_new(
    file: Path, kind: type[Adapter], fixed: Mapping[str, Any], parts: Parts, *, guard: bool
) -> dict[str, Any]:
    result = evaluate_base_to_new(
        kind,
        train=parts.train,
        validation=parts.val,
        test=parts.test,
        fixed=fixed,
        guard=guard,
    )
    finish_prompts(parts.train.features)
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


def sessions(file: Path, options: SessionsOptions) -> dict[str, Any]:
    """Classes in sessions: `first`, then `step` more at a time; accuracy over the classes seen, per session.

    Nothing is searched: later sessions have no say in what an earlier one chose. `against`: a rival in the same
    sessions at its defaults, and the gain over it. `alpha` is set of those that have it.
    """
    learner = _session_learner(options.adapter, options, options.parameter or ())
    rival = _session_learner(options.against, options) if options.against else None
    parts = _judgeable(file, [name for name in (options.adapter, options.against) if name], options)
    n_classes = len(parts.train.features.required_prototypes(adapter="sessions"))
    if options.first > n_classes:
        raise UsageError(
            f"`--first` must be at most the {n_classes} classes of the file; got {options.first}. Lower it."
        )
    split = split_sessions(n_classes, first=options.first, step=options.step)
    rows = [session_of(parts.train, classes) for classes in split]
    results = evaluate_sessions(learner, rows, test=parts.test)
    outcome = _outcome(learner, results) | {"notes": list(parts.notes)}
    if rival is not None:
        of_rival = evaluate_sessions(rival, rows, test=parts.test)
        gain = average_gain(results, of_rival, groups=parts.test.groups)
        outcome["against"] = _outcome(rival, of_rival) | {"gain": plain(gain._asdict())}
    finish_prompts(parts.train.features)
    return outcome


def _session_learner(name: str, options: SessionsOptions, parameters: Sequence[str] = ()) -> SessionLearner:
    kind = adapter_class(name)
    if not issubclass(kind, SessionLearner):
        learners = ", ".join(name for name, entry in ADAPTERS.items() if issubclass(entry, SessionLearner))
        raise UsageError(f"`--adapter` must learn in sessions: {learners}; got `{name}`. Choose one of these.")
    alpha = {"alpha": options.alpha} if "alpha" in kind().get_params() else {}
    return kind().set_params(**alpha | parse_parameters(kind, parameters))


def _outcome(learner: SessionLearner, results: SessionResults) -> dict[str, Any]:
    return {
        "adapter": next(name for name, kind in ADAPTERS.items() if kind is type(learner)),
        "parameters": plain(learner.get_params()),
        "sessions": plain(results.sessions.to_dict("records")),
        "average": results.average,
        "performance_drop": results.drop,
    }


def _judgeable(file: Path, adapters: Sequence[str], options: BaseToNewOptions | SessionsOptions) -> Parts:
    """The parts of a file with test rows, and with the text tower where an adapter learns through it."""
    arrays = read_arrays(file, any_length=options.normalise)
    parts = with_tower(parts_in(arrays, normalise=options.normalise), arrays, adapters, root=options.root)
    if not len(parts.test.labels):
        raise UsageError(
            f"`{file}` must hold `test_features` and `test_labels` to be judged on; it has none. Add them."
        )
    return parts
