import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.balance.picked_texts import STEP, pick_texts
from evenly.curation.draws import draw
from evenly.curation.errors import ColumnsError


def picked(images, seed=1, start=0):
    uids = pa.array([f"{start + i:032x}" for i in range(len(images))], pa.string())
    return pick_texts(uids, pa.array(images, pa.string()), seed=seed)


def test_of_each_picture_the_text_with_the_smallest_draw_is_picked():
    found = picked(["x", "y", "x", None, "x", None])
    assert found.texts.tolist() == [3, 1, 3, 1, 3, 1]
    draws = [draw(seed=1, step=STEP, uid=f"{i:032x}", entry="") for i in (0, 2, 4)]
    assert found.draws[[0, 2, 4]].tolist() == draws
    assert np.flatnonzero(found.chosen).tolist() == sorted([1, 3, 5, (0, 2, 4)[int(np.argmin(draws))]])
    table = found.to_table()
    assert table["uid"].to_pylist() == [f"{i:032x}" for i in (0, 2, 4)]
    assert table["texts"].to_pylist() == [3, 3, 3]
    assert table["draw"].to_pylist() == draws
    assert table["chosen"].to_pylist().count(True) == 1


@given(st.lists(st.sampled_from(["x", "y", "z", None]), max_size=20), st.integers(), st.randoms(use_true_random=False))
def test_the_order_of_the_texts_changes_no_pick(images, seed, chance):
    uids = [f"{i:032x}" for i in range(len(images))]
    whole = dict(zip(uids, picked(images, seed).chosen.tolist(), strict=True))
    order = list(range(len(images)))
    chance.shuffle(order)
    mixed = pick_texts(
        pa.array([uids[i] for i in order], pa.string()), pa.array([images[i] for i in order], pa.string()), seed=seed
    )
    assert dict(zip(mixed.uids.to_pylist(), mixed.chosen.tolist(), strict=True)) == whole
    named = [image for image in images if image is not None]
    assert sum(whole.values()) == len(set(named)) + images.count(None)


def test_each_text_is_picked_equally_often():
    n = 6000
    found = picked([f"picture {i // 3}" for i in range(3 * n)])
    shares = found.chosen.reshape(n, 3).sum(axis=0)
    assert shares.sum() == n
    assert (np.abs(shares - n / 3) < 3 * np.sqrt(n * 2 / 9)).all()


def test_no_texts_and_no_pictures():
    assert picked([]).to_table().num_rows == 0
    assert picked([None, None]).chosen.all()
    with pytest.raises(ColumnsError, match="got 1 for 2 pairs"):
        pick_texts(pa.array(["a", "b"]), pa.array(["x"]), seed=1)
