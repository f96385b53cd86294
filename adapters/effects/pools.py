"""Claims on pools without labels, few labels, and the sources that rows come from."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.effects.claim import Claim, JudgedClaim, NotMeasurableError, arms_of
from evenly.adapters.effects.ground import Ground, nearest_class, unit
from evenly.adapters.features import Floats, Integers, LabelledFeatures
from evenly.adapters.few_shot import few_shot
from evenly.adapters.methods.fpl import FewPseudoLabels
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.gda_em import GDAUnsupervised
from evenly.adapters.methods.grip import GrowingPseudoLabels
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.methods.nola import NoLA
from evenly.adapters.search import tune

SHOTS = 2
Compare = Callable[[Ground, int], JudgedClaim]


def two_hands(ground: Ground) -> tuple[str, list[str]]:
    """The first hand, and all others; NotMeasurableError where there is one alone."""
    first, *further = ground.hands()
    if not further:
        raise NotMeasurableError("one hand alone: build the ground with --hands")
    return first, further


def _class_texts(ground: Ground) -> dict[str, Any]:
    texts = [ground.sentences[name] for name in ground.classes]
    owners = np.repeat(np.arange(len(texts)), [len(of_class) for of_class in texts])
    return {
        "class_texts": ground.text([text for of_class in texts for text in of_class]),
        "class_text_labels": owners,
    }


def _nola(pool_of: Callable[[Ground], tuple[Integers, Integers]], *, own_rows: bool = False) -> Compare:
    """NoLA on a pool and the test pictures; the same network on shuffled rows is the control.

    own_rows: the network is on rows of the encoder itself.
    """

    def compare(ground: Ground, seed: int) -> JudgedClaim:
        ground = replace(ground, second=ground.image) if own_rows else ground
        pool, rows = pool_of(ground)
        plain, labels = ground.prototypes(ground.classes), ground.labels(rows)
        texts = _class_texts(ground)

        def right(second: Floats) -> Floats:
            further = {"unlabelled": ground.image[pool], "unlabelled_second": second}
            fitted = NoLA(seed=seed).fit(ground.features(pool, plain, **further, **texts), ground.labels(pool))
            return np.asarray(fitted.predict(ground.features(rows, plain)) == labels)

        taught = LabelledFeatures(features=_on_second(ground, pool), labels=ground.labels(pool))
        oracle = LinearProbe(C=1.0).fit(taught.features, taught.labels)
        shuffled = np.random.default_rng(seed).permutation(len(pool))
        values = {
            "method": right(ground.second[pool]),
            "rival": nearest_class(ground.image[rows], plain) == labels,
            "control": right(ground.second[pool][shuffled]),
            "ceiling": oracle.predict(_on_second(ground, rows)) == labels,
        }
        return JudgedClaim(comparison=arms_of(ground, rows, values))

    return compare


def _on_second(ground: Ground, rows: Integers) -> Any:  # noqa: ANN401 - Features
    """A record with the second encoder's rows as image rows, and no texts that say anything."""
    from evenly.adapters.features import Features

    nothing = np.zeros((len(ground.classes), ground.second.shape[1]), dtype=np.float32)
    nothing[:, 0] = 1
    return Features(image=ground.second[rows], prototypes=nothing)


def _own_pool(ground: Ground) -> tuple[Integers, Integers]:
    return ground.where("fit"), ground.where("test")


def _other_hands_pool(ground: Ground) -> tuple[Integers, Integers]:
    first, further = two_hands(ground)
    return ground.where("fit", hand=further), ground.where("test", hand=first)


def _few_labels(method: type[Adapter]) -> Compare:
    """A method on SHOTS labels of each class and the rest of `fit` as a pool, against GDA on these labels."""

    def compare(ground: Ground, seed: int) -> JudgedClaim:
        fit, val, rows = ground.where("fit"), ground.where("val"), ground.where("test")
        drawn = few_shot(
            ground.labels(fit), ground.column("name", fit), shots=SHOTS, seed=seed, groups=ground.column("group", fit)
        )
        support, plain = fit[drawn.indices], ground.prototypes(ground.classes)
        pool = np.setdiff1d(fit, support)
        chosen: dict[str, Mapping[str, Any]] = {}

        def right(kind: type[Adapter], arm: str, unlabelled: Floats) -> Floats:
            train, validation = (
                LabelledFeatures(
                    features=ground.features(of_part, plain, unlabelled=unlabelled), labels=ground.labels(of_part)
                )
                for of_part in (support, val)
            )
            tuned = tune(kind, train=train, validation=validation)
            chosen[arm] = {"kept zero-shot": tuned.kept_zero_shot, **tuned.chosen}
            return np.asarray(tuned.adapter.predict(ground.features(rows, plain)) == ground.labels(rows))

        values = {
            "method": right(method, "method", ground.image[pool]),
            "rival": right(GDA, "rival", ground.image[pool]),
            "control": right(method, "control", noise_like(ground.image[pool], seed)),
        }
        return JudgedClaim(comparison=arms_of(ground, rows, values), chosen=chosen)

    return compare


