import numpy as np
import pytest

from evenly.curation.duplicates.sketches import WIDTH, plan_search, sign_codes


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def turned(rows, cosine, rng):
    """Rows at this cosine to `rows`."""
    other = rng.normal(size=rows.shape)
    other -= (other * rows).sum(axis=1, keepdims=True) * rows / (rows * rows).sum(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return cosine * rows + np.sqrt(1 - cosine**2) * length * other / np.linalg.norm(other, axis=1, keepdims=True)


@pytest.mark.parametrize("cosine", [0.5, 0.9, 0.99])
def test_differing_bits_count_the_angle(cosine):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(400, 96))
    codes = [sign_codes(unit(each), np.arange(400), key="k") for each in (rows, turned(rows, cosine, rng))]
    share = np.bitwise_count(codes[0] ^ codes[1]).sum(axis=1).mean() / WIDTH
    assert share == pytest.approx(np.arccos(cosine) / np.pi, abs=0.005)


def test_a_code_is_the_same_in_every_batch(monkeypatch):
    rows = unit(np.random.default_rng(2).normal(size=(50, 33)))
    whole = sign_codes(rows, np.arange(50), key="k")
    monkeypatch.setattr("evenly.curation.duplicates.sketches._BATCH", 7)
    assert (sign_codes(rows, np.arange(50)[::-1], key="k")[::-1] == whole).all()
    assert (sign_codes(rows, np.arange(50), key="other") != whole).any()


def test_products_are_exact_in_single_precision():
    rows = unit(np.random.default_rng(3).normal(size=(64, 768)))
    whole = np.rint(rows.astype(np.float64) * 2048)
    from evenly.curation.duplicates.sketches import _planes

    planes = _planes(768, "k")
    assert (whole.astype(np.float32) @ planes == whole @ planes.astype(np.float64)).all()


@pytest.mark.parametrize("cosine", [0.7, 0.87, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("tables", [64, 256])
def test_the_plan_expects_to_find_99_of_100_at_the_threshold(cosine, tables):
    plan = plan_search(cosine, tables)
    assert plan.recall >= 0.99
    assert plan.bits == 64 or plan_search(cosine, tables * 4).bits > plan.bits


def test_expected_recall_is_what_pairs_at_the_threshold_have():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(3000, 64))
    plan = plan_search(0.95, 16)
    one, other = (sign_codes(unit(each), np.arange(3000), key="k") for each in (rows, turned(rows, 0.949, rng)))
    masks = plan.masks("k")
    agree = ((one[:, None] ^ other[:, None]) & masks == 0).all(axis=2).any(axis=1)
    assert agree.mean() == pytest.approx(plan.recall, abs=0.01)
