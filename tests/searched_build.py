"""A published build of pictures as rows of numbers, some of them dropped: enough to search in."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pyarrow as pa

from evenly.features import to_unit_rows
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import Samples
from evenly.storage.workspace import Workspace
from tests.labelled_build import WordEncoder


@dataclass(frozen=True)
class Pair:
    """A pair: its caption, the picture that it shows ("" for none), and why which step dropped it ("" for none)."""

    caption: str
    picture: str
    reason: str = ""
    step: str = "filter"
    verdict: str = "dropped"
    source: str | None = "web"
    width: int = 100


def uid_of(number: int) -> str:
    return f"{number:032x}"


def publish(workspace: Workspace, pairs: Sequence[Pair], *, encoded: Sequence[str] | None = None) -> dict:
    """Publish the pairs under uids 0, 1, ...; a picture shows the words of its name. The manifest of `some-1`.

    encoded: the pictures that have features; default: all.
    """
    steps = ["collect", "filter", "balance"]
    columns: dict[str, list] = {name: [] for step in steps for name in (f"{step}_verdict", f"{step}_reason")}
    columns |= {f"{step}_{name}": [] for step in steps for name in ("value", "into")}
    for pair in pairs:
        last = steps.index(pair.step) if pair.reason else len(steps)
        for place, step in enumerate(steps):
            is_last = place == last
            columns[f"{step}_verdict"].append("kept" if place < last else pair.verdict if is_last else None)
            columns[f"{step}_reason"].append("" if place < last else pair.reason if is_last else None)
            columns[f"{step}_value"].append(0.5 if is_last else None)
            columns[f"{step}_into"].append(uid_of(0) if is_last and pair.verdict == "merged" else None)
    numbers = {f"{step}_value": pa.array(columns.pop(f"{step}_value"), pa.float64()) for step in steps}
    table = pa.table(
        {
            "uid": [uid_of(number) for number in range(len(pairs))],
            "caption": [pair.caption for pair in pairs],
            "image_id": pa.array([picture_id(pair.picture) or None for pair in pairs], pa.string()),
            "source": pa.array([pair.source for pair in pairs], pa.string()),
            "width": pa.array([pair.width for pair in pairs], pa.int64()),
            "tags": pa.array([[pair.caption] for pair in pairs], pa.list_(pa.string())),
            **{name: pa.array(values, pa.string()) for name, values in columns.items()},
            **numbers,
        }
    )
    version = Samples(workspace, "some").write(table)
    pictures = sorted({pair.picture for pair in pairs if pair.picture} if encoded is None else encoded)
    if pictures:
        rows, norms = to_unit_rows(WordEncoder().encode_texts(pictures))
        FeatureStore(workspace, WordEncoder.identity, "images").append(
            [picture_id(name) for name in pictures], rows.astype(np.float16), norms
        )
    manifest = {
        "build": "some-1",
        "recipe_name": "some",
        "recipe": {"features": {"model": "embedded"}},
        "seed": 7,
        "content_hash": "0" * 64,
        "encoder": {"model": "embedded", "pretrained": None, "identity": WordEncoder.identity},
        "samples": {"version": version, "last": "balance", "rows": len(pairs), "kept": len(pairs)},
        "steps": [{"name": name, "counts": {"kept": 1}, "reasons": {}} for name in steps],
    }
    Builds(workspace).publish(manifest)
    return manifest


def picture_id(name: str) -> str:
    return sha256(name.encode()).hexdigest() if name else ""
