"""The claims on a ground of words, where each effect is known beforehand."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.effects import CLAIMS, NotMeasurableError
from evenly.adapters.effects.effect import effect_of
from evenly.adapters.effects.ground import permuted_test
from evenly.adapters.effects.page import claim_of
from evenly.adapters.effects.region_claims import EQUATION, REGION_CLAIMS
from evenly.commands import effects as effects_command
from evenly.flows.cli.errors import UsageError
from tests.adapters.effects.world import world

WORLD = world()
PERMUTED = permuted_test(WORLD, seed=1)
SHOWN = {
    ("VCD", "accuracy among 48 planted classes"), ("GKC", "accuracy"),
    ("OSLoPrompt, near misses", "AUROC, known against near"),
    ("Ranking adapter", "pairs of different counts in the right order"),
    ("ReCo", "mIoU of objects"),
    ("ComCLIP", "captions above the same with its relation turned"),
    ("CLOC's question", "R@1 of the class of an object"), ("DenseCLIP's question", "mIoU with background"),
    ("SCE", "share of the pictures' diversity that captions do not explain"),
}  # fmt: skip
"""What pictures that are sums of their words must show, by system and measure."""


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.system}, {claim.method}, {claim.rival}")
def test_a_claim_is_judged_on_test_pictures_and_chooses_by_others(claim):
    result = claim.compare(WORLD, 1)
    effect = effect_of([result.comparison], seed=1)
    assert effect.n_groups > 1
    most = 99 if "false boxes" in claim.measure else 1
    assert -most <= effect.gain.low <= effect.gain.high <= most
    assert (effect.control_gain is not None) == bool(claim.control)
    assert (effect.ceiling_value is not None) == bool(claim.ceiling)
    if (claim.system, claim.measure) in SHOWN and claim.method != EQUATION:
        assert effect.gain.low > 0, claim_of(vars(claim))
    assert claim.compare(PERMUTED, 1).chosen == result.chosen
    if not claim.draws:
        assert claim.compare(WORLD, 2).comparison.method(np.ones((1, effect.n_groups))) == pytest.approx(effect.value)


def test_a_ground_by_one_hand_and_a_frozen_encoder_say_what_they_cannot_show():
    alone = WORLD.truth["hand"] == "ink"
    rows = np.flatnonzero(alone)
    ground = replace(
        WORLD,
        truth=WORLD.truth[alone].reset_index(drop=True),
        image=WORLD.image[rows],
        norms=WORLD.norms[rows],
        second=WORLD.second[rows],
        frozen=None,
        regions=None,
        links=np.empty((0, 2), dtype=np.int64),
    )
    refused = {claim.system for claim in CLAIMS if not measurable(claim, ground)}
    others = {claim.system for claim in REGION_CLAIMS}
    assert refused == {"NoLA", "GOPro", "Quality Not Quantity", "CLIPPINGS", "MCIP's question"} | others


def test_a_system_that_claims_nothing_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"`only` must be numbers of systems, 1, 2, 3, .*; got 99, x\. Leave it out"):
        effects_command(tmp_path, only="12, x, 99")


def measurable(claim, ground):
    with contextlib.suppress(NotMeasurableError):
        return claim.compare(ground, 1)
