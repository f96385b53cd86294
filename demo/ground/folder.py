"""The folder of the ground: a pool of pictures for each part with the truth beside it, and lists over all parts.

What was drawn is kept in pieces until all is: a run that was killed goes on after the last one.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from evenly.demo.draws import DEMO_SEED
from evenly.demo.errors import FolderError
from evenly.demo.files import own_folder, write_bytes, write_table_file
from evenly.demo.ground.captions import caption_of, ground_sayings
from evenly.demo.ground.classes import PARTS, members_of, read_classes
from evenly.demo.ground.hands import OPENMOJI, drawing_by, fetch_hands, licences, package_versions
from evenly.demo.ground.lists import SEVERAL, ground_lists, picture_lists
from evenly.demo.ground.plans import GroundPlan, plan_ground
from evenly.demo.ground.textures import SIDE_PX, texture
from evenly.demo.processes import Progress, no_progress, run_all
from evenly.demo.scenes.drawing import Stage, draw_scene
from evenly.demo.scenes.layout import Box
from evenly.demo.scenes.truth import TRUTH_SCHEMA, seen_in

SUMMARY = "ground.json"
ARCHIVES = "archives"
_STAMP, _SETTINGS, _ROWS = ".ground", ".settings.json", ".rows"
_PIECE = 256  # pictures whose truth is written together
_CANVAS = Box(4, 4, SIDE_PX - 4, SIDE_PX - 4)
_SIZES = (0.85, 1.0)  # of its room, 106 px where three are shown
GROUND_SCHEMA = pa.schema([
    *TRUTH_SCHEMA,
    ("kind", pa.string()),
    ("hand", pa.string()),
    ("label", pa.string()),
    ("group", pa.string()),
    ("is_confounded", pa.bool_()),
])  # fmt: skip
"""truth.parquet: docs/ground.md says what the further columns mean."""


def make_ground(
    folder: Path,
    *,
    hands: Sequence[str] = (),
    codes: int | None = None,
    seed: int = DEMO_SEED,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Draw the ground into `folder`; what ground.json says of it: settings, and counts of each part.

    The same bytes each time. May be killed and called again; what was made by other settings is refused, and so is a
    folder with other things (FolderError).
    """
    settings = {"seed": seed, "codes": codes, "hands": package_versions(hands)}
    with own_folder(folder, _STAMP, "a proving ground"):
        fetch_hands(hands, folder / ARCHIVES)  # first: where it fails, other hands may be chosen
        _check_settings(folder, settings)
        members = members_of(codes, seed)
        plans = plan_ground(members, (OPENMOJI, *hands), seed)
        if (summary := _finished(folder, plans)) is not None:
            progress(len(plans))
            return summary
        rows = _drawn(folder, plans, progress)
        for part in PARTS:
            of_part = [row for row in rows if row["part"] == part]
            write_table_file(folder / part / "truth.parquet", pa.Table.from_pylist(of_part, schema=GROUND_SCHEMA))
        texts = {f"licences/{hand}.txt": text for hand, text in licences(hands, folder / ARCHIVES).items()}
        (folder / "licences").mkdir(exist_ok=True)
        for name, content in {**ground_lists(members, seed), **picture_lists(plans, rows), **texts}.items():
            write_bytes(folder / name, content.encode())
        summary = settings | {"parts": _counts(rows)}
        write_bytes(folder / SUMMARY, json.dumps(summary, indent=2).encode())
        for piece in (folder / _ROWS).iterdir():
            piece.unlink()
        (folder / _ROWS).rmdir()
        return summary


def picture_count(hands: Sequence[str], codes: int | None, seed: int = DEMO_SEED) -> int:
    """The number of pictures of a ground."""
    return len(plan_ground(members_of(codes, seed), (OPENMOJI, *hands), seed))


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / _SETTINGS
    if path.exists() and (earlier := json.loads(path.read_bytes())) != settings:
        raise FolderError(
            f"`folder` must hold a ground of the same settings, {json.dumps(settings)}; got one of "
            f"{json.dumps(earlier)}. Name another folder."
        )
    write_bytes(path, json.dumps(settings).encode())


