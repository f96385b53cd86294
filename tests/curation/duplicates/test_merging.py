import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.duplicates.merging import last_survivors


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.data())
def test_a_merged_pair_ends_where_its_chain_ends(uids, data):
    into = {uid: data.draw(st.integers(uid + 1, 40)) for uid in uids}  # upwards, so that no chain runs in a circle

    def end(uid):
        return end(into[uid]) if uid in into else uid

    sides = {"uid": into.keys(), "into": into.values()}
    merged = pa.table({name: pa.array([str(uid) for uid in side], pa.string()) for name, side in sides.items()})
    assert last_survivors(merged).to_pylist() == [str(end(uid)) for uid in uids]
