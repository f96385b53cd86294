"""Out-of-distribution scores on test pictures against pictures of none of the classes, in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt
import pandas as pd

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.evaluation.measures.bootstrap import REPLICATES
from evenly.adapters.features import Features, Floats, GroupedFeatures
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.ood import BASELINES, OOD_SCORES, OODInputs
from evenly.adapters.ood.metrics import Groups
from evenly.adapters.ood.table import compared_table, measure_sets
from evenly.adapters.prompts.clipn import CLIPN

KINDS = {"near_ood": "near", "near": "near"}
"""The kind of a set by its name; any other name is "far"."""


def judge_unseen(
    adapter: Adapter,
    test: GroupedFeatures,
    unseen: Mapping[str, Features],
    *,
    seed: int,
    unseen_groups: Mapping[str, npt.NDArray[Any]] | None = None,
    scorers: Sequence[Adapter | None] = (),
) -> pd.DataFrame:
    """One row per score and set, as `ood_report` has them, `skipped` empty; then one per score that lacks something.

    `unseen` by name of the set, near or far by KINDS; intervals resample the groups of the test rows, and of each set's
    `unseen_groups` (None: each row is a group of its own). Logit scores are those of `adapter`'s logits,
    where they are valid for logits of its kind; those of a COOkeD among `scorers`, or that it is, are of this ensemble,
    and those with negations by what a CLIPN learned. Where the rows of a set lack what a classifier judges by, or the
    support of COOkeD allows no ensemble, its scores are among those that lack something, which `skipped` says. Nothing
    here chooses a threshold or a value.
    """
    if not unseen:
        return pd.DataFrame()
    sets: dict[str, dict[str, OODInputs]] = {}
    for name, rows in unseen.items():
        sets.setdefault(KINDS.get(name, "far"), {})[name] = unseen_inputs(adapter, scorers, rows)
    table, lacking = ood_report(
        unseen_inputs(adapter, scorers, test.features),
        sets,
        seed=seed,
        groups_id=test.groups,
        groups_ood=unseen_groups,
    )
    missing = [{"score": score, "note": "", "skipped": reason} for score, reason in lacking.items()]
    return pd.concat([table.assign(skipped=""), pd.DataFrame(missing)], ignore_index=True)


def unseen_inputs(adapter: Adapter, scorers: Sequence[Adapter | None], features: Features) -> OODInputs:
    """Inputs of the scores of rows: logits of `adapter`, those of a COOkeD, and the negations of a CLIPN."""
    adapters = (*scorers, adapter)
    cooked = next((scorer for scorer in adapters if isinstance(scorer, Cooked)), None)
    denying = [scorer for scorer in adapters if isinstance(scorer, CLIPN) and not scorer.fallback_]
    if denying:
        features = replace(features, negation_prototypes=denying[0].no_rows())
    return OODInputs.of(
        features,
        logits=_logits(adapter, features),
        logit_kind=adapter.logit_kind(),
        cooked_logits=_logits(cooked, features) if cooked and cooked.logit_kind() == "log-probabilities" else None,
        trained_no=bool(denying),
    )


def _logits(adapter: Adapter, features: Features) -> Floats | None:
    try:
        return adapter.decision_function(features)
    except MissingFeaturesError:  # a second backbone, or lengths, that only the other rows have
        return None


def ood_report(
    inputs_id: OODInputs,
    inputs_ood: Mapping[str, Mapping[str, OODInputs]],
    *,
    seed: int,
    groups_id: Groups = None,
    groups_ood: Mapping[str, Groups] | None = None,
    n: int = REPLICATES,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """`compared_table` of every score whose needs all sets meet, and those left out with what it lacks of some set.

    The baseline is the score by BASELINES of the same classifier. `score` comes first, then `classifier`, and `note`
    last, what a report must say beside the score ("" where nothing).
    """
    records = [inputs_id, *(record for sets in inputs_ood.values() for record in sets.values())]
    lacking = {name: score.lacking(*records) for name, score in OOD_SCORES.items()}
    chosen = {name: score for name, score in OOD_SCORES.items() if not lacking[name]}
    measured = {
        name: measure_sets(
            score(inputs_id),
            {kind: {key: score(record) for key, record in sets.items()} for kind, sets in inputs_ood.items()},
            seed=seed,
            groups_id=groups_id,
            groups_ood=groups_ood,
            n=n,
        )
        for name, score in chosen.items()
    }
    tables = []
    for name, score in chosen.items():
        table = compared_table(measured[name], measured[BASELINES[score.classifier]])
        table.insert(0, "score", name)
        table.insert(1, "classifier", score.classifier)
        tables.append(table.assign(note=score.note(inputs_id.trained_no)))
    skipped = {name: reason for name, reason in lacking.items() if reason}
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(), skipped
