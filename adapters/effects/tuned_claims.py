"""Claims of methods that train a text tower itself, as `evenly refine --objective labelled --side text` does it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

import numpy as np

from evenly.adapters.effects.claim import Claim, JudgedClaim, NotMeasurableError, arms_of
from evenly.adapters.effects.effect import Arm, PairedArms, harmonic_arm, mean_arm
from evenly.adapters.effects.ground import Ground, TowerProblem, TowerRule, unit
from evenly.adapters.effects.prompt_claims import NO_TOWER, SHOTS, PromptRows, drawn_problem
from evenly.adapters.evaluation.protocols.base_to_new import split_classes
from evenly.adapters.features import Floats
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.prompts.training import STAGES
from evenly.adapters.training import torch_threads

SINGULAR = TowerRule(tune="singular", blocks=2, steps=30, learning_rate=0.02)
DEEP_PROMPTS = TowerRule(tune="deep_prompts", blocks=6, steps=25, learning_rate=0.02)
"""Rates and steps chosen on val: with more steps both name fewer pictures of val by the refined encoder."""
COOP_STEPS = 150
"""Half of CoOp's own, so that a fit takes seconds."""
TEXT_SIDE = "in the text tower alone, as the picture tower has no blocks that attend"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trained:
    """Rows (c, d) of all classes by a tower at the share of its training that is best on val; its control's there."""

    rows: Floats
    control: Floats
    stop: float


def _trained(problem: PromptRows, rule: TowerRule, seed: int) -> _Trained:
    """The tower trained on the support, and on its labels in another order; only classes of the problem choose."""
    ground = problem.ground
    if ground.tuned is None:
        raise NotMeasurableError(NO_TOWER)
    tower = TowerProblem(
        image=ground.image[problem.support],
        uids=ground.column("name", problem.support),
        labels=ground.column("label", problem.support),
        classes=ground.classes,
        rule=rule,
        seed=seed,
    )
    places = [ground.classes.index(name) for name in problem.classes]
    stages = list(ground.tuned(tower))
    best = _best(problem, [rows[places] for rows in stages])
    shuffled = replace(tower, labels=tower.labels[np.random.default_rng(seed).permutation(len(tower.labels))])
    control = next(islice(ground.tuned(shuffled), best, None))
    return _Trained(rows=stages[best], control=control, stop=(best + 1) / len(stages))


def _best(problem: PromptRows, stages: Sequence[Floats]) -> int:
    """The first of the stages of class rows that name most pictures of val rightly."""
    return int(np.argmax([problem.nearest(rows, problem.val).sum() for rows in stages]))


def _singular_values(ground: Ground, seed: int) -> JudgedClaim:
    problem = drawn_problem(ground, seed)
    names = ground.prototypes(ground.classes)
    trained = _trained(problem, SINGULAR, seed)
    is_kept = _best(problem, [names, trained.rows]) == 0
    values = {
        "method": problem.nearest(names if is_kept else trained.rows, problem.rows),
        "rival": problem.nearest(names, problem.rows),
        "control": problem.nearest(trained.control, problem.rows),
        "ceiling": problem.right(problem.tuned(LinearProbe, seed).adapter),
    }
    chosen = {"kept zero-shot": is_kept, "stop": trained.stop}
    return JudgedClaim(comparison=arms_of(ground, problem.rows, values), chosen={"method": chosen})


def _base_to_new(ground: Ground, seed: int) -> JudgedClaim:
    """Half of the classes are trained on and choose; these are judged among themselves, and so are the others."""
    base, new = (tuple(ground.classes[place] for place in half) for half in split_classes(len(ground.classes)))
    problem = drawn_problem(ground, seed, base)
    unseen = replace(problem, rows=ground.where("test", label=new), classes=new)
    groups, n_groups = ground.groups(np.concatenate([problem.rows, unseen.rows]))
    trained = _trained(problem, DEEP_PROMPTS, seed)
    coop = _chosen_coop(problem, seed)

    def arm(rows: Floats) -> Arm:
        halves = problem.nearest(rows[: len(base)], problem.rows), unseen.nearest(rows[len(base) :], unseen.rows)
        numbers = groups[: len(halves[0])], groups[len(halves[0]) :]
        return harmonic_arm(*(mean_arm(*half, n_groups=n_groups) for half in zip(halves, numbers, strict=True)))

    return JudgedClaim(
        comparison=PairedArms(
            method=arm(trained.rows),
            rival=arm(_rows_by_context(ground, coop)),
            control=arm(trained.control),
            n_groups=n_groups,
        ),
        chosen={"method": {"stop": trained.stop}, "rival": {"learning_rate": coop.learning_rate, "stop": coop.stop}},
    )


def _chosen_coop(problem: PromptRows, seed: int) -> CoOp:
    """CoOp at the rate of its own and the stopping time that are best on val."""
    settings = [{"steps": COOP_STEPS, "learning_rate": rate} for rate in CoOp.grid.parameters["learning_rate"]]
    fits = [cast("CoOp", problem.fitted(CoOp, setting, seed)) for setting in settings]
    place, stage = divmod(_best(problem, [rows for fit in fits for rows in fit.rows_[1:]]), STAGES)
    fits[place].set_params(stop=(stage + 1) / STAGES)
    return fits[place]


def _rows_by_context(ground: Ground, coop: CoOp) -> Floats:
    """Unit rows of all classes by a context that some of them taught."""
    import torch

    if ground.tower is None:
        raise NotMeasurableError(NO_TOWER)
    with torch.no_grad(), torch_threads(1):
        return unit(ground.tower(ground.classes).rows(torch.from_numpy(coop.context()), place=coop.place).numpy())


TUNED_CLAIMS = (
    Claim(
        number=42,
        system="CLIP-SVD",
        method="trained singular values of two blocks",
        rival="zero-shot",
        measure="accuracy",
        condition=f"{SHOTS} labels for each class; {TEXT_SIDE}",
        control="labels in another order",
        ceiling="a probe on the same labels",
        compare=_singular_values,
    ),
    Claim(
        number=31,
        system="MaPLe",
        method="deep prompts",
        rival="CoOp",
        measure="H of the classes that were learned and of the others",
        condition=f"{SHOTS} labels for each of the first half of the classes; {TEXT_SIDE}",
        control="labels in another order",
        compare=_base_to_new,
    ),
)
