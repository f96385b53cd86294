"""Fit one adapter on arrays, choose on validation, judge once on test: the whole job for features made elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from adapters import adapter_class
from adapters.arrays import Part, Parts
from adapters.contract import Adapter, Grid
from adapters.evaluation.judged import judge
from adapters.evaluation.unseen import judge_unseen
from adapters.features_record import Floats
from adapters.methods.cooked import Cooked
from adapters.methods.zero_shot import ZeroShot
from adapters.search import Tuned, tune


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayFit:
    """What `fit_arrays` found: the choice, test logits (n, c), measures, and those of the unseen sets."""

    tuned: Tuned
    test_logits: Floats
    metrics: Mapping[str, Any]
    unseen: pd.DataFrame


def fit_arrays(
    parts: Parts, adapter: str, *, parameters: Mapping[str, Any] | None = None, guard: bool = True, seed: int = 0
) -> ArrayFit:
    """Fit `adapter` on train, search what `parameters` leaves open on validation, judge once on test.

    With no validation rows the defaults are fitted; with no test rows there are no metrics. `seed` is that of the
    bootstrap, and of the adapter's own training where it has one and `parameters` does not say.
    """
    kind = adapter_class(adapter)
    fixed = dict(parameters or {})
    if "seed" in kind().get_params():
        fixed.setdefault("seed", seed)
    tuned = tune(
        kind,
        train=parts.train.features,
        train_labels=parts.train.labels,
        validation=parts.val.features,
        validation_labels=parts.val.labels,
        grid=open_grid(kind, fixed),
        fixed=fixed,
        guard=guard,
    )
    logits = tuned.adapter.decision_function(parts.test.features) if len(parts.test.labels) else _no_rows(parts)
    metrics = _metrics(parts, tuned.adapter, logits, seed=seed) if len(parts.test.labels) else {}
    return ArrayFit(tuned=tuned, test_logits=logits, metrics=metrics, unseen=_unseen(parts, tuned.adapter, seed))


def open_grid(kind: type[Adapter], fixed: Mapping[str, Any]) -> Grid:
    """The published grid of `kind` without the parameters that are fixed."""
    grid = kind.grid
    return replace(
        grid,
        parameters={name: values for name, values in grid.parameters.items() if name not in fixed},
        bisect=None if grid.bisect in fixed else grid.bisect,
    )


def _metrics(parts: Parts, adapter: Adapter, logits: Floats, *, seed: int) -> dict[str, Any]:
    zero_shot = ZeroShot().fit(parts.train.features, parts.train.labels)
    return judge(
        logits,
        parts.test.labels,
        groups=parts.test.groups,
        before=zero_shot.predict(parts.test.features),
        baseline="zero-shot",
        seed=seed,
        validation=_logits_of(adapter, parts.val),
    )


def _logits_of(adapter: Adapter, part: Part) -> tuple[Floats, Any] | None:
    return (adapter.decision_function(part.features), part.labels) if len(part.labels) else None


def _no_rows(parts: Parts) -> Floats:
    prototypes = parts.train.features.required_prototypes(by="fit_arrays")
    return np.empty((0, len(prototypes)), np.float32)


def _unseen(parts: Parts, adapter: Adapter, seed: int) -> pd.DataFrame:
    """Every out-of-distribution score whose needs are met, on test rows against each set that was given."""
    if not parts.unseen or not len(parts.test.labels):
        return pd.DataFrame()
    return judge_unseen(
        adapter,
        parts.test.features,
        parts.unseen,
        groups=parts.test.groups,
        seed=seed,
        cooked=adapter if isinstance(adapter, Cooked) else _cooked(parts),
    )


def _cooked(parts: Parts) -> Cooked | None:
    """COOkeD's ensemble where the file has the lengths of the rows that its probe is fitted on."""
    records = [parts.train.features, parts.test.features, *parts.unseen.values()]
    if any(rows.norms is None for rows in records):
        return None
    use_second = all(rows.second is not None for rows in records)
    train = parts.train.features if use_second else replace(parts.train.features, second=None)
    return Cooked().fit(train, parts.train.labels)
