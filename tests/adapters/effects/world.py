"""A ground of words: pictures are sums of the words that describe them, so that every effect is known. Not a test."""

import hashlib
import re
from dataclasses import replace
from functools import cache
from itertools import combinations, product

import numpy as np
import pandas as pd

from evenly.adapters.effects.ground import Ground, GroundRegions, unit
from evenly.adapters.effects.regions import true_maps
from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.features.dense.regions import decoded_mask, encoded_mask
from evenly.features.dense.rows import Dense
from evenly.tasks.adapters.region_methods import region_answers
from evenly.tasks.adapters.region_parts import CrowdedPart, CrowdedParts, vocabulary_of
from tests.adapters.small_tower import SmallTower

DIMENSION = 96
CLASSES = {"bird": ("fowl", "avian", "quill"), "fish": ("trout", "finned", "gills"), "tree": ("oak", "plant", "leaves")}
CLASSES |= {"boat": ("ship", "vessel", "keel"), "cake": ("tart", "sweet", "crumbs"), "lamp": ("light", "torch", "glow")}
PLACES, COLOURS, HANDS = ("on dots", "on grass"), ("red", "blue"), ("ink", "oil", "wax")
KNOWN, NEAR, UNKNOWN = ("bird", "fish", "tree"), ("boat",), ("cake", "lamp")
CODES = {"fit": 4, "val": 3, "test": 6}


@cache
def word(text):
    """A direction for a word, the same in every process."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    return np.random.default_rng(seed).standard_normal(DIMENSION)


def encode(texts, words=None):
    """Texts as sums of the words that are read: the first `words`, else all."""
    return unit(np.stack([sum(word(w) for w in re.findall(r"[a-z]+", text.lower())[:words]) for text in texts]))


def drawn(truth):
    """Pictures of 14 x 21 pixels with a square of 6 for each object, one beside the other.

    The second is two lines of it, the third of another class.
    """
    picture = np.repeat(np.arange(len(truth)), truth["count"])
    member = np.concatenate([np.arange(count) for count in truth["count"]])
    boxes = np.stack([7 * member, 4 + 0 * member, 7 * member + 6, 10 + 0 * member], axis=1)
    masks = np.zeros((len(picture), 14, 21), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    damaged = np.flatnonzero(np.random.default_rng(7).random(len(truth)) < 0.5)
    masks[member == 1, 7:] = masks[member == 1, :5] = False
    of_objects = truth.iloc[picture]
    third = (member == 2).tolist()
    labels = [shifted(label, by) for label, by in zip(of_objects["label"], third, strict=True)]
    codes = [f"{code}{' more' * by}" for code, by in zip(of_objects["code"], third, strict=True)]
    return RegionTruth(
        images=truth["name"].to_numpy(object),
        parts=truth["part"].to_numpy(object),
        groups=truth["group"].to_numpy(object),
        sizes=np.tile([14, 21], (len(truth), 1)),
        picture=picture,
        boxes=boxes.astype(np.float64),
        masks=np.array([encoded_mask(mask) for mask in masks], object),
        labels=np.array(codes, object),
        kinds=np.array(labels, object),
        colours=of_objects["given_colour"].to_numpy(object),
        codes=np.array(codes, object),
        defects=damaged,
        defect_boxes=np.stack([(4 * (place % 3), 0, 4 * (place % 3) + 4, 4) for place in damaged]).astype(np.float64),
        decode=lambda counts, _picture: decoded_mask(counts, (21, 14)),
    )


def shifted(label, by):
    """The class that comes `by` places after one."""
    return list(CLASSES)[(list(CLASSES).index(label) + by) % len(CLASSES)]


def part_of(truth, name):
    """A part whose 4 x 6 cells are the words of what they show, crops those of the class and of what is behind it."""
    places = truth.crowded(name)
    wordless = replace(truth, **dict.fromkeys(("labels", "kinds", "colours"), np.full(len(truth.picture), "", object)))

    def noisy(words):
        rows = np.stack([0.4 * word(name) + word(f"look of {name}") for name in words])
        noise = np.random.default_rng([1, len(rows), len(places)])  # the same, whatever was asked for before
        return rows + 2 * noise.standard_normal(rows.shape)

    def dense(columns):
        maps = true_maps(truth, CLASSES, places, step=1)
        shown = [np.array(["grass", *CLASSES])[one[1::4, [1, 5, 8, 12, 15, 19]]] for one in maps]
        cells = unit(noisy(np.concatenate(shown, axis=None)) @ np.eye(DIMENSION, columns))
        cells = cells.reshape(len(places), 4, 6, columns)
        frames = np.tile([0.0, 0, 21, 14], (len(places), 1))
        sizes = np.tile([21, 14], (len(places), 1))
        return Dense(image=unit(cells.mean(axis=(1, 2))), cells=cells, sizes=sizes, frames=frames)

    def crop(_regions, rule):
        kinds = truth.kinds[truth.rows_of(places)]
        further = np.stack([0.4 * word(shifted(kind, 1)) for kind in kinds])
        return unit(noisy(kinds) + (not rule.masked) * further)

    return CrowdedPart(
        truth=wordless if name == "test" else truth,
        places=places,
        classes=list(CLASSES),
        encode=lambda: dense(DIMENSION),
        encode_second=lambda: dense(48),
        crop=crop,
    )


def parts_of(truth):
    """The parts of a ground by methods' names for them."""
    return CrowdedParts(
        **{name: part_of(truth, name) for name in CODES},
        things=vocabulary_of({name: [name] for name in CLASSES}, encode),
        words=vocabulary_of({name: [name, synonyms[0]] for name, synonyms in CLASSES.items()}, encode),
    )


class WordTower(SmallTower):
    """A text tower in which a name is the sum of its words."""

    dimension = DIMENSION

    def row(self, name):
        return word_row(name)


def tuned(problem):
    """Rows of names, and what pictures with this label have in common: ten times as much of it at the end."""
    of_names = encode(problem.classes)
    for share in (0.1, 1.0):
        rows = of_names.copy()
        for name in set(problem.labels.tolist()):
            rows[problem.classes.index(name)] += share * problem.image[problem.labels == name].mean(axis=0)
        yield unit(rows)


@cache
def word_row(text):
    """The row of one text."""
    return encode([text])[0]


@cache
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
                            "order": f"a {label} left of a {shifted(label, 1)}" if count == 3 else "",
                            "turned_order": f"a {label} right of a {shifted(label, 1)}" if count == 3 else "",
                            "long_caption": f"{'nothing is said here. ' * 8}{caption}",
                        }
                    )  # fmt: skip
    truth = pd.DataFrame(lines)
    regions = drawn(truth)
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
        regions=cache(lambda: GroundRegions(truth=regions, answers=region_answers(parts_of(regions)))),
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
        tower=lambda names: WordTower(names, {}, states={}),
        tuned=tuned,
        crops=lambda rows, count: np.stack([unit(raw[rows] + raw[number]) for number in range(count)]),
    )
