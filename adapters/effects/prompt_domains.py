"""Claims of prompt learners where the world changes: pictures by other hands, and pictures of no class."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.effects.claim import Claim, JudgedClaim, arms_of
from evenly.adapters.effects.effect import Arm, PairedArms, harmonic_arm, mean_arm
from evenly.adapters.effects.ground import Ground
from evenly.adapters.effects.pools import two_hands
from evenly.adapters.effects.prompt_claims import SHOTS, PromptRows, chosen_by, drawn_problem, drawn_support
from evenly.adapters.evaluation.measures.rejection import choose_threshold
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.ood.scores import energy, msp
from evenly.adapters.prompts.coop import CoOp
from evenly.adapters.prompts.gopro import GOPro
from evenly.adapters.prompts.osloprompt import OSLoPrompt

VIEWS = 2
SHORT = {"steps": 150}
"""Half the steps for every method: a fit of GOPro takes a minute."""


@lru_cache(maxsize=8)
def _learned_of_one_hand(ground: Ground, seed: int) -> tuple[Integers, dict[str, Floats], dict[str, Any]]:
    """Pictures by the other hands, whether each is named rightly by GOPro and its rivals, and what was chosen."""
    first, judging = two_hands(ground)
    support = drawn_support(ground, ground.where("fit", hand=first), seed)
    problem = PromptRows(
        ground=ground,
        support=support,
        val=ground.where("val", hand=first),
        rows=ground.where("test", hand=judging),
        classes=ground.classes,
        further={"views": ground.crops(support, VIEWS)},
    )
    tuned = {kind.__name__: problem.tuned(kind, seed, fixed=SHORT) for kind in (GOPro, CoOp)}
    values = {name: problem.right(of_kind.adapter) for name, of_kind in tuned.items()}
    values["zero-shot"] = problem.nearest(ground.prototypes(ground.classes), problem.rows)
    return problem.rows, values, {name: chosen_by(of_kind) for name, of_kind in tuned.items()}


def _one_hand(ground: Ground, seed: int, *, rival: str) -> JudgedClaim:
    rows, values, chosen = _learned_of_one_hand(ground, seed)
    arms = arms_of(ground, rows, {"method": values["GOPro"], "rival": values[rival]})
    return JudgedClaim(comparison=arms, chosen=chosen)


def _open_set(ground: Ground, seed: int) -> JudgedClaim:
    """H of known classes told apart and other pictures rejected, below a threshold that is best on val."""
    problem = replace(drawn_problem(ground, seed, ground.known), further={"rejection_names": ground.near})
    nothing = tuple(planted["name"] for planted in ground.planted)[: len(ground.near)]
    tuned, coop = (problem.tuned(kind, seed, fixed=SHORT, guard=False) for kind in (OSLoPrompt, CoOp))
    control = replace(problem, further={"rejection_names": nothing}).fitted(OSLoPrompt, {**SHORT, **tuned.chosen}, seed)
    adapters = {"method": (tuned.adapter, energy), "rival": (coop.adapter, msp), "control": (control, energy)}
    arms = {name: _open_set_arm(problem, *of_arm) for name, of_arm in adapters.items()}
    strange = ground.where("test", label=ground.near + ground.unknown)
    _, n_groups = ground.groups(np.concatenate([problem.rows, strange]))
    chosen = dict(tuned.chosen)
    return JudgedClaim(comparison=PairedArms(n_groups=n_groups, **arms), chosen={"method": chosen})


def _open_set_arm(problem: PromptRows, adapter: Adapter, score: Callable[[Floats], Floats]) -> Arm:
    """H of an adapter whose answers below a threshold of a score are rejected; `val` and near classes choose it."""
    ground, scores, right = problem.ground, {}, {}
    unknown = {
        "val": ground.where("val", label=ground.near),
        "test": ground.where("test", label=ground.near + ground.unknown),
    }
    for part, rows in {"val": problem.val, "test": problem.rows}.items():
        logits = [adapter.decision_function(Features(image=ground.image[places])) for places in (rows, unknown[part])]
        scores[part] = [score(of_rows) for of_rows in logits]
        right[part] = logits[0].argmax(axis=1) == ground.labels(rows, problem.classes)
    threshold, _ = choose_threshold(scores["val"][0], right["val"], {"near": scores["val"][1]})
    accepted, rejected = right["test"] & (scores["test"][0] >= threshold), scores["test"][1] < threshold
    numbers, n_groups = ground.groups(np.concatenate([problem.rows, unknown["test"]]))
    closed = mean_arm(accepted, numbers[: len(accepted)], n_groups=n_groups)
    return harmonic_arm(closed, mean_arm(rejected, numbers[len(accepted) :], n_groups=n_groups))


DOMAIN_CLAIMS = (
    *(
        Claim(
            number=26,
            system="GOPro",
            method="a context held together over pictures and their crops",
            rival=rival,
            measure="accuracy on the other hands",
            condition=f"{SHOTS} labels by one hand for each class",
            compare=partial(_one_hand, rival=rival),
        )
        for rival in ("CoOp", "zero-shot")
    ),
    Claim(
        number=39,
        system="OSLoPrompt",
        method="energy of a context learned beside names of near classes",
        rival="msp of CoOp",
        measure="H of known classes told apart and others rejected",
        condition=f"{SHOTS} labels for each class; the near classes are named",
        control="names that say nothing compete",
        compare=_open_set,
    ),
)
