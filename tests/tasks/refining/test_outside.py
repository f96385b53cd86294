"""Pictures outside a pool: in one index with the pool's they are harder to find, as a gallery of their own hides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.features.refining.heads import Heads
from evenly.features.refining.pairs import PairRows
from evenly.tasks.refining.measures import AMONG, TO_PICTURE, TO_TEXT, judged
from evenly.tasks.refining.outside import unseen_pictures, with_outside
from evenly.tasks.refining.pairs import RefiningParts

D = 12


def pairs(random, n, name):
    captions = np.array([f"{name} {random.integers(n)}" for _ in range(n)])
    rows = random.normal(size=(2, n, D)).astype(np.float32)
    return PairRows(
        image=rows[0],
        text=rows[1],
        uids=np.array([f"{name}/{number}" for number in range(n)]),
        captions=captions,
        groups=captions,
        labels=np.full(n, ""),
    )


def recall(rows, heads, pool):
    """R@1 as its definition has it: the share of queries of `rows` whose nearest of all is their own."""
    unit = [
        np.concatenate([side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides])
        for sides in (
            (heads.image(rows.image), heads.image(pool.image)),
            (heads.text(rows.text), heads.text(pool.text)),
        )
    ]
    captions = np.concatenate([rows.captions, pool.captions])
    _, first = np.unique(captions, return_index=True)
    texts, said = unit[1][first], captions[first]
    to_picture = [
        captions[(unit[0] @ text).argmax()] == name
        for text, name in zip(texts, said, strict=True)
        if name in rows.captions
    ]
    to_text = [
        said[(texts @ image).argmax()] == name for image, name in zip(unit[0][: len(rows)], rows.captions, strict=True)
    ]
    return np.mean(to_picture), np.mean(to_text)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20), shared=st.booleans())
def test_recall_among_the_pools_is_that_of_one_index(seed, shared):
    random = np.random.default_rng(seed)
    outside, pool = pairs(random, 9, "a"), pairs(random, 14, "a" if shared else "b")
    heads = Heads.start(D, 2, seed=seed)
    parts = with_outside(RefiningParts(pairs={"test": pool}), {"others": outside})
    correct = judged(parts, heads)
    of = [correct[f"{direction} R@1", AMONG.format("others")].mean for direction in (TO_PICTURE, TO_TEXT)]
    assert np.allclose(of, recall(outside, heads, pool))


def test_twins_of_what_is_trained_on_are_not_outside():
    random = np.random.default_rng(1)
    outside = pairs(random, 6, "a")
    assert unseen_pictures(outside, outside.image[2:4] * 3).uids.tolist() == outside.uids[[0, 1, 4, 5]].tolist()
