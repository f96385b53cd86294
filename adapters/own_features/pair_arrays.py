"""Pairs of a picture and a caption in a file of features, for retrieval: all of them, or those of a part."""

import numpy as np

from evenly.adapters.evaluation.protocols.retrieval import RetrievalRows
from evenly.adapters.features import unit_rows
from evenly.adapters.own_features.arrays import Arrays, class_names_in, require_keys


def pair_rows_in(arrays: Arrays, part: str | None) -> RetrievalRows:
    """Rows of `image_features` and `caption_features`, or of `{part}_features` and `{part}_caption_features`.

    Captions, labels and groups where the file has them; else each pair has a caption and a group of its own. Equal rows
    are one picture. Raises MissingFeaturesError where the rows are not there.
    """
    of = "" if part is None else f"{part}_"
    image, text = ("image_features", "caption_features") if part is None else (f"{of}features", f"{of}caption_features")
    require_keys(arrays, (image, text))
    n = len(arrays[image])
    own = np.arange(n).astype(np.str_)
    labels = arrays.get(f"{of}labels", np.full(n, "", np.str_))
    if part is not None and f"{of}labels" in arrays:
        labels = np.array(class_names_in(arrays), np.str_)[labels]
    rows = unit_rows(arrays[image])
    pictures = np.unique(rows, axis=0, return_inverse=True)[1].ravel().astype(np.str_)
    return RetrievalRows(
        image=rows,
        text=unit_rows(arrays[text]),
        captions=arrays.get(f"{of}captions", own),
        pictures=pictures,
        labels=labels,
        groups=arrays.get(f"{of}groups", own),
    )
