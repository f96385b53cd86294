"""Out-of-distribution scores on frozen features, and measures of how well they tell. Higher is more in-distribution.

A score is one function, one line in OOD_SCORES and one row of docs/methods.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evenly.adapters.features import Floats
from evenly.adapters.ood.clipn import atd_of_rows, clipn_label, ctw_of_rows
from evenly.adapters.ood.cooked import cooked_entropy, cooked_msp
from evenly.adapters.ood.inputs import OODInputs, OODScore
from evenly.adapters.ood.near_miss import near_miss, near_miss_max
from evenly.adapters.ood.scores import energy, entropy, max_logit, msp
from evenly.adapters.ood.table import ood_table

_YES_NO = ("image", "prototypes", "negation_prototypes")
_REJECTION = ("image", "prototypes", "rejection_prototypes")


def _clipn_note(trained_no: bool) -> str:  # noqa: FBT001 - the type of OODScore.note
    return clipn_label(trained_no=trained_no)


OOD_SCORES: dict[str, OODScore] = {
    "msp": OODScore(needs=("logits",), function=msp),
    "max_logit": OODScore(needs=("logits",), function=max_logit),
    "energy": OODScore(needs=("logits",), function=energy),
    "entropy": OODScore(needs=("logits",), function=entropy),
    "clipn_ctw": OODScore(needs=_YES_NO, function=ctw_of_rows, note=_clipn_note),
    "clipn_atd": OODScore(needs=_YES_NO, function=atd_of_rows, note=_clipn_note),
    "near_miss": OODScore(needs=_REJECTION, function=near_miss),
    "near_miss_max": OODScore(needs=_REJECTION, function=near_miss_max),
    "cooked_msp": OODScore(needs=("cooked_logits",), function=cooked_msp),
    "cooked_entropy": OODScore(needs=("cooked_logits",), function=cooked_entropy),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredRows:
    """`values`: name -> (n,) of each score whose needs were met; `skipped`: name -> the fields that it lacked.

    `notes`: name -> what a report must say beside the score, for those that have something to say.
    """

    values: Mapping[str, Floats]
    skipped: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, str]


def score_rows(inputs: OODInputs) -> ScoredRows:
    """Every score of OOD_SCORES that `inputs` allow, in the order of the dict; every other one by what it lacks."""
    missing = {name: inputs.missing(score.needs) for name, score in OOD_SCORES.items()}
    values = {name: score(inputs) for name, score in OOD_SCORES.items() if not missing[name]}
    notes = {name: OOD_SCORES[name].note(inputs.trained_no) for name in values}
    return ScoredRows(
        values=values,
        skipped={name: fields for name, fields in missing.items() if fields},
        notes={name: note for name, note in notes.items() if note},
    )


__all__ = ["OOD_SCORES", "OODInputs", "OODScore", "ScoredRows", "ood_table", "score_rows"]