def noise_like(rows: Floats, seed: int) -> Floats:
    """Unit rows of the numbers of `rows` (n, d), each anywhere: a pool that shows nothing."""
    return unit(np.random.default_rng(seed).permutation(rows.ravel()).reshape(rows.shape))


def _em(ground: Ground, _seed: int) -> JudgedClaim:
    pool, rows = _own_pool(ground)
    plain, labels = ground.prototypes(ground.classes), ground.labels(rows)
    chosen: dict[str, Any] = {}
    further = {"unlabelled": ground.image[pool]}
    train, validation = (
        LabelledFeatures(features=ground.features(of_part, plain, **further), labels=ground.labels(of_part))
        for of_part in (pool[:0], ground.where("val"))
    )
    tuned = tune(GDAUnsupervised, train=train, validation=validation)
    chosen["method"] = {"kept zero-shot": tuned.kept_zero_shot, **tuned.chosen}
    values = {
        "method": tuned.adapter.predict(ground.features(rows, plain)) == labels,
        "rival": nearest_class(ground.image[rows], plain) == labels,
    }
    return JudgedClaim(comparison=arms_of(ground, rows, values), chosen=chosen)


def _mixed_sources(ground: Ground, seed: int) -> JudgedClaim:
    """A probe on half the codes by each of two hands, against one on all by the better hand, on all other hands."""
    hands = ground.hands()
    if len(hands) < 3:
        raise NotMeasurableError("fewer than three hands: build the ground with --hands")
    first, second, *judging = hands
    rows, val = ground.where("test", hand=judging), ground.where("val", hand=[first, second])
    plain, fit = ground.prototypes(ground.classes), ground.where("fit", hand=[first, second])
    codes, of_code = np.unique(ground.column("code", fit), return_inverse=True)
    hand = ground.column("hand", fit)
    is_first_half = np.random.default_rng(seed).permutation(len(codes))[of_code] < len(codes) / 2
    trained = {  # a picture of each code, so that no source shows more of the world
        first: fit[hand == first],
        second: fit[hand == second],
        "both": fit[(hand == first) == is_first_half],
    }
    tuned = {
        name: tune(
            LinearProbe,
            train=LabelledFeatures(features=ground.features(rows_of, plain), labels=ground.labels(rows_of)),
            validation=LabelledFeatures(features=ground.features(val, plain), labels=ground.labels(val)),
        )
        for name, rows_of in trained.items()
    }
    better = max((first, second), key=lambda name: tuned[name].validation_accuracy)
    right = {
        name: probe.adapter.predict(ground.features(rows, plain)) == ground.labels(rows)
        for name, probe in tuned.items()
    }
    values = {"method": right["both"], "rival": right[better]}
    return JudgedClaim(comparison=arms_of(ground, rows, values), chosen={"better source": better})


POOL_CLAIMS = (
    *(
        Claim(
            number=2,
            system="NoLA",
            method=f"network on {rows} encoder, taught by texts on a pool",
            rival="zero-shot",
            measure="accuracy",
            condition=condition,
            control="rows in another order",
            ceiling="a probe on the pool with its labels",
            compare=_nola(pool_of, own_rows=rows == "its own"),
        )
        for rows, condition, pool_of in (
            ("a second", "a pool of the hands that are judged", _own_pool),
            ("its own", "a pool of the hands that are judged", _own_pool),
            ("its own", "a pool of other hands than the one that is judged", _other_hands_pool),
        )
    ),
    *(
        Claim(
            number=23,
            system=system,
            method="pseudo-labels of a pool beside few labels",
            rival="GDA of the few labels",
            measure="accuracy",
            condition=f"{SHOTS} labels for each class, the rest of the part as a pool",
            control="a pool of noise",
            compare=_few_labels(method),
        )
        for system, method in (("FPL", FewPseudoLabels), ("GRIP", GrowingPseudoLabels))
    ),
    Claim(
        number=3,
        system="GDA-EM",
        method="Gaussians fitted to a pool without labels",
        rival="zero-shot",
        measure="accuracy",
        condition="a pool of the hands that are judged",
        compare=_em,
        draws=False,
    ),
    Claim(
        number=22,
        system="Quality Not Quantity",
        method="a probe on two sources, half of the codes by each",
        rival="a probe on all codes by the better source",
        measure="accuracy on other sources",
        condition="a hand is a source",
        compare=_mixed_sources,
    ),
)
