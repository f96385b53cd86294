"""Features of views of pictures: of a build, encoded once and stored, and of files of one's own."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from evenly.adapters.features import Floats
from evenly.features import to_unit_rows
from evenly.features.encoder import SecondBackbone
from evenly.features.errors import BoxError
from evenly.features.pictures.views import View, view_files
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.image_folders import Picture
from evenly.storage.web.images import find_places, read_images
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import encoder_identity, open_encoder
from evenly.tasks.run import Run

KIND = "images-views"
"""What the store of views is called; a row's name is the id of its picture, a colon, and the view."""
_MOST_FILES, _MOST_BYTES = 512, 256_000_000
_AT_ONCE = 256

Item = tuple[str, bytes]
"""The name of a view, and a file of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewRows:
    """Unit rows (v, n, d) float32 of views of n pictures; `left_out`: boxes beside their picture, which have none.

    A picture with fewer views than another has them again from the first; one with none is its own view.
    """

    rows: Floats
    left_out: int


def view_rows(
    run: Run,
    picture_rows: Floats,
    image_ids: Sequence[str],
    views: Sequence[Sequence[View]],
    *,
    backbone: SecondBackbone | None = None,
) -> ViewRows:
    """Rows of the views of pictures of the run's workspace; what is stored stays.

    `picture_rows` (n, d) are those of whole pictures. A view is the same whatever else is asked for, and so
    are its features. By the encoder, or the backbone given.
    """
    names = [[f"{image_id}:{view}" for view in of_image] for image_id, of_image in zip(image_ids, views, strict=True)]
    distinct = list(dict.fromkeys(name for of_image in names for name in of_image))
    identity = encoder_identity(run) if backbone is None else backbone.identity
    store = FeatureStore(run.workspace, identity, KIND)
    absent = store.missing(distinct)
    if absent:
        encoder = open_encoder(run) if backbone is None else backbone
        by_name = {str(view): view for of_image in views for view in of_image}
        with run.progress.bar("encoding views", len(absent)) as advance:
            for batch in _batches(_files(run, sorted(absent), by_name)):
                rows = to_unit_rows(encoder.encode_images([file for _, file in batch], progress=advance))
                store.append([name for name, _ in batch], *rows, device=encoder.device_name)
        absent = store.missing(absent)
    missing = set(absent)
    stored = [name for name in distinct if name not in missing]
    place = {name: number for number, name in enumerate(stored)}
    vectors = np.concatenate([single(store.read(stored)[0]), picture_rows]) if stored else picture_rows
    of_images = [
        [place[name] for name in of_image if name in place] or [len(stored) + row] for row, of_image in enumerate(names)
    ]
    table = [[of_image[k % len(of_image)] for of_image in of_images] for k in range(max(map(len, of_images)))]
    return ViewRows(rows=vectors[np.array(table)], left_out=len(absent))


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedViews:
    """Unit rows (m, d) of views, each of a picture of `names` (m,), called `views` (m,); `failed`: (name, why)."""

    names: tuple[str, ...]
    views: tuple[str, ...]
    image: Floats
    failed: tuple[tuple[str, str], ...]


def encode_views(run: Run, pictures: Iterable[tuple[Picture, Sequence[View | BoxError]]]) -> EncodedViews:
    """Encode views of pictures that decode; a box that is none, or lies beside its picture, is in `failed`."""
    done = list[tuple[str, str]]()
    failed = list[tuple[str, str]]()

    def items() -> Iterator[Item]:
        for picture, views in pictures:
            image_id = hashlib.sha256(picture.content).hexdigest()
            for number, view in enumerate(views):
                file = b"" if isinstance(view, BoxError) else view_files(picture.content, [view], image_id)[0]
                if not file:
                    reason = (
                        str(view) if isinstance(view, BoxError) else f"`{view}` must lie on its picture; it does not"
                    )
                    failed.append((f"{picture.name} view {number}", reason))
                    continue
                done.append((picture.name, str(view)))
                yield picture.name, file

    rows = [np.zeros((0, open_encoder(run).dimension), np.float32)]
    with run.progress.bar("encoding views", None) as advance:
        for batch in _batches(items()):
            images = [file for _, file in batch]
            rows.append(single(to_unit_rows(open_encoder(run).encode_images(images, progress=advance))[0]))
    return EncodedViews(
        names=tuple(name for name, _ in done),
        views=tuple(view for _, view in done),
        image=np.concatenate(rows),
        failed=tuple(failed),
    )


def _files(run: Run, names: Sequence[str], views: dict[str, View]) -> Iterator[Item]:
    """A file of each view, those of a picture one after another."""
    wanted = {image_id: list(group) for image_id, group in groupby(names, key=lambda name: name.partition(":")[0])}
    ids = list(wanted)
    places = find_places(run.workspace.downloads, ids)
    for start in range(0, len(ids), _AT_ONCE):
        chunk = ids[start : start + _AT_ONCE]
        for image_id, data in zip(chunk, read_images(run.workspace.downloads, chunk, places), strict=True):
            of_picture = [views[name.partition(":")[2]] for name in wanted[image_id]]
            files = view_files(data, of_picture, image_id)
            yield from ((name, file) for name, file in zip(wanted[image_id], files, strict=True) if file)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items together, as many as fit in memory."""
    batch, n_bytes = list[Item](), 0
    for item in items:
        batch.append(item)
        n_bytes += len(item[1])
        if len(batch) == _MOST_FILES or n_bytes >= _MOST_BYTES:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch
