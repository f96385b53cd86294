"""Claims on searches and orders: links between hands, long texts, counts, diversity beyond texts."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evenly.adapters.effects.claim import Claim, JudgedClaim, NotMeasurableError, arms_of
from evenly.adapters.effects.effect import Arm, PairedArms
from evenly.adapters.effects.ground import Ground, finds, unit
from evenly.adapters.evaluation.measures.diversity import group_weighted_unexplained
from evenly.adapters.features import Booleans, Floats, Integers
from evenly.adapters.ranking import tune_ranking

WEIGHTS = tuple(np.arange(0, 1.01, 0.1).round(1))
"""Weights of the picture against its caption that validation chooses among."""
KERNEL: Mapping[str, Any] = {"sigma": 1.0, "frequencies": 32, "ridge": 1e-3}
"""Of diversities: a width for unit rows, few frequencies and a ridge, so that rows drawn twice change little."""
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DRAWING = re.compile(r" \([^)]*\)")


def _links(ground: Ground, part: str) -> list[tuple[Integers, Integers]]:
    """Positions of two pictures on white of one code, for each two hands."""
    if not len(ground.links):
        raise NotMeasurableError("one hand alone: build the ground with --hands")
    links = ground.links[ground.column("part", ground.links[:, 0]) == part]
    hands = np.char.add(ground.column("hand", links[:, 0]), ground.column("hand", links[:, 1]))
    return [(links[hands == pair, 0], links[hands == pair, 1]) for pair in np.unique(hands)]


def _linked(rival: str) -> Callable[[Ground, int], JudgedClaim]:
    """R@1 of another hand's drawing among all of this hand's, by picture and caption, against one of the two alone."""

    def hits(ground: Ground, part: str, weight: float, seed: int | None = None) -> Booleans:
        def mixed(rows: Integers, texts: Floats) -> Floats:
            return unit(weight * ground.image[rows].astype(np.float64) + (1 - weight) * texts)

        def order(n: int) -> Integers:
            return np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)

        return np.concatenate(
            [
                finds(
                    mixed(first, _captions(ground, first)),
                    mixed(second, _captions(ground, second)[order(len(second))]),
                    np.arange(len(first)),
                )
                for first, second in _links(ground, part)
            ]
        )

    def compare(ground: Ground, seed: int) -> JudgedClaim:
        of_method, of_control = (
            max(WEIGHTS, key=lambda w: hits(ground, "val", w, shuffle).mean()) for shuffle in (None, seed)
        )
        rows = np.concatenate([first for first, _ in _links(ground, "test")])
        values = {
            "method": hits(ground, "test", of_method),
            "rival": hits(ground, "test", 1.0 if rival == "pictures alone" else 0.0),
            "control": hits(ground, "test", of_control, seed),
        }
        return JudgedClaim(
            comparison=arms_of(ground, rows, values),
            chosen={"weight of the picture": float(of_method), "of the control": float(of_control)},
        )

    return compare


def _pictures_alone(ground: Ground, _seed: int) -> JudgedClaim:
    """R@1 of another hand's drawing by pictures alone, by the encoder and by the one that it was refined from."""
    if ground.frozen is None:
        raise NotMeasurableError("the encoder is not refined")

    def hits(image: Floats) -> Booleans:
        pairs = _links(ground, "test")
        return np.concatenate([finds(image[first], image[second], np.arange(len(first))) for first, second in pairs])

    rows = np.concatenate([first for first, _ in _links(ground, "test")])
    values = {"method": hits(ground.image), "rival": hits(ground.frozen)}
    return JudgedClaim(comparison=arms_of(ground, rows, values))


def _captions(ground: Ground, rows: Integers) -> Floats:
    """Captions without the name of the drawing, which would be a key."""
    return ground.text([_DRAWING.sub("", caption) for caption in ground.column("caption", rows)])


def _long_texts(ground: Ground, seed: int) -> JudgedClaim:
    rows = ground.where("test")
    captions, sought = list(ground.column("long_caption", rows)), np.arange(len(rows))
    image = ground.image[rows]
    permuted = ground.long_text(captions)[np.random.default_rng(seed).permutation(len(rows))]
    values = {
        "method": finds(ground.long_text(captions), image, sought),
        "rival": finds(ground.text(captions), image, sought),
        "control": finds(permuted, image, sought),
        "ceiling": finds(ground.text(list(ground.column("caption", rows))), image, sought),
    }
    return JudgedClaim(comparison=arms_of(ground, rows, values))


def _written(ground: Ground, seed: int) -> JudgedClaim:
    """R@1 of pictures, among all that have one, by a caption that was written of tags, and by the tags."""
    tagged = ground.tagged()
    rows = np.flatnonzero(ground.truth["name"].isin(list(tagged)))
    tags, captions = zip(*(tagged[name] for name in ground.column("name", rows)), strict=True)
    image, sought, vectors = ground.image[rows], np.arange(len(rows)), ground.text(captions)
    values = {
        "method": finds(vectors, image, sought),
        "rival": finds(ground.text(tags), image, sought),
        "control": finds(vectors[np.random.default_rng(seed).permutation(len(rows))], image, sought),
        "ceiling": finds(ground.text(list(ground.column("caption", rows))), image, sought),
    }
    return JudgedClaim(comparison=arms_of(ground, rows, values))


