"""Features: pictures and texts become unit rows by any open_clip model, and rows are compared and retrieved.

`load_encoder` opens a model by name (`embedded` is the one assembled from two packages), `load_second` another model of
pictures alone, `to_unit_rows` makes what is stored, `cosine_scores` and `top_concepts` compare what was stored.
Nothing here knows a data set, a task or a flow; the only files touched are model weights.
"""

if __name__ != "evenly.features":
    raise ImportError(
        f"this package is `evenly.features`; it was imported as `{__name__}`. Install evenly, then import that."
    )

from evenly.features.class_weights import class_weights
from evenly.features.encoder import Encoder, SecondBackbone, load_encoder
from evenly.features.retrieve import top_concepts
from evenly.features.second_backbone import load_second
from evenly.features.unit_rows import cosine_scores, to_unit_rows

__all__ = [
    "Encoder",
    "SecondBackbone",
    "class_weights",
    "cosine_scores",
    "load_encoder",
    "load_second",
    "to_unit_rows",
    "top_concepts",
]
