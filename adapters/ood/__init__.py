"""Out-of-distribution scores on frozen features, and measures of how well they tell. Higher is more in-distribution.

A score is one function, one line in OOD_SCORES and one row of docs/methods.md.
"""

from evenly.adapters.contract import LogitKind
from evenly.adapters.ood.clipn import atd_of_rows, clipn_label, ctw_of_rows
from evenly.adapters.ood.cooked import cooked_entropy, cooked_msp
from evenly.adapters.ood.inputs import BASELINES, Classifier, OODInputs, OODScore
from evenly.adapters.ood.near_miss import near_miss, near_miss_max
from evenly.adapters.ood.scores import energy, entropy, max_logit, msp, zero_shot_entropy, zero_shot_msp
from evenly.adapters.ood.table import ood_table

_ZERO_SHOT = ("image", "prototypes")
_YES_NO = ("image", "prototypes", "negation_prototypes")
_SCALED: tuple[LogitKind, ...] = ("logits with a scale",)
_REJECTION = ("image", "prototypes", "rejection_prototypes")


def _clipn_note(trained_no: bool) -> str:  # noqa: FBT001 - the type of OODScore.note
    return clipn_label(trained_no=trained_no)


OOD_SCORES: dict[str, OODScore] = {
    "msp": OODScore(needs=("logits",), function=msp),
    "max_logit": OODScore(needs=("logits",), function=max_logit, valid_for=_SCALED),
    "energy": OODScore(needs=("logits",), function=energy, valid_for=_SCALED),
    "entropy": OODScore(needs=("logits",), function=entropy),
    "zero_shot_msp": OODScore(needs=_ZERO_SHOT, function=zero_shot_msp),
    "zero_shot_entropy": OODScore(needs=_ZERO_SHOT, function=zero_shot_entropy),
    "clipn_ctw": OODScore(needs=_YES_NO, function=ctw_of_rows, note=_clipn_note),
    "clipn_atd": OODScore(needs=_YES_NO, function=atd_of_rows, note=_clipn_note),
    "near_miss": OODScore(needs=_REJECTION, function=near_miss),
    "near_miss_max": OODScore(needs=_REJECTION, function=near_miss_max),
    "cooked_msp": OODScore(needs=("cooked_logits",), function=cooked_msp),
    "cooked_entropy": OODScore(needs=("cooked_logits",), function=cooked_entropy),
}


__all__ = ["BASELINES", "OOD_SCORES", "Classifier", "OODInputs", "OODScore", "ood_table"]
