"""Claims of prompt learners: context vectors learned through the text tower."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.effects.claim import Claim, JudgedClaim, NotMeasurableError, arms_of
from evenly.adapters.effects.effect import Arm, PairedArms, mean_arm
from evenly.adapters.effects.ground import Ground, nearest_class
from evenly.adapters.effects.pools import noise_like
from evenly.adapters.effects.rejection import DENIALS, areas
from evenly.adapters.evaluation.protocols.sessions import evaluate_sessions, session_of, split_sessions
from evenly.adapters.features import Floats, GroupedFeatures, Integers, LabelledFeatures
from evenly.adapters.few_shot import few_shot
from evenly.adapters.forms.sessions import SessionLearner
from evenly.adapters.methods.gda_incremental import GDAIncremental
from evenly.adapters.methods.grip import GrowingPseudoLabels
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.ood.clipn import atd_of_rows, ctw_of_rows
from evenly.adapters.ood.scores import zero_shot_msp
from evenly.adapters.prompts.clipn import CLIPN
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.prompts.cpe import CPE
from evenly.adapters.search import Tuned, tune

SHOTS = 4
NO_TOWER = "no text tower: judge by an encoder of open_clip"


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptRows:
    """Rows of a ground on which prompts are fitted, chosen and judged: positions of pictures, and their classes.

    further: fields of the record of `support` that a method learns from beside its pictures.
    """

    ground: Ground
    support: Integers
    val: Integers
    rows: Integers
    classes: Sequence[str]
    further: Mapping[str, Any] = field(default_factory=dict)

    def labelled(self, rows: Integers, labels: Integers | None = None) -> LabelledFeatures:
        """Pictures with their classes, or with other labels, their prototypes and the text tower."""
        if self.ground.tower is None:
            raise NotMeasurableError(NO_TOWER)
        further = dict(self.further if rows is self.support else {}, tower=self.ground.tower(tuple(self.classes)))
        features = self.ground.features(rows, self.ground.prototypes(self.classes), **further)
        own = self.ground.labels(rows, self.classes) if labels is None else labels
        return LabelledFeatures(features=features, labels=own)

    def tuned(
        self, kind: type[Adapter], seed: int, *, fixed: Mapping[str, Any] | None = None, guard: bool = True
    ) -> Tuned:
        """An adapter fitted on the support and chosen on val; with `guard` zero-shot where val shows no gain."""
        settings = {**(fixed or {}), **({"seed": seed} if "seed" in kind().get_params() else {})}
        train, validation = self.labelled(self.support), self.labelled(self.val)
        return tune(kind, train=train, validation=validation, fixed=settings, guard=guard)

    def fitted(self, kind: type[Adapter], chosen: Mapping[str, Any], seed: int) -> Adapter:
        """An adapter fitted on the support with hyper-parameters that were chosen elsewhere."""
        support = self.labelled(self.support)
        return kind().set_params(**chosen, seed=seed).fit(support.features, support.labels)

    def on_other_labels(self, adapter: Adapter, seed: int) -> Adapter:
        """An adapter with the same hyper-parameters, fitted on labels in another order."""
        order = np.random.default_rng(seed).permutation(len(self.support))
        shuffled = self.labelled(self.support, self.ground.labels(self.support, self.classes)[order])
        return type(adapter)().set_params(**adapter.get_params()).fit(shuffled.features, shuffled.labels)

    def right(self, adapter: Adapter) -> Floats:
        """Whether each judged picture is named rightly."""
        judged = self.labelled(self.rows)
        return np.asarray(adapter.predict(judged.features) == judged.labels)

    def nearest(self, class_rows: Floats, rows: Integers) -> Floats:
        """Whether the nearest of the rows of classes (c, d) names each picture rightly."""
        return np.asarray(nearest_class(self.ground.image[rows], class_rows) == self.ground.labels(rows, self.classes))


def chosen_by(tuned: Tuned) -> dict[str, Any]:
    """The choice of an adapter, and whether it was zero-shot's after all."""
    return {"kept zero-shot": tuned.kept_zero_shot, **tuned.chosen}


def drawn_support(ground: Ground, fit: Integers, seed: int) -> Integers:
    """SHOTS pictures of each class among those of `fit`, by hash."""
    groups = ground.column("group", fit)
    return fit[few_shot(ground.labels(fit), ground.column("name", fit), shots=SHOTS, seed=seed, groups=groups).indices]


def drawn_problem(ground: Ground, seed: int, classes: tuple[str, ...] | None = None) -> PromptRows:
    """SHOTS labels in `fit` for each of some classes, by default all, and all of their pictures in `val` and `test`."""
    classes = classes or ground.classes
    fit, val, rows = (ground.where(part, label=classes) for part in ("fit", "val", "test"))
    return PromptRows(ground=ground, support=drawn_support(ground, fit, seed), val=val, rows=rows, classes=classes)


def _coop(ground: Ground, seed: int) -> JudgedClaim:
    problem = drawn_problem(ground, seed)
    tuned = problem.tuned(CoOp, seed)
    values = {
        "method": problem.right(tuned.adapter),
        "rival": problem.nearest(ground.prototypes(ground.classes), problem.rows),
        "control": problem.right(problem.on_other_labels(CoOp(**{**tuned.chosen, "seed": seed}), seed)),
        "ceiling": problem.right(problem.tuned(LinearProbe, seed).adapter),
    }
    return JudgedClaim(comparison=arms_of(ground, problem.rows, values), chosen={"method": chosen_by(tuned)})