def _finished(folder: Path, plans: Sequence[GroundPlan]) -> dict[str, Any] | None:
    """The summary of a ground that is whole; None if a file is missing."""
    names = [_place(plan) for plan in plans] + [f"{part}/truth.parquet" for part in PARTS]
    if not (folder / SUMMARY).exists() or not all((folder / name).exists() for name in names):
        (folder / SUMMARY).unlink(missing_ok=True)
        return None
    return dict(json.loads((folder / SUMMARY).read_bytes()))


def _drawn(folder: Path, plans: Sequence[GroundPlan], progress: Progress) -> list[dict[str, Any]]:
    """Draw all pictures but those of pieces that are there; the rows of all."""
    for part in PARTS:
        (folder / part / "pictures").mkdir(parents=True, exist_ok=True)
    (folder / _ROWS).mkdir(exist_ok=True)
    pieces = [folder / _ROWS / f"{number:06}.parquet" for number in range(-(-len(plans) // _PIECE))]
    kept = {path: plans[number * _PIECE : (number + 1) * _PIECE] for number, path in enumerate(pieces)}
    missing = [
        path
        for path, of_piece in kept.items()
        if not all(p.exists() for p in [path, *(folder / _place(o) for o in of_piece)])
    ]
    progress(sum(len(kept[path]) for path in kept.keys() - set(missing)))
    left = [plan for path in missing for plan in kept[path]]
    results = run_all(functools.partial(_draw, folder=folder), left, progress=progress)
    for path, rows in zip(missing, _batches(results, _PIECE), strict=True):
        write_table_file(path, pa.Table.from_pylist(rows, schema=GROUND_SCHEMA))
    return [row for path in pieces for row in pq.read_table(path).to_pylist()]


def _batches(rows: Iterator[dict[str, Any]], count: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of so many, the last one of what is left."""
    while batch := list(islice(rows, count)):
        yield batch


def _draw(plan: GroundPlan, *, folder: Path) -> dict[str, Any]:
    """Write the picture of a plan; its row of the truth."""
    stage = Stage(
        background=texture,
        drawing=functools.partial(_drawing, hand=plan.hand, folder=folder / ARCHIVES),
        canvas=_CANVAS,
        sizes=_SIZES,
    )
    scene = draw_scene(plan, stage)
    write_bytes(folder / _place(plan), scene.png)
    member_of = dict(zip([group.codes[0] for group in plan.groups], plan.members, strict=True))
    kinds = {code: (member.label, read_classes()[member.label].kind) for code, member in member_of.items()}
    return (
        ground_sayings(plan)
        | seen_in(scene, lambda group: kinds[group.codes[0]])
        | {
            "file_name": _place(plan).partition("/")[2],
            "scene": plan.number,
            "neighbours": plan.number // 8,
            "caption": caption_of(plan),
            "caption_kind": "right",
            "wrong_kind": None,
            "kind": plan.kind,
            "hand": plan.hand,
            "label": plan.members[0].label if len(plan.members) == 1 else SEVERAL,
            "group": plan.members[0].group,
            "is_confounded": plan.is_confounded,
        }
    )


def _drawing(code: str, *, hand: str, folder: Path) -> Image.Image:
    return drawing_by(hand, code, folder)


def _place(plan: GroundPlan) -> str:
    return f"{plan.part}/pictures/{plan.number:06}.png"


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Pictures of each kind, codes, groups and classes of each part."""
    counts = {}
    for part in PARTS:
        of_part = [row for row in rows if row["part"] == part]
        whites = [row for row in of_part if row["kind"] == "white"]
        counts[part] = {
            "pictures": len(of_part),
            **dict(sorted(Counter(row["kind"] for row in of_part).items())),
            "codes": len({row["objects"][0]["code"] for row in whites}),
            "groups": len({row["group"] for row in whites}),
            "classes": len({row["label"] for row in whites}),
        }
    return counts
