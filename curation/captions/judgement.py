"""The judgement of the step that chooses captions: chosen again among the stored candidates by their stored scores."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from evenly.curation.arrays import column
from evenly.curation.captions.choice import CANDIDATES, CHOSEN, ChoiceRule, choose_captions
from evenly.curation.captions.quality import UNSEEN
from evenly.curation.errors import RuleError
from evenly.curation.step import (
    Given,
    Judged,
    Judgement,
    PartTables,
    Stored,
    always,
    by_row,
    fixed_fields,
    of_features,
    rows_of_pairs,
)


def _chosen(inputs: Given) -> Callable[[pa.Table, PartTables], Judged]:
    def judge(pairs: pa.Table, tables: PartTables) -> Judged:
        uids = column(pairs, "uid", pa.string())
        rows = rows_of_pairs(tables, inputs.record, "candidates", uids)
        for field in CANDIDATES:
            if field.name not in rows.column_names:  # of an earlier version
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        choice = choose_captions(uids, rows.select(CANDIDATES.names), inputs.rule, seed=inputs.seed)
        columns = {name: column(choice.chosen, name, CHOSEN.field(name).type) for name in CHOSEN.names if name != "uid"}
        detail = f"chosen again among {rows.num_rows:,} candidates by their stored scores"
        return Judged(uids=uids, decisions=choice.decisions, columns=columns, detail=detail)

    return judge


def _load(stored: Mapping[str, Any]) -> ChoiceRule:
    if "choose" not in stored:
        raise RuleError("`choose` must be in the rule of a choice of captions; this version of the step stored none.")
    return ChoiceRule(**{**stored["choose"], "forbid": tuple(stored["choose"]["forbid"])})


def _chooses(stored: Stored) -> bool:
    """Whether another caption than a pair's own may be chosen."""
    return bool(stored.get("choose", {}).get("by") != "original")


def _fitted(stored: Stored) -> str:
    choose = stored.get("choose", {})
    words = (
        ["the concepts that captions are made of"]
        if any(captioner["kind"] == "retrieved" for captioner in stored.get("captioners", ()))
        else []
    )
    words += ["the score of grammar"] if choose.get("by") == "reward" else []
    words += ["the concepts that the encoder recognises"] if UNSEEN in choose.get("forbid", ()) else []
    return " and ".join(words) if _chooses(stored) else ""


RECAPTION = Judgement(
    name="recaption",
    section="recaption",
    question="Which caption fits best?",
    value="gain in score",
    load=_load,
    rejudge=by_row(_chosen),
    measures=always,
    fixed=fixed_fields("captioners", "judge", "read_text"),
    grouped=_chooses,
    fitted=_fitted,
    needs=of_features,
    seeded=True,
    decides=lambda stored, _: {"choose": {"by": stored["choose"]["by"]}},
)
