"""A folder of scenes: a pool of pictures with captions, and beside it the truth, which no recipe reads.

The folder reader takes metadata.csv and the pictures. truth.parquet holds a row per scene, known by the same file name,
with the masks: as pictures in the folder they would be pictures of the pool.
"""

import csv
import functools
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenly.demo.captions import boilerplate_caption
from evenly.demo.draws import DEMO_SEED, demo_draw, pick
from evenly.demo.errors import FolderError
from evenly.demo.files import lock_folder, remove_parts, write_bytes, write_table_file
from evenly.demo.processes import Progress, no_progress, run_all
from evenly.demo.scenes.captions import long_caption, short_caption, vague_caption, wrong_captions
from evenly.demo.scenes.catalogue import CLASSES_FILE, hand_of, read_things
from evenly.demo.scenes.drawing import DrawnObject, draw_scene
from evenly.demo.scenes.layout import HEIGHT_PX, WIDTH_PX
from evenly.demo.scenes.plans import CAPTION_KINDS, LABELLED, NEIGHBOURS, ScenePlan, plan_scene, weighted

SCENES = 1000
TRUTH = "truth.parquet"
LIST = "metadata.csv"
CLASSES = "classes.txt"
THINGS = "things.txt"
SPLIT = "split.csv"
PICTURES = "pictures"
SEVERAL = "several things"
"""The label of scenes that are not of one class."""

