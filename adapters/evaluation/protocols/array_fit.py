"""Fit one adapter on arrays, choose on validation, judge once on test: the whole job for features made elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evenly.adapters import adapter_class
from evenly.adapters.contract import Adapter
from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.evaluation.measures.calibration import Temperature, fit_temperature
from evenly.adapters.evaluation.measures.ensemble_parts import judge_parts
from evenly.adapters.evaluation.measures.unseen import judge_unseen
from evenly.adapters.evaluation.protocols.judged import judge
from evenly.adapters.features import Floats, GroupedFeatures, Integers
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.own_features.arrays import PER_IMAGE, Parts, in_keys
from evenly.adapters.own_features.defaults import with_defaults
from evenly.adapters.search import Tuned, tune


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayFit:
    """The result of `fit_arrays`: the choice, test logits (n, c), measures, and those of the unseen sets.

    `fixed` are the parameters that were not searched; `fallback` says what stood in for arrays that are not there, and
    what the adapter did instead where its support does not allow the method; `temperature`, by which to divide the
    logits, is fitted on the validation rows; `ensemble` says what each classifier is worth that the adapter is the mean
    of, as `judge_parts` has it.
    """

    tuned: Tuned
    fixed: Mapping[str, Any]
    test_logits: Floats
    temperature: Temperature
    metrics: Mapping[str, Any]
    unseen: pd.DataFrame
    ensemble: pd.DataFrame
    fallback: str


def fit_arrays(
    parts: Parts, adapter: str, *, parameters: Mapping[str, Any] | None = None, guard: bool | None = None, seed: int = 0
) -> ArrayFit:
    """Fit `adapter` on train, search what `parameters` leaves open on validation, judge once on test.

    With no validation rows the defaults are fitted; with no test rows there are no metrics. `guard` keeps zero-shot
    where validation shows no gain; None: unless `parameters` settles all that the adapter would search, because then
    nothing is left to choose. `seed` is that of the bootstrap, and of the adapter's own training where it has one and
    `parameters` does not say.
    """
    kind = adapter_class(adapter)
    fixed = dict(parameters or {})
    if "seed" in kind().get_params():
        fixed.setdefault("seed", seed)
    parts, notes = with_defaults(parts, kind)
    try:
        tuned = _tuned(parts, kind, fixed, guard=guard)
    except (InvalidFeaturesError, MissingFeaturesError) as error:
        raise type(error)(in_keys(str(error))) from None
    temperature = fit_temperature(*_logits_of(tuned.adapter, parts.val), ruled_out=tuned.adapter.ruled_out())
    logits = tuned.adapter.decision_function(parts.test.features) if len(parts.test.labels) else _no_rows(parts)
    return ArrayFit(
        tuned=tuned,
        fixed=fixed,
        test_logits=logits,
        temperature=temperature,
        metrics=_metrics(parts, logits, temperature, seed=seed) if len(parts.test.labels) else {},
        unseen=_unseen(parts, tuned.adapter, seed),
        ensemble=judge_parts(tuned.adapter, parts.test, seed=seed, unseen=parts.unseen)
        if len(parts.test.labels)
        else pd.DataFrame(),
        fallback="; ".join(filter(None, (*notes, tuned.adapter.fallback_))),
    )


def _tuned(parts: Parts, kind: type[Adapter], fixed: Mapping[str, Any], *, guard: bool | None) -> Tuned:
    settled = bool(kind.grid.parameters) and kind.grid.parameters.keys() <= fixed.keys()
    tuned = tune(
        kind,
        train=parts.train,
        validation=parts.val,
        fixed=fixed,
        guard=not settled if guard is None else guard,
    )
    if not settled or tuned.kept_zero_shot:
        return tuned
    judged = f"{tuned.best_accuracy:.4f}, zero-shot {tuned.zero_shot_accuracy:.4f} on {tuned.validation_rows}"
    return replace(
        tuned, why=f"as given, nothing to choose: {judged if tuned.validation_rows else 'no'} validation rows"
    )


def _metrics(parts: Parts, logits: Floats, temperature: Temperature, *, seed: int) -> dict[str, Any]:
    zero_shot = ZeroShot().fit(parts.train.features, parts.train.labels)
    return judge(
        logits,
        parts.test,
        baseline_predictions=zero_shot.predict(parts.test.features),
        baseline="zero-shot",
        seed=seed,
        temperature=temperature,
    )


def _logits_of(adapter: Adapter, part: GroupedFeatures) -> tuple[Floats, Integers]:
    """Logits (n, c), none of which need features that an empty part lacks, and the labels."""
    empty = np.empty((0, len(adapter.prototypes_)), np.float32)
    return adapter.decision_function(part.features) if len(part.labels) else empty, part.labels


def _no_rows(parts: Parts) -> Floats:
    prototypes = parts.train.features.required_prototypes(adapter="fit_arrays")
    return np.empty((0, len(prototypes)), np.float32)


def _unseen(parts: Parts, adapter: Adapter, seed: int) -> pd.DataFrame:
    """Every out-of-distribution score whose needs are met, on test rows against each set that was given.

    What the others lack stands in `skipped`, by key.
    """
    if not parts.unseen or not len(parts.test.labels):
        return pd.DataFrame()
    table = judge_unseen(
        adapter,
        parts.test,
        parts.unseen,
        seed=seed,
        scorers=() if isinstance(adapter, Cooked) else (_cooked(parts),),
    )
    return table.assign(skipped=[_keys_of(parts, fields) for fields in table["skipped"]])


def _keys_of(parts: Parts, fields: str) -> str:
    """The keys of the arrays that the fields of a score, separated by commas, would be made of."""
    if fields not in ("logits", "cooked_logits"):
        return fields
    sets = {"train": parts.train.features, "test": parts.test.features, **parts.unseen}
    wanted = "second" if fields == "logits" else "norms"
    lacking = [PER_IMAGE[wanted].format(name) for name, rows in sets.items() if getattr(rows, wanted) is None]
    return ", ".join(lacking) or "train rows of two classes"


def _cooked(parts: Parts) -> Cooked | None:
    """COOkeD's ensemble where the file has the lengths of the rows that its probe is fitted on."""
    records = [parts.train.features, parts.test.features, *parts.unseen.values()]
    if any(rows.norms is None for rows in records):
        return None
    use_second = all(rows.second is not None for rows in records)
    train = parts.train.features if use_second else replace(parts.train.features, second=None)
    return Cooked().fit(train, parts.train.labels)
