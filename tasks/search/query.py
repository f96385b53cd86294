"""Queries of texts, pictures and pairs, and their feature rows by the encoder of a build."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.features.search.nearest import query_row
from evenly.features.unit_rows import Single
from evenly.storage.builds import encoder_of
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import BuildSamples, sql_in
from evenly.tasks.decoding import PictureReader
from evenly.tasks.encoders import open_encoder, query_encoder
from evenly.tasks.labelled_rows import check_encoder
from evenly.tasks.run import Run


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query: pairs whose pictures are like these texts, pictures (as bytes) and pairs (uids) together.

    minus: texts that they are not to be like.
    """

    texts: Sequence[str] = ()
    images: Sequence[bytes] = ()
    uids: Sequence[str] = ()
    minus: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not (self.texts or self.images or self.uids):
            raise InputError("`search` must get a text, a picture or a uid; got none. Say what is searched for.")
        for name in ("texts", "minus"):
            if any(not text.strip() for text in getattr(self, name)):
                raise InputError(f"`{name}` must hold words; got an empty text. Leave it out.")


def encode_query(run: Run, manifest: Mapping[str, Any], query: Query) -> Single:
    """The unit row (d,) of a query: the mean of its directions, less that of `minus`.

    No model is loaded for uids alone. Raises InputError for a uid that the build never saw, or whose picture has no
    features.
    """
    identity = encoder_of(manifest)
    rows = list[npt.NDArray[np.floating]]()
    if query.uids:
        rows.append(_rows_of_pairs(run, manifest, identity, query.uids))
    minus = np.zeros((0, 0), np.float32)
    if query.texts or query.images or query.minus:
        check_encoder(run, manifest)
        encoder = query_encoder(run)
        if query.texts:
            rows.append(encoder.encode_texts(query.texts))
        if query.images:
            with PictureReader(run, run.encoder.resize) as reader:
                rows.append(open_encoder(run).encode_images(reader.pixels(query.images, "image")))
        if query.minus:
            minus = encoder.encode_texts(query.minus)
        texts = [*query.texts, *query.minus]
        for text, is_cut in zip(texts, encoder.truncated(texts), strict=True):
            if is_cut:
                run.progress.say(f"longer than the model reads, and cut: {text}")
    return query_row(np.concatenate(rows), minus)


def _rows_of_pairs(run: Run, manifest: Mapping[str, Any], encoder: str, uids: Sequence[str]) -> npt.NDArray[np.float16]:
    table = BuildSamples(run.workspace, manifest).read(["uid", "image_id"], sql_in("uid", uids))
    image_ids = dict(zip(table["uid"].to_pylist(), table["image_id"].to_pylist(), strict=True))
    for uid in uids:
        if uid not in image_ids:
            raise InputError(f"`uid` must be of a pair that build `{manifest['build']}` saw; got `{uid}`. Correct it.")
        if image_ids[uid] is None:
            raise InputError(f"`uid` must be of a pair with a picture; `{uid}` has none. `evenly why {uid}` says why.")
    try:
        return FeatureStore(run.workspace, encoder, "images").read([image_ids[uid] for uid in uids])[0]
    except NotFoundError:
        raise InputError(
            f"`uid` must be of pairs whose pictures have features; of `{', '.join(uids)}` some were dropped earlier. "
            "Hand in the picture itself: --image FILE."
        ) from None
