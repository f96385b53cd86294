"""Every out-of-distribution score on near and far sets, in one table."""

from collections.abc import Mapping

import pandas as pd

from evenly.adapters.evaluation.measures.bootstrap import REPLICATES
from evenly.adapters.ood import OOD_SCORES
from evenly.adapters.ood.inputs import OODInputs
from evenly.adapters.ood.metrics import Groups
from evenly.adapters.ood.table import ood_table


def ood_report(
    inputs_id: OODInputs,
    inputs_ood: Mapping[str, Mapping[str, OODInputs]],
    *,
    seed: int,
    groups_id: Groups = None,
    groups_ood: Mapping[str, Groups] | None = None,
    n: int = REPLICATES,
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """`ood_table` of every score whose needs all sets meet, and those left out with the fields that some set lacks.

    The table has `score` first and `note` last, what a report must say beside the score ("" where nothing).
    """
    records = [inputs_id, *(record for sets in inputs_ood.values() for record in sets.values())]
    lacking = {
        name: tuple(field for field in score.needs if any(record.missing((field,)) for record in records))
        for name, score in OOD_SCORES.items()
    }
    tables = []
    for name in (name for name, fields in lacking.items() if not fields):
        score = OOD_SCORES[name]
        scores = {kind: {key: score(record) for key, record in sets.items()} for kind, sets in inputs_ood.items()}
        table = ood_table(score(inputs_id), scores, seed=seed, groups_id=groups_id, groups_ood=groups_ood, n=n)
        table.insert(0, "score", name)
        tables.append(table.assign(note=score.note(inputs_id.trained_no)))
    skipped = {name: fields for name, fields in lacking.items() if fields}
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(), skipped
