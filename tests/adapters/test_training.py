"""What training promises: the order of the rows never matters, every number comes from a seed, the rate is as said."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import ParameterError
from evenly.adapters.training import (
    Schedule,
    endless_batches,
    epoch_batches,
    minimise,
    row_keys,
    seeded_normal,
    shuffled,
)


def keys_of(n):
    return row_keys(np.arange(2 * n, dtype=np.float32).reshape(n, 2))


def test_equal_rows_have_equal_keys_wherever_they_stand():
    rows = np.float32([[1, 2], [3, 4], [1, 2]])
    keys = row_keys(rows)
    assert keys[0] == keys[2] != keys[1]
    assert row_keys(rows[::-1]) == keys[::-1]
    assert row_keys(np.asfortranarray(rows)) == keys


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(0, 40),
    batch_size=st.integers(1, 12),
    epochs=st.integers(0, 4),
    mixed=st.randoms(use_true_random=False),
)
def test_batches_hold_the_same_rows_however_the_rows_are_ordered(n, batch_size, epochs, mixed):
    keys = keys_of(n)
    order = list(range(n))
    mixed.shuffle(order)
    other = [keys[i] for i in order]
    straight = list(epoch_batches(keys, batch_size=batch_size, epochs=epochs, seed=3))
    moved = list(epoch_batches(other, batch_size=batch_size, epochs=epochs, seed=3))
    assert [[keys[i] for i in batch] for batch in straight] == [[other[i] for i in batch] for batch in moved]
    assert len(straight) == epochs * math.ceil(n / batch_size)
    seen = np.concatenate([np.empty(0, np.int64), *straight]).reshape(epochs, n)
    assert (np.sort(seen, axis=1) == np.arange(n)).all()


def test_epochs_and_seeds_have_orders_of_their_own():
    keys = keys_of(30)
    orders = [shuffled(keys, seed=seed, epoch=epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert orders[0] == shuffled(keys, seed=0, epoch=0).tolist()


@pytest.mark.parametrize(("n", "batch_size"), [(5, 2), (5, 5), (5, 12), (1, 3)])
def test_endless_batches_are_all_full_and_pass_over_every_row_equally_often(n, batch_size):
    taken = list(itertools.islice(endless_batches(keys_of(n), batch_size=batch_size, seed=0), 20))
    assert {len(batch) for batch in taken} == {batch_size}
    counts = np.bincount(np.concatenate(taken), minlength=n)
    assert counts.max() - counts.min() <= 1


def test_no_rows_give_no_endless_batches():
    assert list(endless_batches((), batch_size=4, seed=0)) == []


def published_rates(*, learning_rate, warmup_rate, warmup_steps, steps):
    """The rates that PyTorch's own cosine gives behind the warm-up of CoOp's and REAL's code, step by step."""
    import torch

    optimiser = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=learning_rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, float(steps))
    rates = []
    for step in range(steps):
        if step < warmup_steps:
            rates.append(learning_rate * step / warmup_steps if step else warmup_rate)
            continue
        rates.append(cosine.get_last_lr()[0])
        optimiser.step()
        cosine.step()
    return rates


@pytest.mark.parametrize(("steps", "warmup_steps"), [(500, 50), (110, 50), (60, 0), (1, 0), (51, 50)])
def test_the_rates_are_those_of_the_published_schedule(steps, warmup_steps):
    rule = Schedule(learning_rate=1e-4, warmup_rate=1e-5, warmup_steps=warmup_steps)
    expected = published_rates(learning_rate=1e-4, warmup_rate=1e-5, warmup_steps=warmup_steps, steps=steps)
    assert [rule.rate(step, steps=steps) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


def test_the_cosine_runs_over_all_steps_and_so_ends_above_zero_after_a_warm_up():
    rule = Schedule(learning_rate=1.0, warmup_steps=50, warmup_rate=0.1)
    assert [rule.rate(step, steps=100) for step in (0, 1, 49, 50)] == pytest.approx([0.1, 0.02, 0.98, 1.0])
    assert rule.rate(100, steps=100) == pytest.approx(0.5)


def test_normal_numbers_depend_on_seed_and_name_only():
    numbers = seeded_normal((200, 50), seed=1, name="head")
    assert numbers.dtype == np.float32
    assert abs(numbers.mean()) < 0.03
    assert abs(numbers.std() - 1) < 0.03
    assert np.array_equal(numbers, seeded_normal((200, 50), seed=1, name="head"))
    assert not np.array_equal(numbers, seeded_normal((200, 50), seed=2, name="head"))
    assert not np.array_equal(numbers, seeded_normal((200, 50), seed=1, name="tail"))


def test_it_takes_the_steps_of_adamw():
    import torch

    start, target = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.5])
    weight = start.clone().requires_grad_()
    rule = Schedule(learning_rate=0.1, weight_decay=0.2, eps=1e-3)
    losses = minimise([weight], lambda _: ((weight - target) ** 2).sum(), [np.arange(1)] * 3, rule=rule)
    value, goal, expected = np.array([1.0, -2.0]), np.array([0.5, 0.5]), []
    first, second = np.zeros(2), np.zeros(2)
    for step, rate in enumerate((0.1, 0.075, 0.025), start=1):
        expected.append(((value - goal) ** 2).sum())
        gradient = 2 * (value - goal)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        value = value * (1 - rate * 0.2)
        value -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-3)
    assert losses == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(weight.detach().numpy(), value, rtol=1e-5)


def test_without_batches_nothing_moves_and_a_bad_rate_is_refused():
    import torch

    weight = torch.ones(2, requires_grad=True)
    assert minimise([weight], lambda _: weight.sum(), [], rule=Schedule(learning_rate=1.0)) == []
    assert weight.tolist() == [1, 1]
    with pytest.raises(ParameterError, match="`learning_rate` must be a finite number above 0; got 0"):
        minimise([weight], lambda _: weight.sum(), [], rule=Schedule(learning_rate=0))


@pytest.mark.parametrize(("size", "inside"), [(10, 1), (1_000_001, 2)])
def test_a_small_head_is_trained_by_one_thread_and_the_threads_come_back(size, inside):
    import torch

    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        weight = torch.ones(size, requires_grad=True)

        def loss(_):
            seen.append(torch.get_num_threads())
            return weight.sum()

        minimise([weight], loss, [np.arange(1)], rule=Schedule(learning_rate=1.0))
        assert seen == [inside]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
