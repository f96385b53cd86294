"""Texts and pictures at hand as rows of an encoder, and as what a search asks for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from evenly.bounds import check_bounds
from evenly.options import EncodingOptions
from evenly.signatures import fields_of, taking
from evenly.storage.decoders.structure import MAX_BYTES, MAX_PIXELS
from evenly.storage.errors import InputError
from evenly.storage.reading.budget import read_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from evenly.tasks.search.pairs import Query

Item: TypeAlias = "str | bytes | os.PathLike[str] | Image"


@taking(EncodingOptions)
def encode_items(items: "Item | Sequence[Item]", options: EncodingOptions) -> "npt.NDArray[np.float32]":
    """Unit rows (n, d) float32 of texts, or of pictures: comparable with each other by their products.

    items: strings are texts; bytes, paths and PIL pictures are pictures; one alone gives one row. model: `embedded`,
    which needs no network, or a model of open_clip. It is loaded once per process. long_texts: texts that the model
    does not read whole are `cut`, encoded in `chunks` and averaged, or read further by `stretched` positions.
    Raises InputError where texts and pictures are mixed, UnreadableImageError where a picture does not decode.
    """
    from evenly.adapters.features import unit_rows
    from evenly.flows.process.environment import no_widgets
    from evenly.flows.runs import workspace_run
    from evenly.tasks.decoding import PictureReader
    from evenly.tasks.encoders import open_encoder
    from evenly.tasks.run import EncoderChoice

    entries = _items(items)
    kinds = {"text" if isinstance(entry, str) else "picture" for entry in entries}
    if len(kinds) > 1:
        raise InputError("`items` must be all texts or all pictures; got both. Encode them by two calls.")
    choice = EncoderChoice(**fields_of(EncoderChoice, options))
    check_bounds(choice, InputError, remedy="Choose one.", quote="`")
    run = workspace_run(options.root, quiet=True, encoder=choice)
    with no_widgets():
        encoder = open_encoder(run)
    if kinds == {"text"}:
        rows = encoder.encode_texts(entries)
    else:
        with PictureReader(run, choice.resize) as reader:
            rows = encoder.encode_images(reader.pixels([_picture_bytes(entry) for entry in entries], "items"))
    return unit_rows(rows, name="items")


def search_query(
    query: "Item | Sequence[Item] | None", *, uids: str | Sequence[str], minus: str | Sequence[str]
) -> "Query":
    """The query of `Build.search`: strings are texts; bytes, paths and PIL pictures are pictures."""
    from evenly.tasks.search.pairs import Query

    entries = [] if query is None else _items(query)
    return Query(
        texts=[entry for entry in entries if isinstance(entry, str)],
        images=[_picture_bytes(entry) for entry in entries if not isinstance(entry, str)],
        uids=[uids] if isinstance(uids, str) else list(uids),
        minus=[minus] if isinstance(minus, str) else list(minus),
    )


def _items(items: "Item | Sequence[Item]") -> list[Any]:
    """One text or picture, or several, as a list."""
    from PIL.Image import Image

    return [items] if isinstance(items, str | bytes | os.PathLike | Image) else list(items)


def _picture_bytes(picture: Any) -> bytes:  # noqa: ANN401 - checked here
    import io

    from PIL.Image import Image

    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, os.PathLike):
        try:
            return read_whole(Path(picture), limit_bytes=MAX_BYTES, field="items")
        except OSError as error:
            raise InputError(f"`items` must be readable; {error.strerror}: `{picture}`. Correct the path.") from None
    if isinstance(picture, Image):
        if picture.width * picture.height > MAX_PIXELS:
            raise InputError(
                f"`items` must be pictures of at most {MAX_PIXELS:,} pixels; got {picture.width} x {picture.height}. "
                "Scale it down."
            )
        stream = io.BytesIO()
        as_is = picture.mode in {"RGB", "RGBA", "L", "LA", "P", "1", "I;16"}
        (picture if as_is else picture.convert("RGB")).save(stream, "PNG")
        return stream.getvalue()
    raise InputError(
        f"`items` must be texts, or pictures as bytes, paths or PIL images; got {type(picture).__name__}. Convert them."
    )
