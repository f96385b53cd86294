"""Claims on pictures that are of none of the classes, and on ensembles that notice them."""

from collections.abc import Callable

import numpy as np

from evenly.adapters.effects.claim import Claim, JudgedClaim, arms_of
from evenly.adapters.effects.effect import PairedArms, auroc_arm
from evenly.adapters.effects.ground import Ground
from evenly.adapters.evaluation.measures.classification import top_k_accuracy
from evenly.adapters.features import Floats, LabelledFeatures
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.ood.clipn import atd_of_rows, ctw_of_rows
from evenly.adapters.ood.near_miss import near_miss
from evenly.adapters.ood.scores import entropy, zero_shot_msp
from evenly.adapters.search import tune

DENIALS = ("a picture without {}", "no {}", "a picture of something that is not {}")
Score = Callable[[Floats], Floats]


def areas(ground: Ground, unknown: tuple[str, ...], scores: dict[str, Score]) -> JudgedClaim:
    """AUROC of scores of image rows, known test pictures against those of the unknown classes."""
    known_rows, unknown_rows = (ground.where("test", label=names) for names in (ground.known, unknown))
    numbers, n_groups = ground.groups(np.concatenate([known_rows, unknown_rows]))
    of_known, of_unknown = numbers[: len(known_rows)], numbers[len(known_rows) :]
    arms = {
        name: auroc_arm(score(ground.image[known_rows]), of_known, score(ground.image[unknown_rows]), of_unknown)
        for name, score in scores.items()
    }
    return JudgedClaim(comparison=PairedArms(n_groups=n_groups, **arms))


def _near_misses(ground: Ground, _seed: int) -> JudgedClaim:
    classes = ground.prototypes(ground.known)
    misses, nothing = ground.prototypes(ground.near), ground.prototypes([planted["name"] for planted in ground.planted])
    return areas(
        ground,
        ground.near,
        {
            "method": lambda image: near_miss(image, classes, misses),
            "rival": lambda image: zero_shot_msp(image, classes),
            "control": lambda image: near_miss(image, classes, nothing),
        },
    )


def _denials(score: Callable[[Floats, Floats, Floats], Floats]) -> Callable[[Ground, int], JudgedClaim]:
    def compare(ground: Ground, seed: int) -> JudgedClaim:
        classes, denials = ground.prototypes(ground.known), ground.prototypes(ground.known, DENIALS)
        permuted = denials[np.random.default_rng(seed).permutation(len(denials))]
        return areas(
            ground,
            ground.near + ground.unknown,
            {
                "method": lambda image: score(image, classes, denials),
                "rival": lambda image: zero_shot_msp(image, classes),
                "control": lambda image: score(image, classes, permuted),
            },
        )

    return compare


def _cooked(ground: Ground) -> tuple[Cooked, str, dict[str, object]]:
    """COOkeD on the known classes of `fit`, the part that is best on `val`, and what was chosen."""
    classes = ground.prototypes(ground.known)
    train, validation = (
        LabelledFeatures(features=ground.features(rows, classes), labels=ground.labels(rows, ground.known))
        for rows in (ground.where(part, label=ground.known) for part in ("fit", "val"))
    )
    tuned = tune(Cooked, train=train, validation=validation, guard=False)
    adapter = tuned.adapter
    if not isinstance(adapter, Cooked):  # unreachable: nothing guards
        raise TypeError(type(adapter).__name__)
    parts = adapter.parts(validation.features)
    best = max(parts, key=lambda name: top_k_accuracy(parts[name], validation.labels, k=1))
    return adapter, best, {**tuned.chosen, "best part": best}


def _ensemble_accuracy(ground: Ground, _seed: int) -> JudgedClaim:
    adapter, best, chosen = _cooked(ground)
    rows = ground.where("test", label=ground.known)
    features, labels = ground.features(rows, adapter.prototypes_), ground.labels(rows, ground.known)
    values = {
        "method": adapter.predict(features) == labels,
        "rival": adapter.parts(features)[best].argmax(axis=1) == labels,
    }
    return JudgedClaim(comparison=arms_of(ground, rows, values), chosen=chosen)


def _ensemble_area(ground: Ground, _seed: int) -> JudgedClaim:
    adapter, best, chosen = _cooked(ground)
    inside, outside = (ground.where("test", label=names) for names in (ground.known, ground.near + ground.unknown))
    numbers, n_groups = ground.groups(np.concatenate([inside, outside]))
    of_parts = [ground.features(rows, adapter.prototypes_) for rows in (inside, outside)]
    scores = {
        "method": [entropy(adapter.decision_function(features)) for features in of_parts],
        "rival": [entropy(adapter.parts(features)[best]) for features in of_parts],
    }
    arms = {
        name: auroc_arm(of_known, numbers[: len(inside)], of_unknown, numbers[len(inside) :])
        for name, (of_known, of_unknown) in scores.items()
    }
    return JudgedClaim(comparison=PairedArms(n_groups=n_groups, **arms), chosen=chosen)


REJECTION_CLAIMS = (
    Claim(
        number=39,
        system="OSLoPrompt, near misses",
        method="names of near classes compete",
        rival="msp",
        measure="AUROC, known against near",
        condition="the near classes are named",
        control="names that say nothing compete",
        compare=_near_misses,
        draws=False,
    ),
    *(
        Claim(
            number=18,
            system=f"CLIPN, {name}",
            method="texts that deny a class",
            rival="msp",
            measure="AUROC, known against near and unknown",
            condition="denials by the encoder itself, no trained one",
            control="denials of other classes",
            compare=_denials(score),
        )
        for name, score in (("ctw", ctw_of_rows), ("atd", atd_of_rows))
    ),
    Claim(
        number=1,
        system="COOkeD",
        method="mean of three classifiers",
        rival="its best part on val",
        measure="accuracy on known classes",
        condition="all labels of `fit`",
        compare=_ensemble_accuracy,
        draws=False,
    ),
    Claim(
        number=1,
        system="COOkeD",
        method="entropy of the mean of three classifiers",
        rival="entropy of its best part on val",
        measure="AUROC, known against near and unknown",
        condition="all labels of `fit`",
        compare=_ensemble_area,
        draws=False,
    ),
)