_STAMP = ".scenes"
_BOX = [(side, pa.int32()) for side in ("x0", "y0", "x1", "y1")]
TRUTH_SCHEMA = pa.schema([
    ("file_name", pa.string()),
    ("scene", pa.int64()),
    ("part", pa.string()),
    ("neighbours", pa.int64()),
    ("sha256", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("background", pa.string()),
    ("things", pa.list_(pa.struct([
        ("name", pa.string()), ("kinds", pa.list_(pa.string())), ("count", pa.int32()), ("colour", pa.string()),
        ("is_recoloured", pa.bool_()),
    ]))),
    ("objects", pa.list_(pa.struct([
        ("thing", pa.int32()), ("code", pa.string()), ("gender", pa.string()), ("skin_tone", pa.string()),
        ("is_mirrored", pa.bool_()), *_BOX, ("pixels", pa.int32()), ("colour", pa.string()),
    ]))),
    ("relations", pa.list_(pa.struct([
        ("subject", pa.int32()), ("relation", pa.string()), ("object", pa.int32()),
    ]))),
    ("defects", pa.list_(pa.struct([("object", pa.int32()), ("kind", pa.string()), *_BOX]))),
    ("caption", pa.string()),
    ("caption_kind", pa.string()),
    ("wrong_kind", pa.string()),
    ("short_caption", pa.string()),
    ("vague_caption", pa.string()),
    ("long_caption", pa.string()),
    ("late_sentence", pa.string()),
    ("late_place", pa.int32()),
    ("wrong_captions", pa.list_(pa.struct([("kind", pa.string()), ("caption", pa.string())]))),
    ("mask", pa.binary()),
])  # fmt: skip
"""truth.parquet: docs/scenes.md says what the columns mean."""


def make_scene_folder(
    folder: Path, *, count: int = SCENES, seed: int = DEMO_SEED, progress: Progress = no_progress
) -> dict[str, int]:
    """Draw `count` scenes into `folder`; the number of captions of each kind.

    Scene i is the same whatever the count, and the same bytes each time. May be killed and called again; scenes beyond
    the count are removed. FolderError if the folder holds other things.
    """
    if count < 1:
        raise FolderError(f"`count` must be at least 1; got {count}. Ask for more scenes.")
    folder.mkdir(parents=True, exist_ok=True)
    strangers = {path.name for path in folder.iterdir()} - {".lock"}
    if strangers and not (folder / _STAMP).exists():
        raise FolderError(
            f"`folder` must be empty or hold scenes; got {str(folder)!r} with {min(strangers)!r}. Name another."
        )
    with lock_folder(folder):
        write_bytes(folder / _STAMP, b"")
        remove_parts(folder)
        (folder / PICTURES).mkdir(exist_ok=True)
        rows = list(run_all(functools.partial(_draw, folder=folder, seed=seed), range(count), progress=progress))
        drawn = {folder / row["file_name"] for row in rows}
        for picture in set((folder / PICTURES).iterdir()) - drawn:
            picture.unlink()
        write_table_file(folder / TRUTH, pa.Table.from_pylist(rows, schema=TRUTH_SCHEMA))
        for name, content in _lists(rows, seed).items():
            write_bytes(folder / name, content.encode())
    return dict(sorted(Counter(row["caption_kind"] for row in rows).items()))


def _draw(number: int, *, folder: Path, seed: int) -> dict[str, Any]:
    """Write the picture of a scene; its row of the truth."""
    plan = plan_scene(number, seed)
    scene = draw_scene(plan)
    name = f"{PICTURES}/{number:06}.png"
    write_bytes(folder / name, scene.png)
    defects = []
    if plan.defect is not None and scene.defect is not None:
        defects = [{"object": plan.defect.place, "kind": plan.defect.kind, **scene.defect._asdict()}]
    return _captions(plan) | {
        "file_name": name,
        "scene": number,
        "part": plan.part,
        "neighbours": number // NEIGHBOURS,
        "sha256": hashlib.sha256(scene.png).hexdigest(),
        "width": WIDTH_PX,
        "height": HEIGHT_PX,
        "background": plan.background,
        "things": [
            {
                "name": group.name,
                "kinds": list(group.thing.kinds),
                "count": group.count,
                "colour": scene.colour_of_group(place),
                "is_recoloured": group.colour is not None,
            }
            for place, group in enumerate(plan.groups)
        ],
        "objects": [_object(item) for item in scene.objects],
        "relations": [
            {"subject": subject, "relation": relation, "object": thing} for subject, relation, thing in scene.relations
        ],
        "defects": defects,
        "mask": scene.mask,
    }


def _object(item: DrawnObject) -> dict[str, Any]:
    hand = hand_of(item.code)
    return {
        "thing": item.group,
        "code": item.code,
        "gender": hand.gender or None,
        "skin_tone": hand.skin_tone or None,
        "is_mirrored": item.mirrored,
        **item.box._asdict(),
        "pixels": item.pixels,
        "colour": item.colour,
    }


def _captions(plan: ScenePlan) -> dict[str, Any]:
    """The caption that the pool has, and all that could be said."""
    short, vague, long, wrong = short_caption(plan), vague_caption(plan), long_caption(plan), wrong_captions(plan)
    kind = weighted(CAPTION_KINDS, plan.seed, *plan.key, "caption kind")
    wrong_kind = pick(sorted(wrong), plan.seed, *plan.key, "wrong kind") if kind == "wrong" else None
    captions = {
        "right": short,
        "vague": vague,
        "wrong": wrong.get(wrong_kind or ""),
        "boilerplate": boilerplate_caption(plan.seed, *plan.key),
    }
    return {
        "caption": captions[kind],
        "caption_kind": kind,
        "wrong_kind": wrong_kind,
        "short_caption": short,
        "vague_caption": vague,
        "long_caption": long.text,
        "late_sentence": long.sentence,
        "late_place": long.place,
        "wrong_captions": [{"kind": key, "caption": caption} for key, caption in sorted(wrong.items())],
    }


def _lists(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, str]:
    """The lists of the folder by file name: of pictures, of the parts they are of, of classes, of all things."""
    labels = [_label(row, seed) for row in rows]
    captions = [
        (row["file_name"], row["caption"], label, row["objects"][0]["code"] if label != SEVERAL else "")
        for row, label in zip(rows, labels, strict=True)
    ]
    return {
        LIST: _csv([("file_name", "caption", "label", "group"), *captions]),
        SPLIT: _csv([("key", "part"), *((f"sha256:{row['sha256']}", row["part"]) for row in rows)]),
        CLASSES: CLASSES_FILE.read_text(encoding="utf-8"),
        THINGS: "".join(f"{name}\n" for name in read_things()),
    }


def _label(row: dict[str, Any], seed: int) -> str:
    """The class of a single picture where the pool says it, "" where it does not."""
    if len(row["objects"]) > 1:
        return SEVERAL
    is_labelled = row["part"] != "train" or demo_draw(seed, "scene", str(row["scene"]), "labelled") < LABELLED
    return str(row["things"][0]["name"]) if is_labelled else ""


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
