"""Loops of balancing: compiled and as they stand, against the sentences that describe them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.balance import kernels

PLAIN, COMPILED = kernels.loops_for(0), kernels.loops_for(kernels.COMPILED_FROM)
SEEDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def pairs_of(rng, n, n_entries=5):
    """Matches of n pairs in two languages, the probability of each, and limits of which some are infinite."""
    sizes = rng.integers(0, 4, n)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    numbers = rng.integers(0, n_entries, ends[-1], dtype=np.int32)
    table = rng.choice([0.0, 0.25, 0.5, 0.9, 1.0], (2, n_entries))
    limits = rng.choice([0.25, 0.7, np.inf], ends[-1])
    return ends, numbers, rng.integers(0, 2, n, dtype=np.int32), table, limits


def test_few_matches_do_not_load_the_compiler():
    assert (PLAIN.fill_chances, PLAIN.choose_matches) == (kernels.fill_chances, kernels.choose_matches)
    assert kernels.loops_for(kernels.LOADED_FROM - 1) == PLAIN
    assert COMPILED.fill_chances is not kernels.fill_chances


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 12), st.booleans())
def test_chances_are_that_any_match_fires_within_the_chance_to_be_there(rng, n, limited):
    ends, numbers, language, table, limits = pairs_of(rng, n)
    limits, ceilings = (limits, rng.random(n)) if limited else (limits[:0], np.ones(n))
    results = []
    for loops in (PLAIN, COMPILED):
        chances, certain = np.zeros(n), np.zeros(n, np.int64)
        loops.fill_chances(ends, numbers, language, table, limits, ceilings, chances, certain)
        results.append([chances.tolist(), certain.tolist()])
    assert results[0] == results[1]
    for row, (chance, match) in enumerate(zip(*results[0], strict=True)):
        places = range(ends[row], ends[row + 1])
        p = {place: table[language[row], numbers[place]] for place in places}
        new = [p[place] for place in places if limited and np.isinf(limits[place])]
        known = [
            min(p[place], limits[place]) if limited else p[place]
            for place in places
            if not (limited and np.isinf(limits[place]))
        ]
        by_known = min(1 - np.prod([1 - each for each in known]), ceilings[row])
        assert chance == pytest.approx(ceilings[row] - (ceilings[row] - by_known) * np.prod([1 - each for each in new]))
        assert match == next(
            (place for place in places if (min(p[place], limits[place]) if limited else p[place]) >= 1), -1
        )


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 12), st.booleans(), st.booleans())
def test_the_match_that_keeps_a_pair_is_the_one_of_the_smallest_draw_or_of_the_largest_p(rng, n, limited, per_match):
    ends, numbers, language, table, limits = pairs_of(rng, n)
    limits = limits if limited else limits[:0]
    drawn = rng.random(n) < 0.8
    n_draws = np.where(drawn, np.diff(ends) if per_match else np.diff(ends) > 0, 0).astype(np.int64)
    draws, chances = rng.choice([0.1, 0.3, 0.6, 0.95], n_draws.sum()), rng.random(n)
    results = []
    for loops in (PLAIN, COMPILED):
        deciding, values = np.full(n, -1), np.full(n, -1.0)
        loops.choose_matches(
            ends, numbers, language, table, limits, chances, n_draws, draws, per_match, deciding, values
        )
        results.append([deciding.tolist(), values.tolist()])
    assert results[0] == results[1]
    for row, drawn_numbers in enumerate(np.split(draws, np.cumsum(n_draws))[:-1]):
        places = np.arange(ends[row], ends[row + 1]) if n_draws[row] else np.zeros(0, np.int64)
        p = table[language[row], numbers[places]]
        p = np.minimum(p, limits[places]) if limited else p
        own = drawn_numbers if per_match else np.repeat(drawn_numbers, len(places))
        firing = np.flatnonzero(own < (p if per_match else chances[row]))
        best = min(firing, key=lambda match: (own[match] if per_match else -p[match], match), default=None)
        expected = (-1, -1.0) if best is None else (places[best], own[best])
        assert (results[0][0][row], results[0][1][row]) == expected
