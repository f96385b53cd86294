"""The truth about drawn pictures as rows of a table, of scenes and of whatever else is drawn by a plan."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from evenly.demo.scenes.captions import LongCaption
from evenly.demo.scenes.catalogue import hand_of
from evenly.demo.scenes.drawing import DrawnObject, Scene
from evenly.demo.scenes.plans import ThingGroup

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


def seen_in(scene: Scene, kinds_of: Callable[[ThingGroup], Sequence[str]]) -> dict[str, Any]:
    """What is true of the pixels of a drawn plan, as columns of TRUTH_SCHEMA; kinds_of: kinds of a thing."""
    plan = scene.plan
    defects = []
    if plan.defect is not None and scene.defect is not None:
        defects = [{"object": plan.defect.place, "kind": plan.defect.kind, **scene.defect._asdict()}]
    return {
        "part": plan.part,
        "sha256": hashlib.sha256(scene.png).hexdigest(),
        "width": scene.width,
        "height": scene.height,
        "background": plan.background,
        "things": [
            {
                "name": group.name,
                "kinds": list(kinds_of(group)),
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


def sayings(short: str, vague: str, long: LongCaption, wrong: Mapping[str, str]) -> dict[str, Any]:
    """What could be said of a picture, as columns of TRUTH_SCHEMA."""
    return {
        "short_caption": short,
        "vague_caption": vague,
        "long_caption": long.text,
        "late_sentence": long.sentence,
        "late_place": long.place,
        "wrong_captions": [{"kind": key, "caption": caption} for key, caption in sorted(wrong.items())],
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