def _counts(ground: Ground, seed: int) -> JudgedClaim:
    """Pairs of pictures of different counts in the right order, by a learnt head and by the texts of both ends."""
    ends = ground.text(["one thing", "three things"])
    fit, val, rows = (ground.where(part) for part in ("fit", "val", "test"))
    fit_values, val_values, values = (
        np.asarray(ground.truth["count"].to_numpy()[part], dtype=np.float64) for part in (fit, val, rows)
    )
    features = [ground.features(part, ends) for part in (fit, val, rows)]
    shuffled = np.random.default_rng(seed).permutation(fit_values)
    tuned, control = (tune_ranking(features[0], taught, features[1], val_values) for taught in (fit_values, shuffled))
    text = (ground.image[rows] @ (ends[1] - ends[0])).astype(np.float64)
    groups, n_groups = ground.groups(rows)
    scores = {"method": tuned.head.score(features[2]), "rival": text, "control": control.head.score(features[2])}
    arms = {name: _concordance(of_arm, values, groups) for name, of_arm in scores.items()}
    return JudgedClaim(
        comparison=PairedArms(n_groups=n_groups, **arms),
        chosen={"strength": tuned.strength, "of the control": control.strength},
    )


def _concordance(scores: Floats, values: Floats, groups: Integers) -> Arm:
    """The share of pairs of different value that the scores order rightly, ties half; groups weigh the rows of both."""
    larger = (values[:, None] > values).astype(np.float32)
    right = larger * ((scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)).astype(np.float32)

    def arm(weights: Floats) -> Floats:
        of_rows = weights[:, groups].astype(np.float32)
        return np.asarray(
            ((of_rows @ right) * of_rows).sum(axis=1, dtype=np.float64)
            / ((of_rows @ larger) * of_rows).sum(axis=1, dtype=np.float64)
        )

    return arm


def _unexplained(ground: Ground, seed: int) -> JudgedClaim:
    """The share of the pictures' diversity that captions without the background leave, against captions with it.

    The control's captions have it, and a day that no picture shows.
    """
    rows = ground.where("test")
    groups, n_groups = ground.groups(rows)
    captions, places = ground.column("caption", rows), ground.column("background", rows)
    bare = [caption.removesuffix(f" {place}") for caption, place in zip(captions, places, strict=True)]
    days = np.random.default_rng(seed).integers(len(DAYS), size=len(rows))
    texts = {
        "method": bare,
        "rival": list(captions),
        "control": [f"{caption} on {DAYS[day]}" for caption, day in zip(captions, days, strict=True)],
    }

    arms = {
        name: group_weighted_unexplained(ground.image[rows], ground.text(of_arm), groups, **KERNEL)
        for name, of_arm in texts.items()
    }
    return JudgedClaim(comparison=PairedArms(n_groups=n_groups, **arms))


SEARCH_CLAIMS = (
    *(
        Claim(
            number=40,
            system="CLIPPINGS",
            method="picture and caption mixed",
            rival=rival,
            measure="R@1 of the other hand's drawing",
            condition="captions that do not name the drawing; the weight is chosen on val",
            control="captions of other pictures",
            compare=_linked(rival),
        )
        for rival in ("pictures alone", "captions alone")
    ),
    Claim(
        number=5,
        system="MCIP's question",
        method="an encoder refined on pairs, asked from picture to picture",
        rival="the frozen encoder",
        measure="R@1 of the other hand's drawing",
        condition="trained on pictures and captions alone, by none of MCIP's losses",
        compare=_pictures_alone,
        draws=False,
    ),
    Claim(
        number=14,
        system="Long-CLIP, by chunks",
        method="long captions read in chunks",
        rival="long captions cut at the model's limit",
        measure="R@1 of the picture",
        condition="the one sentence that tells comes after 128 tokens",
        control="captions of other pictures",
        ceiling="the short caption",
        compare=_long_texts,
    ),
    Claim(
        number=34,
        system="Prompt analogies",
        method="captions that a language model writes of tags",
        rival="the tags with commas",
        measure="R@1 of the picture",
        condition="tags say class, count, colour and background; SmolLM2 of 135 million parameters",
        control="captions of other pictures",
        ceiling="the caption, which names the drawing",
        compare=_written,
    ),
    Claim(
        number=15,
        system="Ranking adapter",
        method="a head that learnt counts",
        rival="the order of the texts",
        measure="pairs of different counts in the right order",
        condition="one to three copies",
        control="a head that learnt counts of other pictures",
        compare=_counts,
    ),
    Claim(
        number=20,
        system="SCE",
        method="captions without the backgrounds",
        rival="captions with them",
        measure="share of the pictures' diversity that captions do not explain",
        condition="eight backgrounds",
        control="captions with them, and with a day drawn at random",
        compare=_unexplained,
        draws=False,
    ),
)