def _in_sessions(ground: Ground, seed: int, *, per_class: bool) -> JudgedClaim:
    """Half of the classes, then twice a quarter: the mean over sessions of the accuracy among the classes so far."""
    problem = drawn_problem(ground, seed)
    groups, n_groups = ground.groups(problem.rows)
    train, test = problem.labelled(problem.support), problem.labelled(problem.rows)
    n_classes, generator = len(ground.classes), np.random.default_rng(seed)
    split = split_sessions(n_classes, first=-(-n_classes // 2), step=-(-n_classes // 4))
    sessions = [session_of(train, classes) for classes in split]
    shuffled = [replace(session, labels=generator.permutation(session.labels)) for session in sessions]

    def arm(adapter: SessionLearner, rows: Sequence[LabelledFeatures]) -> Arm:
        right = evaluate_sessions(adapter, rows, test=GroupedFeatures(**vars(test), groups=groups)).right.T
        judged = [(of_session, ~np.isnan(of_session)) for of_session in right]
        means = [mean_arm(values[mask], groups[mask], n_groups=n_groups) for values, mask in judged]
        return lambda weights: np.mean([mean(weights) for mean in means], axis=0)

    return JudgedClaim(
        comparison=PairedArms(
            method=arm(CPE(seed=seed, per_class=per_class), sessions),
            rival=arm(GDAIncremental(), sessions),
            control=arm(CPE(seed=seed, per_class=per_class), shuffled),
            n_groups=n_groups,
        )
    )


def _students(ground: Ground, seed: int) -> JudgedClaim:
    """GRIP with prompts as students, at its defaults, on few labels and the rest of `fit` as a pool."""
    problem = drawn_problem(ground, seed)
    pool = ground.image[np.setdiff1d(ground.where("fit"), problem.support)]

    def with_pool(rows: Integers, unlabelled: Floats) -> LabelledFeatures:
        labelled = problem.labelled(rows)
        return labelled.with_features(replace(labelled.features, unlabelled=unlabelled))

    def prompted(unlabelled: Floats) -> Floats:
        train = with_pool(problem.support, unlabelled)
        return problem.right(GrowingPseudoLabels(student="prompt").fit(train.features, train.labels))

    values = {"method": prompted(pool), "control": prompted(noise_like(pool, seed))}
    train, val = (with_pool(rows, pool) for rows in (problem.support, problem.val))
    tuned = tune(GrowingPseudoLabels, train=train, validation=val)
    values["rival"] = problem.right(tuned.adapter)
    return JudgedClaim(comparison=arms_of(ground, problem.rows, values), chosen={"rival": chosen_by(tuned)})


@lru_cache(maxsize=3)
def _clipn(ground: Ground, seed: int) -> Tuned:
    """CLIPN fitted on the known classes of `fit`, chosen on those of `val`."""
    support, val = (ground.where(part, label=ground.known) for part in ("fit", "val"))
    return PromptRows(ground=ground, support=support, val=val, rows=val, classes=ground.known).tuned(CLIPN, seed)


def _denials(
    ground: Ground, seed: int, *, score: Callable[[Floats, Floats, Floats], Floats], hand_written: bool
) -> JudgedClaim:
    """Learned denials against those written by hand, or msp."""
    tuned = _clipn(ground, seed)
    if not isinstance(tuned.adapter, CLIPN):  # unreachable: it is chosen by a loss, which nothing guards
        raise TypeError(type(tuned.adapter).__name__)
    classes, denials = tuned.adapter.prototypes_, tuned.adapter.no_rows()
    permuted = denials[np.random.default_rng(seed).permutation(len(denials))]
    by_hand = ground.prototypes(ground.known, DENIALS)
    judged = areas(
        ground,
        ground.near + ground.unknown if hand_written else ground.unknown,
        {
            "method": lambda image: score(image, classes, denials),
            "rival": lambda image: score(image, classes, by_hand) if hand_written else zero_shot_msp(image, classes),
            "control": lambda image: score(image, classes, permuted),
        },
    )
    return replace(judged, chosen={"method": tuned.chosen})


PROMPT_CLAIMS = (
    Claim(
        number=50,
        system="CoOp",
        method="learned words before the names of classes",
        rival="zero-shot",
        measure="accuracy",
        condition=f"{SHOTS} labels for each class",
        control="labels in another order",
        ceiling="a probe on the same labels",
        compare=_coop,
    ),
    *(
        Claim(
            number=52,
            system="CPE-CLIP",
            method=f"learned words that new classes train on, {words}",
            rival="incremental GDA",
            measure="mean accuracy of the sessions",
            condition=f"three sessions, {SHOTS} labels for each class",
            control="labels of each session in another order",
            compare=partial(_in_sessions, per_class=per_class),
        )
        for words, per_class in (("one text for all", False), ("a text for each class", True))
    ),
    Claim(
        number=23,
        system="GRIP",
        method="a prompt as the student of pseudo-labels",
        rival="GDA as the student",
        measure="accuracy",
        condition=f"{SHOTS} labels for each class, the rest of the part as a pool",
        control="a pool of noise",
        compare=_students,
    ),
    *(
        Claim(
            number=18,
            system=f"CLIPN, {name}",
            method="learned words that deny a class",
            rival="words written by hand" if hand_written else "msp",
            measure=f"AUROC, known against {'near and ' * hand_written}unknown",
            condition="all labels of known classes; the text tower is frozen",
            control="denials of other classes",
            compare=partial(_denials, score=score, hand_written=hand_written),
        )
        for name, score in (("ctw", ctw_of_rows), ("atd", atd_of_rows))
        for hand_written in (False, True)
    ),
)
