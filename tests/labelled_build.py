"""A published build of labelled pictures as rows of numbers, and an encoder of texts: enough to look for confusion."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evenly.features import to_unit_rows
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import Samples
from evenly.storage.workspace import Workspace

DIMENSION = 16


class WordEncoder:
    """Texts that share words are near: a text is the sum of a vector for each of its words."""

    identity = "0" * 64
    device_name = "a machine"
    dimension = DIMENSION
    context_length = 30

    def encode_texts(self, texts, *, progress=None):
        del progress
        return np.stack([sum(map(word_vector, text.casefold().split())) for text in texts]).astype(np.float32)

    def truncated(self, texts):
        return [False] * len(texts)

    def token_counts(self, texts):
        return [len(text.split()) + 2 for text in texts]


def word_vector(word: str) -> np.ndarray:
    digest = hashlib.sha256(word.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(size=DIMENSION)


@dataclass(frozen=True)
class Picture:
    """A picture that shows things in some strength, its class, and the part it is in; "" for none."""

    label: str
    shows: Mapping[str, float]
    part: str
    caption: str = "a picture"
    source: str = "pool"


def seen(picture: Picture) -> np.ndarray:
    """The features of a picture: the texts by which what it shows is known, in its strengths."""
    texts = WordEncoder().encode_texts([f"a photo of a {name}" for name in picture.shows])
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return np.array(list(picture.shows.values())) @ unit


def publish(workspace: Workspace, pictures: Sequence[Picture], *, build: str = "some-1", features: bool = True) -> str:
    """Publish a build of the pictures, and write the split file `split.csv` beside its tables; the file's path."""
    ids = [f"{number:032x}" for number in range(len(pictures))]
    urls = [f"http://p.test/{one}.png" for one in ids]
    table = pa.table(
        {
            "uid": ids,
            "url": urls,
            "caption": [one.caption for one in pictures],
            "image_id": ids,
            "label": pa.array([one.label or None for one in pictures], pa.string()),
            "group": ids,
            "source": [one.source for one in pictures],
            "collect_verdict": ["kept"] * len(ids),
        }
    )
    version = Samples(workspace, "some").write(table)
    if features:
        store = FeatureStore(workspace, WordEncoder.identity, "images")
        vectors, norms = to_unit_rows(np.stack([seen(one) for one in pictures]).astype(np.float32))
        new = [ids.index(one) for one in store.missing(ids)]
        store.append([ids[at] for at in new], vectors[new], norms[new])
    Builds(workspace).publish(
        {
            "build": build,
            "recipe_name": "some",
            "recipe": {"features": {"model": "embedded"}},
            "seed": 7,
            "content_hash": hashlib.sha256(f"{build} {pictures}".encode()).hexdigest(),
            "encoder": {"model": "embedded", "pretrained": None, "identity": WordEncoder.identity},
            "samples": {"version": version, "last": "collect", "rows": len(ids), "kept": len(ids)},
            "steps": [],
        }
    )
    split = workspace.root / f"{build}.csv"
    lines = [f"{url},{one.part}" for url, one in zip(urls, pictures, strict=True) if one.part]
    split.write_text("\n".join(["key,part", *lines]) + "\n")
    return str(split)
