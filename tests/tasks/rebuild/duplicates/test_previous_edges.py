"""A search over partitions that takes over what an earlier one found gives what one from scratch gives, to the bit."""

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.storage.feature_store import FeatureStore
from evenly.storage.workspace import Workspace
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_CAPTIONS, DEDUPLICATE_LINKED, DEDUPLICATE_SEMANTIC
from evenly.tasks.rebuild.duplicates import pair_search, search
from evenly.tasks.run import Run
from tests.few_examples import few
from tests.tasks.rebuild.duplicates.test_search_by_partition import Encoder, searched

DIRECTIONS, WIDTH = 24, 24
CAPTIONS = ["", "a red fox in snow", "a red fox in snow!", "a red fox, in snow!", "red fox in the snow!", "a dog"]
ROWS = st.tuples(st.integers(0, DIRECTIONS - 1), st.sampled_from([0.97, 1.0]), st.sampled_from([100, 110]))
PAIRS = st.tuples(ROWS, st.sampled_from(CAPTIONS), st.integers(1, 2))
POOLS = st.dictionaries(st.integers(0, 40), PAIRS, min_size=8, max_size=30)
CHANGES = st.lists(
    st.dictionaries(st.integers(0, 40), st.none() | PAIRS, min_size=1, max_size=5), min_size=1, max_size=2
)
# Three that are near each other, of which the second holds the two edges: without it the others still are.
TURNS = {number: ((number, 1.0, 100), "a dog", 1) for number in range(3)}
WORDINGS = {number: ((0, 1.0, 100), CAPTIONS[1 + number], 1) for number in range(3)}
SEARCHES = {
    "captions of a picture": (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.6, "scope": "image"}),
    "captions of the pool": (DEDUPLICATE_CAPTIONS, {"min_jaccard": 0.6, "scope": "pool"}),
    "features and colours": (DEDUPLICATE_SEMANTIC, {"min_cosine": 0.85, "max_colour": 9.0, "tables": 1}),
    "features": (DEDUPLICATE_SEMANTIC, {"min_cosine": 0.95, "max_colour": None, "tables": 3}),
    "records": (DEDUPLICATE_LINKED, {"min_cosine": 0.95, "weight": 0.6, "tables": 2}),
}


def uid_of(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def image_of(row: tuple) -> str:
    return hashlib.sha256(str(row).encode()).hexdigest()


def pairs_of(pool: dict) -> pa.Table:
    """Pairs with pictures on a circle: a picture has its neighbours for twins, and many cosines are equal."""
    numbers = sorted(pool, key=uid_of)
    rows, captions, sizes = ([pool[number][part] for number in numbers] for part in range(3))
    grids = np.repeat(np.array([row[2] for row in rows], np.uint8), COLOUR_BYTES)
    return pa.table(
        {
            "uid": [uid_of(number) for number in numbers],
            "url": [f"https://a.test/{number}" for number in numbers],
            "caption": pa.array(captions, pa.string()),
            "image_id": [image_of(row) for row in rows],
            "width": pa.array(sizes, pa.int32()),
            "height": pa.array(sizes, pa.int32()),
            "colour": pa.FixedSizeListArray.from_arrays(pa.array(grids), COLOUR_BYTES),
        }
    )


def store_features(run: Run) -> None:
    rows = [(turn, length, grey) for turn in range(DIRECTIONS) for length in (0.97, 1.0) for grey in (100, 110)]
    angles, lengths = (np.array([row[part] for row in rows]) for part in range(2))
    vectors = np.zeros((len(rows), WIDTH))
    turns = angles * (2 * np.pi / DIRECTIONS)
    vectors[:, 0], vectors[:, 1] = np.cos(turns) * lengths, np.sin(turns) * lengths
    store = FeatureStore(run.workspace, "letters", "images")
    store.append([image_of(row) for row in rows], vectors.astype(np.float16), np.ones(len(rows)))


@pytest.fixture(scope="module")
def new_run(tmp_path_factory):
    def made() -> Run:
        run = Run(workspace=Workspace.at(tmp_path_factory.mktemp("w")), seed=3)
        store_features(run)
        return run

    return made


@pytest.mark.parametrize("chosen", SEARCHES.values(), ids=SEARCHES)
@few(1, most=2)
@example(pool=TURNS, changes=[{1: None}], bits=(1, 1))
@example(pool=WORDINGS, changes=[{1: None}], bits=(1, 1))
@given(pool=POOLS, changes=CHANGES, bits=st.sampled_from([(1, 1), (2, 1), (1, 2)]))
def test_a_pool_that_changes_time_and_again_comes_out_as_from_scratch(chosen, new_run, pool, changes, bits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.tasks.encoders.open_encoder", lambda _run: Encoder())
        patch.setattr("evenly.curation.duplicates.lsh._MOST_ROWS", 3)
        for module in (search, pair_search):
            patch.setattr(module, "ROWS_AT_ONCE", 8)
        kept = new_run()
        searched(kept, bits[0], pairs_of(pool), chosen)
        for change in changes:
            before, pool = pool, {number: pair for number, pair in (pool | change).items() if pair is not None}
            (record,) = searched(kept, bits[1], pairs_of(pool), chosen)
            (scratch,) = searched(new_run(), bits[1], pairs_of(pool), chosen)
            assert dict(record.hashes) == dict(scratch.hashes)
            assert record.counts == scratch.counts
            assert _without_candidates(record.notes) == _without_candidates(scratch.notes)
            if pool != before:
                assert sum(record.work.values()) == len(pool)
                assert record.work["reused"] >= sum(before.get(number) == pair for number, pair in pool.items())


def _without_candidates(notes) -> dict:
    search_note = notes["search"]
    return dict(notes) | {"search": search_note if isinstance(search_note, str) else {**search_note, "candidates": 0}}


@pytest.mark.parametrize("chosen", SEARCHES.values(), ids=SEARCHES)
def test_rows_that_did_not_change_are_not_compared_again(chosen, new_run, monkeypatch):
    """Of a pool in which all are in one cluster, or alone, and one pair is new: only that one's candidates are read."""
    monkeypatch.setattr("evenly.tasks.encoders.open_encoder", lambda _run: Encoder())
    pool = {number: ((number % 8 * 3, 1.0, 100), f"{'fox' * (number % 8)} {number % 8}", 1) for number in range(60)}
    kept, scratch = new_run(), new_run()
    searched(kept, 2, pairs_of(pool), chosen)
    pool = pool | {61: ((1, 0.97, 100), "an owl", 1)}
    ((again,), (anew,)) = (searched(run, 2, pairs_of(pool), chosen) for run in (kept, scratch))
    assert (again.work, anew.work) == ({"computed": 1, "reused": 60}, {})
    assert again.hashes == anew.hashes
    candidates = [record.notes["search"]["candidates"] for record in (again, anew) if chosen[1].get("scope") != "image"]
    assert candidates in ([], sorted(candidates))


def test_a_run_by_another_rule_is_not_taken_over(new_run):
    pool = {number: ((number % 8, 1.0, 100), f"a fox {number % 5}", 1) for number in range(20)}
    kept = new_run()
    step, rule = SEARCHES["captions of the pool"]
    searched(kept, 1, pairs_of(pool), (step, rule))
    (record,) = searched(kept, 1, pairs_of(pool | {30: pool[0]}), (step, rule | {"min_jaccard": 0.7}))
    assert record.work == {}
    (record,) = searched(replace(kept, seed=4), 1, pairs_of(pool | {30: pool[0]}), (step, rule))
    assert record.work == {}
