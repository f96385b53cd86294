"""A ground of words: pictures are sums of the words that describe them, so that every effect is known. Not a test."""

import hashlib
import re
from itertools import combinations, product

import numpy as np
import pandas as pd

from evenly.adapters.effects.ground import Ground, GroundRegions, unit
from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.features.dense.regions import decoded_mask, encoded_mask

DIMENSION = 96
CLASSES = {"bird": ("fowl", "avian", "quill"), "fish": ("trout", "finned", "gills"), "tree": ("oak", "plant", "leaves")}
CLASSES |= {"boat": ("ship", "vessel", "keel"), "cake": ("tart", "sweet", "crumbs"), "lamp": ("light", "torch", "glow")}
PLACES, COLOURS, HANDS = ("on dots", "on grass"), ("red", "blue"), ("ink", "oil", "wax")
KNOWN, NEAR, UNKNOWN = ("bird", "fish", "tree"), ("boat",), ("cake", "lamp")
CODES = {"fit": 4, "val": 3, "test": 6}


def word(text):
    """A direction for a word, the same in every process."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    return np.random.default_rng(seed).standard_normal(DIMENSION)


def encode(texts, words=None):
    """Texts as sums of the words that are read: the first `words`, else all."""
    return unit(np.stack([sum(word(w) for w in re.findall(r"[a-z]+", text.lower())[:words]) for text in texts]))


def drawn(truth):
    """Pictures of 14 x 21 pixels with a square of 6 for each object, one beside the other."""
    picture = np.repeat(np.arange(len(truth)), truth["count"])
    member = np.concatenate([np.arange(count) for count in truth["count"]])
    boxes = np.stack([7 * member, 4 + 0 * member, 7 * member + 6, 10 + 0 * member], axis=1)
    masks = np.zeros((len(picture), 14, 21), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    of_objects = truth.iloc[picture]
    return RegionTruth(
        images=truth["name"].to_numpy(object),
        parts=truth["part"].to_numpy(object),
        groups=truth["group"].to_numpy(object),
        sizes=np.tile([14, 21], (len(truth), 1)),
        picture=picture,
        boxes=boxes.astype(np.float64),
        masks=np.array([encoded_mask(mask) for mask in masks], object),
        labels=of_objects["label"].to_numpy(object),
        kinds=of_objects["label"].to_numpy(object),
        colours=of_objects["given_colour"].to_numpy(object),
        codes=of_objects["code"].to_numpy(object),
        defects=np.zeros(0, np.int64),
        defect_boxes=np.zeros((0, 4)),
        decode=lambda counts, _picture: decoded_mask(counts, (21, 14)),
    )


def world(noise=2.0):
    """A ground in which every picture shows its class (also by the synonyms), colour, place, hand and count."""
    generator, lines, rows = np.random.default_rng(3), [], []
    for part, n_codes in CODES.items():
        for label, synonyms in CLASSES.items():
            for number in range(n_codes):
                code = f"{part} {label} {number}"
                member = f"{label}{'abcdefgh'[number]}"
                for kind, hand in product(("white", "texture"), HANDS):
                    place = "on white" if kind == "white" else PLACES[generator.integers(2)]
                    colour = "" if kind == "white" else COLOURS[generator.integers(2)]
                    count = 1 if kind == "white" else int(generator.integers(1, 4))
                    caption = f"{colour} {label} ({member}) {place}".strip()
                    shown = [label, member, *synonyms, *place.split(), *([colour] if colour else []), hand]
                    vector = sum(word(name) for name in shown) + (count - 2) * word("three") - (count - 2) * word("one")
                    rows.append(vector + noise * generator.standard_normal(DIMENSION))
                    lines.append(
                        {
                            "name": f"{code} {kind} {hand}", "part": part, "kind": kind, "hand": hand, "code": code,
                            "label": label, "group": code, "background": place, "given_colour": colour, "count": count,
                            "is_confounded": False, "caption": caption,
                            "long_caption": f"{'nothing is said here. ' * 8}{caption}",
                        }
                    )  # fmt: skip
    truth = pd.DataFrame(lines)
    by_code = truth[truth["kind"] == "white"].groupby("code").groups.values()
    raw = np.stack(rows)
    return Ground(
        image=unit(raw),
        norms=np.linalg.norm(raw, axis=1).astype(np.float32),
        second=unit(raw @ np.random.default_rng(5).standard_normal((DIMENSION, 32))),
        tagged=lambda: {
            name: (f"{place}, {label}", f"a {label} {place}")
            for name, label, place, kind in zip(
                *(truth[n] for n in ("name", "label", "background", "kind")), strict=True
            )
            if name.startswith("test") and kind == "texture"
        },
        frozen=unit(raw[:, :40]),
        regions=lambda: GroundRegions(truth=drawn(truth)),
        truth=truth,
        classes=tuple(CLASSES),
        known=KNOWN,
        near=NEAR,
        unknown=UNKNOWN,
        synonyms={
            name: dict(zip(("name", "often", "rarely", "never"), (name, *others), strict=True))
            for name, others in CLASSES.items()
        },
        sentences={name: [f"a {name}, such as a {name}{letter}" for letter in "abcd"] for name in CLASSES},
        planted=[
            {"name": f"ba{letter}", "colour": colour, "background": place, "sentence": f"ba{letter}, {colour} {place}"}
            for letter, (colour, place) in zip("abcd", product(COLOURS, PLACES), strict=True)
        ],
        links=np.array([pair for rows_of in by_code for pair in combinations(rows_of, 2)]),
        text=lambda texts: encode(texts, words=24),
        long_text=encode,
    )
