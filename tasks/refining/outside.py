"""Pictures that a pool does not hold, which say what refining does to all else: classes of a folder, or captions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from evenly.adapters.twins import twins_of
from evenly.features import to_unit_rows
from evenly.features.refining.pairs import PairRows, raw_rows
from evenly.features.unit_rows import Single
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.image_folders import read_image_folder, read_picture
from evenly.storage.pools.folders import folder_hash, folder_rows
from evenly.storage.tables.hashing import table_hash
from evenly.tasks.adapters.pictures import encode_pictures
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.refining.needs import raw_text_rows
from evenly.tasks.refining.pairs import ClassRows, RefiningParts
from evenly.tasks.run import Run

TEMPLATE = "a photo of a {}"


@dataclass(frozen=True, kw_only=True)
class OtherPictures:
    """A folder of pictures with captions, else of `<class>/<picture>`; what it is called, and how classes are said."""

    name: str
    folder: str
    template: str = TEMPLATE


def _captions(source: OtherPictures) -> tuple[dict[str, tuple[str, str]], Counter[str]]:
    """By its path the id and caption of each picture that has one, as a pool in a folder; why others have none."""
    captions, rejected = dict[str, tuple[str, str]](), Counter[str]()
    for row in folder_rows(Path(source.folder), None):
        if row.reject:
            rejected[row.reject] += 1
        else:
            captions[row.file_name] = (row.image_id or "", row.caption or "")
    return captions, rejected


def other_rows(run: Run, source: OtherPictures) -> ClassRows | PairRows:
    """The pictures of a folder as the frozen encoder gives them, with their captions where any has one.

    They are encoded once, and go by their paths; each is a group of its own, or those of one caption are. Those that
    cannot be decoded are left out, as are those without a caption beside others, and that is said. Raises InputError
    where none is left.
    """
    captions, rejected = _captions(source)
    if not captions:
        return _of_classes(run, source)
    for reason, count in rejected.most_common():
        run.progress.warn(f"{source.name}: {count:,} pictures are left out beside those with captions: {reason}")
    return _with_captions(run, source, captions)


def with_outside(parts: RefiningParts, pictures: Mapping[str, ClassRows | PairRows]) -> RefiningParts:
    """The parts, judged also on pictures outside the pool by their names."""
    pairs = {name: rows for name, rows in pictures.items() if isinstance(rows, PairRows)}
    classes = {name: rows for name, rows in pictures.items() if isinstance(rows, ClassRows)}
    lists = {**parts.lists, "test": {**parts.lists.get("test", {}), **classes}}
    return replace(parts, lists=lists, outside={**parts.outside, **pairs})


def unseen_pictures(rows: ClassRows | PairRows, train: Single) -> ClassRows | PairRows:
    """Those whose picture is no twin of one that is trained on."""
    is_unseen = ~twins_of(rows.image, train)
    if isinstance(rows, PairRows):
        return rows.rows(is_unseen)
    of_pictures = {name: getattr(rows, name)[is_unseen] for name in ("image", "uids", "labels", "groups")}
    return replace(rows, **of_pictures)


def _with_captions(run: Run, source: OtherPictures, captions: dict[str, tuple[str, str]]) -> PairRows:
    id_of = {path: image_id for path, (image_id, _) in captions.items()}
    encoded = _encoded(run, source, {image_id: path for path, image_id in id_of.items()})
    paths = [path for path in captions if id_of[path] in encoded]
    if not paths:
        raise _nothing_left(source)
    texts = [captions[path][1] for path in paths]
    return PairRows(
        image=_rows(run, [id_of[path] for path in paths]),
        text=raw_text_rows(run, texts),
        uids=np.array([str(Path(source.folder, path)) for path in paths], np.str_),
        captions=np.array(texts, np.str_),
        groups=np.array(texts, np.str_),
        labels=np.full(len(paths), "", np.str_),
    )


def _of_classes(run: Run, source: OtherPictures) -> ClassRows:
    rows = read_image_folder(Path(source.folder)).rows
    paths = dict(zip(rows["image_id"].to_pylist(), rows["path"].to_pylist(), strict=True))
    encoded = _encoded(run, source, paths)
    rows = rows.filter(pa.array([image_id in encoded for image_id in rows["image_id"].to_pylist()]))
    if not rows.num_rows:
        raise _nothing_left(source)
    ids, labels = rows["image_id"].to_pylist(), rows["label"].to_pylist()
    classes = sorted(set(labels))
    texts = [source.template.replace("{}", name) for name in classes]
    return ClassRows(
        image=_rows(run, ids),
        uids=np.array([str(Path(source.folder, path)) for path in rows["path"].to_pylist()], np.str_),
        labels=np.array([classes.index(label) for label in labels], np.int64),
        groups=np.array(ids, np.str_),
        texts=raw_text_rows(run, texts),
        said=np.array(texts, np.str_),
        classes=np.array(classes, np.str_),
    )


def _encoded(run: Run, source: OtherPictures, path_of: dict[str, str]) -> set[str]:
    """The ids of the pictures that can be decoded; their rows are stored."""
    store, folder = FeatureStore(run.workspace, encoder_identity(run), "images"), Path(source.folder)
    missing = store.missing(list(path_of))
    encoded = encode_pictures(run, (read_picture(folder, path_of[name]) for name in missing), total=len(missing))
    if encoded.places:
        rows = encoded.image * encoded.norms[:, None]
        store.append([missing[place] for place in encoded.places], *to_unit_rows(rows))
    for path, reason in encoded.failed[:1]:
        run.progress.warn(f"{source.name}: {len(encoded.failed):,} pictures are left out, such as `{path}`: {reason}")
    failed = {path for path, _ in encoded.failed}
    return {image_id for image_id, path in path_of.items() if path not in failed}


def _rows(run: Run, ids: Sequence[str]) -> Single:
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    return raw_rows(*store.read(pa.array(ids, pa.string())))


def _nothing_left(source: OtherPictures) -> InputError:
    return InputError(f"`{source.folder}` must hold pictures that can be decoded; got none. Name another folder.")


def other_inputs(sources: Sequence[OtherPictures]) -> dict[str, str]:
    """The hash of each folder: of its pictures and their captions, or their classes."""
    return {f"pictures {source.name}": _hash(source) for source in sources}


def _hash(source: OtherPictures) -> str:
    folder = Path(source.folder)
    return folder_hash(folder) if _captions(source)[0] else table_hash(read_image_folder(folder).rows)
