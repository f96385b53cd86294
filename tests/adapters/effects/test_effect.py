"""Effects: paired intervals over groups, controls, Holm, verdicts, and the size that would decide."""

import numpy as np
import pytest

from evenly.adapters.effects.effect import PairedArms, auroc_arm, effect_of, mean_arm, with_verdicts, worst_arm
from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.adapters.ood.metrics import auroc

GENERATOR = np.random.default_rng(7)
N_GROUPS = 60
GROUPS = np.repeat(np.arange(N_GROUPS), 4)


def rows(rate):
    """Right answers of 240 rows, at a rate."""
    return (GENERATOR.random(len(GROUPS)) < rate).astype(float)


def comparison(method, rival, **further):
    arms = {name: mean_arm(values, GROUPS, n_groups=N_GROUPS) for name, values in further.items()}
    return PairedArms(
        method=mean_arm(method, GROUPS, n_groups=N_GROUPS),
        rival=mean_arm(rival, GROUPS, n_groups=N_GROUPS),
        n_groups=N_GROUPS,
        **arms,
    )


def test_a_gain_has_the_interval_of_a_paired_bootstrap_over_groups():
    method, rival = rows(0.7), rows(0.4)
    effect = effect_of([comparison(method, rival)], seed=3)
    assert effect.gain == pytest.approx(paired_bootstrap(rival, method, seed=3, groups=GROUPS))
    assert (effect.value, effect.rival_value) == pytest.approx((method.mean(), rival.mean()))


def test_seeds_are_averaged_row_by_row_and_their_range_is_given():
    rival, seeds = rows(0.4), [rows(0.6) for _ in range(3)]
    effect = effect_of([comparison(method, rival) for method in seeds], seed=1)
    assert effect.gain == pytest.approx(paired_bootstrap(rival, np.mean(seeds, axis=0), seed=1, groups=GROUPS))
    gains = [method.mean() - rival.mean() for method in seeds]
    assert effect.seeds == pytest.approx((min(gains), max(gains)))


def test_the_worst_cell_is_that_of_each_resample():
    values, cells = rows(0.5), np.arange(len(GROUPS)) % 3
    arm = worst_arm(values, GROUPS, cells, n_groups=N_GROUPS)
    assert arm(np.ones((1, N_GROUPS)))[0] == min(values[cells == cell].mean() for cell in range(3))
    weights = np.zeros((1, N_GROUPS))
    weights[0, :7] = 2
    kept = GROUPS < 7
    assert arm(weights)[0] == pytest.approx(min(values[kept & (cells == cell)].mean() for cell in range(3)))


def test_a_cell_that_a_resample_lacks_is_left_out():
    arm = worst_arm(np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 1]), n_groups=2)
    assert arm(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist() == [0.0, 1.0]


def test_the_area_is_that_of_the_measure_and_groups_weigh_rows():
    known, unknown = GENERATOR.integers(0, 9, 50) + 1.0, GENERATOR.integers(0, 9, 30) + 0.0
    known_groups, unknown_groups = np.arange(50) % 5, 5 + np.arange(30) % 3
    arm = auroc_arm(known, known_groups, unknown, unknown_groups)
    assert arm(np.ones((1, 8)))[0] == pytest.approx(auroc(known, unknown))
    weights = np.array([[2.0, 1, 0, 1, 1, 0, 2, 1]])
    repeated = [
        np.repeat(scores, weights[0, groups].astype(int))
        for scores, groups in ((known, known_groups), (unknown, unknown_groups))
    ]
    assert arm(weights)[0] == pytest.approx(auroc(*repeated))


def test_a_large_gain_is_shown_a_loss_refuted_and_no_difference_not_shown():
    low, high, same = rows(0.2), rows(0.9), rows(0.5)
    gain, loss, none = with_verdicts(
        [effect_of([one], seed=1) for one in (comparison(high, low), comparison(low, high), comparison(same, same))]
    )
    assert (gain.verdict, loss.verdict, none.verdict) == ("shown", "refuted", "not shown")
    assert none.deciding is None
    assert none.p_value == 1
    assert gain.deciding < N_GROUPS


def test_a_control_that_gains_as_much_leaves_a_claim_unshown():
    rival, method = rows(0.2), rows(0.8)
    [effect] = with_verdicts([effect_of([comparison(method, rival, control=method)], seed=1)])
    assert effect.verdict == "likely"
    assert effect.control_gain.estimate == effect.gain.estimate
    [effect] = with_verdicts(
        [effect_of([comparison(method, rival, control=rival, ceiling=np.ones(len(GROUPS)))], seed=1)]
    )
    assert (effect.verdict, effect.ceiling_value) == ("shown", 1.0)


def test_what_is_sure_by_itself_is_only_likely_among_many_claims():
    rival, method = np.zeros(len(GROUPS)), np.zeros(len(GROUPS))
    method[[4 * group for group in range(9)]] = 1  # of nine groups a row each: z is about 3.2
    alone = effect_of([comparison(method, rival)], seed=1)
    nothing = effect_of([comparison(rival, rival)], seed=1)
    assert with_verdicts([alone])[0].verdict == "shown"
    among = with_verdicts([alone, *[nothing] * 40])[0]
    assert (among.verdict, among.p_holm) == ("likely", pytest.approx(min(1, 41 * alone.p_value)))


def test_an_effect_of_the_same_size_on_the_deciding_number_of_groups_is_seen_four_times_in_five():
    def drawn(n, generator):
        return effect_of(
            [
                PairedArms(
                    method=mean_arm(generator.normal(0.1, 1, n), np.arange(n), n_groups=n),
                    rival=mean_arm(np.zeros(n), np.arange(n), n_groups=n),
                    n_groups=n,
                )
            ],
            seed=1,
        )

    n = round((2.8016 / 0.1) ** 2)  # by the textbook: groups of variance 1, a gain of .1
    generator = np.random.default_rng(5)
    seen = [drawn(n, generator) for _ in range(40)]
    assert 0.6 < np.mean([effect.gain.low > 0 for effect in seen]) < 0.95
    needed = [effect.deciding * (effect.gain.estimate / 0.1) ** 2 for effect in seen]
    assert np.median(needed) == pytest.approx(n, rel=0.05)


def test_one_group_gives_no_effect():
    one = PairedArms(method=lambda w: w[:, 0], rival=lambda w: w[:, 0], n_groups=1)
    with pytest.raises(SplitError, match="`groups` must be the same of every seed, two or more"):
        effect_of([one], seed=1)
