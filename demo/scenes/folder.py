"""A folder of scenes: a pool of pictures with captions, and beside it the truth, which no recipe reads.

The folder reader takes metadata.csv and the pictures. truth.parquet holds a row per scene, known by the same file name,
with the masks: as pictures in the folder they would be pictures of the pool.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenly.demo.captions import boilerplate_caption
from evenly.demo.draws import DEMO_SEED, demo_draw, pick
from evenly.demo.errors import FolderError
from evenly.demo.files import csv_text, own_folder, write_bytes, write_table_file
from evenly.demo.processes import Progress, no_progress, run_all
from evenly.demo.scenes.captions import long_caption, short_caption, vague_caption, wrong_captions
from evenly.demo.scenes.catalogue import CLASSES_FILE, read_things
from evenly.demo.scenes.drawing import draw_scene
from evenly.demo.scenes.plans import CAPTION_KINDS, LABELLED, NEIGHBOURS, ScenePlan, plan_scene, weighted
from evenly.demo.scenes.truth import TRUTH_SCHEMA, sayings, seen_in

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


def make_scene_folder(
    folder: Path, *, count: int = SCENES, seed: int = DEMO_SEED, progress: Progress = no_progress
) -> dict[str, int]:
    """Draw `count` scenes into `folder`; the number of captions of each kind.

    Scene i is the same whatever the count, and the same bytes each time. May be killed and called again; scenes beyond
    the count are removed. FolderError if the folder holds other things.
    """
    if count < 1:
        raise FolderError(f"`count` must be at least 1; got {count}. Ask for more scenes.")
    with own_folder(folder, _STAMP, "scenes"):
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
    row = seen_in(scene, lambda group: group.thing.kinds)
    return _captions(plan) | row | {"file_name": name, "scene": number, "neighbours": number // NEIGHBOURS}


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
        **sayings(short, vague, long, wrong),
    }


def _lists(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, str]:
    """The lists of the folder by file name: of pictures, of the parts they are of, of classes, of all things."""
    labels = [_label(row, seed) for row in rows]
    captions = [
        (row["file_name"], row["caption"], label, row["objects"][0]["code"] if label != SEVERAL else "")
        for row, label in zip(rows, labels, strict=True)
    ]
    return {
        LIST: csv_text([("file_name", "caption", "label", "group"), *captions]),
        SPLIT: csv_text([("key", "part"), *((f"sha256:{row['sha256']}", row["part"]) for row in rows)]),
        CLASSES: CLASSES_FILE.read_text(encoding="utf-8"),
        THINGS: "".join(f"{name}\n" for name in read_things()),
    }


def _label(row: dict[str, Any], seed: int) -> str:
    """The class of a single picture where the pool says it, "" where it does not."""
    if len(row["objects"]) > 1:
        return SEVERAL
    is_labelled = row["part"] != "train" or demo_draw(seed, "scene", str(row["scene"]), "labelled") < LABELLED
    return str(row["things"][0]["name"]) if is_labelled else ""
