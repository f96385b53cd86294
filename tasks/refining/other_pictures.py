"""Pictures of another kind than a pool's, in a folder per class: encoders that were refined on the pool name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenly.features import to_unit_rows
from evenly.features.refining.pairs import raw_rows
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.image_folders import read_image_folder, read_picture
from evenly.storage.tables.hashing import table_hash
from evenly.tasks.adapters.pictures import encode_pictures
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.refining.caption_probes import raw_text_rows
from evenly.tasks.refining.pairs import ClassRows
from evenly.tasks.run import Run

TEMPLATE = "a photo of a {}"


@dataclass(frozen=True, kw_only=True)
class OtherPictures:
    """A folder of `<class>/<picture>`, what it is called, and how its classes are said."""

    name: str
    folder: str
    template: str = TEMPLATE


def other_rows(run: Run, other: OtherPictures) -> ClassRows:
    """The pictures of a folder as the frozen encoder gives them, each a group of its own; they are encoded once.

    Those that cannot be decoded are left out, and that is said. Raises InputError where none is left.
    """
    folder = Path(other.folder)
    rows = read_image_folder(folder).rows
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    path_of = dict(zip(rows["image_id"].to_pylist(), rows["path"].to_pylist(), strict=True))
    missing = store.missing(list(path_of))
    encoded = encode_pictures(run, (read_picture(folder, path_of[one]) for one in missing), total=len(missing))
    if encoded.places:
        store.append(
            [missing[place] for place in encoded.places], *to_unit_rows(encoded.image * encoded.norms[:, None])
        )
    for path, reason in encoded.failed[:1]:
        run.progress.warn(f"{other.name}: {len(encoded.failed):,} pictures are left out, such as `{path}`: {reason}")
    failed = {path for path, _ in encoded.failed}
    rows = rows.filter(pa.array([path not in failed for path in rows["path"].to_pylist()]))
    if not rows.num_rows:
        raise InputError(f"`{other.folder}` must hold pictures that can be decoded; got none. Name another folder.")
    labels = rows["label"].to_pylist()
    classes = sorted(set(labels))
    texts = [other.template.replace("{}", name) for name in classes]
    return ClassRows(
        image=raw_rows(*store.read(rows["image_id"].combine_chunks())),
        uids=np.array(rows["image_id"].to_pylist(), np.str_),
        labels=np.array([classes.index(label) for label in labels], np.int64),
        groups=np.array(rows["image_id"].to_pylist(), np.str_),
        texts=raw_text_rows(run, texts),
        said=np.array(texts, np.str_),
        classes=np.array(classes, np.str_),
    )


def other_inputs(others: Sequence[OtherPictures]) -> dict[str, str]:
    """The hash of each folder's pictures and their classes."""
    return {f"pictures {one.name}": table_hash(read_image_folder(Path(one.folder)).rows) for one in others}
