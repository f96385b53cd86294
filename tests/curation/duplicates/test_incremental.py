"""A search that takes over what an earlier one found decides to the bit what a search from scratch decides."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.duplicates.caption_duplicates import CaptionTwins, deduplicate_captions
from evenly.curation.duplicates.fingerprints import COLOUR_BYTES
from evenly.curation.duplicates.image_duplicates import Semantic, deduplicate_semantic
from evenly.curation.duplicates.incremental import PreviousSearch
from evenly.curation.duplicates.record_linkage import Linked, deduplicate_linked
from tests.few_examples import few

# On a circle, a row has the next two for twins, and many cosines are equal; some rows are equal, some all but.
DIRECTIONS = 24
CAPTIONS = ["", "a red fox in snow", "a red fox in snow!", "a red fox, in snow!", "red fox in the snow!", "a dog"]
ROWS = st.tuples(st.integers(0, DIRECTIONS - 1), st.sampled_from([0.97, 1.0]), st.sampled_from([100, 110]))
PAIRS = st.tuples(ROWS, st.sampled_from(CAPTIONS), st.integers(1, 2))
POOLS = st.dictionaries(st.integers(0, 25), PAIRS, min_size=4, max_size=20)
CHANGES = st.lists(
    st.dictionaries(st.integers(0, 25), st.none() | PAIRS, min_size=1, max_size=4), min_size=1, max_size=3
)


def directions(rows):
    angles = np.array([row[0] for row in rows]) * (2 * np.pi / DIRECTIONS)
    lengths = np.array([row[1] for row in rows])[:, None]
    return (np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths).astype(np.float16).reshape(-1, 2)


def batch_of(pool):
    uids = sorted(pool)
    rows, captions, sizes = ([pool[uid][part] for uid in uids] for part in range(3))
    grids = np.repeat(np.array([row[2] for row in rows], np.uint8), COLOUR_BYTES)
    table = {
        "uid": pa.array([f"{uid:03}" for uid in uids], pa.string()),
        "caption": pa.array(captions, pa.string()),
        "image_id": pa.array([str(row) for row in rows], pa.string()),
        "width": pa.array(sizes, pa.int32()),
        "height": pa.array(sizes, pa.int32()),
        "colour": pa.FixedSizeListArray.from_arrays(pa.array(grids), COLOUR_BYTES),
    }
    return pa.table(table), directions(rows)


def semantic(batch, rows, earlier):
    rule = Semantic(min_cosine=0.85, max_colour=9.0, tables=1)
    return deduplicate_semantic(batch, rows, rule, earlier=earlier)


def by_features_alone(batch, rows, earlier):
    return deduplicate_semantic(batch, rows, Semantic(min_cosine=0.95, max_colour=None, tables=3), earlier=earlier)


def linked(batch, rows, earlier):
    return deduplicate_linked(batch, rows, rows, Linked(min_cosine=0.95, tables=2), earlier=earlier)


def captions_of_images(batch, _rows, earlier):
    return deduplicate_captions(batch, CaptionTwins(min_jaccard=0.6), earlier=earlier)


def captions_of_the_pool(batch, _rows, earlier):
    return deduplicate_captions(batch, CaptionTwins(min_jaccard=0.6, scope="pool"), earlier=earlier)


SEARCHES = (semantic, by_features_alone, linked, captions_of_images, captions_of_the_pool)
every_search = pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.__name__)


def unchanged(before, now):
    """Pairs that may differ only in what no search looks at."""
    return [f"{uid:03}" for uid in now if uid in before and before[uid][:2] == now[uid][:2]]


def same(found, scratch):
    notes = [one.notes | {"search": {**dict(one.notes["search"]), "candidates": 0}} for one in (found, scratch)
             if isinstance(one.notes["search"], dict)]  # fmt: skip
    return (
        all(note == notes[0] for note in notes)
        and found.decisions == scratch.decisions
        and found.edges.equals(scratch.edges)
        and (found.compared is None) == (scratch.compared is None)
        and (found.compared is None or found.compared.equals(scratch.compared))
    )


@every_search
@few(25, most=80)
@given(pool=POOLS, changes=CHANGES, most=st.sampled_from([1, 3, 1000]))
def test_a_pool_that_changes_time_and_again_comes_out_as_from_scratch(search, pool, changes, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.curation.duplicates.recall._MOST_ROWS", most)
        found, before = search(*batch_of(pool), None), pool
        for change in changes:
            pool = {uid: pair for uid, pair in (pool | change).items() if pair is not None}
            still = pa.array(unchanged(before, pool), pa.string())
            earlier = PreviousSearch(unchanged=still, edges=found.edges, compared=found.compared)
            found, before = search(*batch_of(pool), earlier), pool
            assert same(found, search(*batch_of(pool), None))
