"""Claims of prompt learners: context vectors learned through the text tower."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.effects.claim import Claim, JudgedClaim, NotMeasurableError, arms_of
from evenly.adapters.effects.ground import Ground, nearest_class
from evenly.adapters.features import Floats, Integers, LabelledFeatures
from evenly.adapters.few_shot import few_shot
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.search import Tuned, tune

SHOTS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptRows:
    """Rows of a ground on which prompts are fitted, chosen and judged: positions of pictures, and their classes."""

    ground: Ground
    support: Integers
    val: Integers
    rows: Integers
    classes: Sequence[str]

    def labelled(self, rows: Integers, labels: Integers | None = None) -> LabelledFeatures:
        """Pictures with their classes, or with other labels, their prototypes and the text tower."""
        if self.ground.tower is None:
            raise NotMeasurableError("no text tower: judge by an encoder of open_clip")
        features = self.ground.features(
            rows, self.ground.prototypes(self.classes), tower=self.ground.tower(tuple(self.classes))
        )
        own = self.ground.labels(rows, self.classes) if labels is None else labels
        return LabelledFeatures(features=features, labels=own)

    def tuned(self, kind: type[Adapter], seed: int) -> Tuned:
        """An adapter fitted on the support and chosen on val."""
        fixed = {"seed": seed} if "seed" in kind().get_params() else {}
        return tune(kind, train=self.labelled(self.support), validation=self.labelled(self.val), fixed=fixed)

    def on_other_labels(self, adapter: Adapter, seed: int) -> Adapter:
        """An adapter with the same hyper-parameters, fitted on labels in another order."""
        order = np.random.default_rng(seed).permutation(len(self.support))
        shuffled = self.labelled(self.support, self.ground.labels(self.support, self.classes)[order])
        return type(adapter)().set_params(**adapter.get_params()).fit(shuffled.features, shuffled.labels)

    def right(self, adapter: Adapter) -> Floats:
        """Whether each judged picture is named rightly."""
        judged = self.labelled(self.rows)
        return np.asarray(adapter.predict(judged.features) == judged.labels)


def drawn_support(ground: Ground, fit: Integers, seed: int) -> Integers:
    """SHOTS pictures of each class among those of `fit`, by hash."""
    groups = ground.column("group", fit)
    return fit[few_shot(ground.labels(fit), ground.column("name", fit), shots=SHOTS, seed=seed, groups=groups).indices]


def _coop(ground: Ground, seed: int) -> JudgedClaim:
    support = drawn_support(ground, ground.where("fit"), seed)
    problem = PromptRows(
        ground=ground, support=support, val=ground.where("val"), rows=ground.where("test"), classes=ground.classes
    )
    tuned = problem.tuned(CoOp, seed)
    labels = ground.labels(problem.rows)
    values = {
        "method": problem.right(tuned.adapter),
        "rival": nearest_class(ground.image[problem.rows], ground.prototypes(ground.classes)) == labels,
        "control": problem.right(problem.on_other_labels(CoOp(**{**tuned.chosen, "seed": seed}), seed)),
        "ceiling": problem.right(problem.tuned(LinearProbe, seed).adapter),
    }
    chosen = {"kept zero-shot": tuned.kept_zero_shot, **tuned.chosen}
    return JudgedClaim(comparison=arms_of(ground, problem.rows, values), chosen={"method": chosen})


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
)
