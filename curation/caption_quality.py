"""How well captions fit their pictures, before and after other ones were chosen: CLIPScore, as a report, never a judge.

Hessel et al. 2021, arXiv:2104.08718: 2.5 max(cosine, 0). Theirs is of ViT-B/32 and texts that begin with "A photo
depicts"; this one is of the recipe's encoder and of captions as they stand, so it compares captions of one build only.
"""

import numpy as np
import numpy.typing as npt

from evenly.curation.recaption import Recaptioned

Floats = npt.NDArray[np.float64]


def clip_scores(cosines: Floats) -> Floats:
    """Return CLIPScore of cosines, each in [0, 2.5]."""
    return np.asarray(2.5 * np.maximum(cosines, 0.0))


def compare_captions(found: Recaptioned) -> dict[str, float | int | None]:
    """Return mean CLIPScores of the original and of the chosen captions, over pairs with another caption than before.

    rewritten counts these pairs; the means are None where there are none. 4 digits.
    """
    chosen = found.chosen["caption_score"].to_numpy()
    original = chosen - found.decisions.value.to_numpy(zero_copy_only=False)
    other = np.asarray(found.chosen["caption_origin"].to_pylist(), dtype=np.str_) != "original"
    means = [
        round(float(clip_scores(scores[other]).mean()), 4) if other.any() else None for scores in (original, chosen)
    ]
    return {"rewritten": int(other.sum()), "clipscore_before": means[0], "clipscore_after": means[1]}
