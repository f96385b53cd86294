import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evenly.features.dense.regions import Regions, decoded_mask, encoded_mask
from evenly.features.errors import RowsError

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(MASKS)
def test_a_mask_comes_back_as_it_was(mask: np.ndarray) -> None:
    height, width = mask.shape
    assert np.array_equal(decoded_mask(encoded_mask(mask), (width, height)), mask)


@given(st.text(max_size=40), st.integers(1, 50), st.integers(1, 50))
def test_run_lengths_of_another_picture_or_of_none_are_refused(counts: str, width: int, height: int) -> None:
    try:
        mask = decoded_mask(counts, (width, height))
    except RowsError:
        return
    assert mask.shape == (height, width)


@pytest.mark.parametrize("counts", ["", "o" * 100_000, encoded_mask(np.ones((3, 4), bool)), "é", "0" * 9])
def test_damaged_run_lengths_are_refused_before_they_are_decoded(counts: str) -> None:
    with pytest.raises(RowsError, match="25 pixels"):
        decoded_mask(counts, (5, 5))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "picture": st.integers(0, 3),
            "box": st.tuples(*[st.integers(-900, 900).map(lambda n: n / 4)] * 4).map(list),
            "label": st.text(max_size=5),
            "score": st.one_of(st.integers(0, 10_000).map(lambda n: n / 10_000), st.just(np.nan)),
            "reason": st.sampled_from(["", "small"]),
        }
    ),
    max_size=6,
)


@given(ROWS)
def test_regions_come_back_from_json_as_they_were(rows: list) -> None:
    regions = Regions.from_rows(rows)
    for place in range(4):
        of_one = regions.of_picture(place)
        again = Regions.from_rows([{**row, "picture": place} for row in json.loads(json.dumps(of_one.rows()))])
        assert again.rows() == [{**row, "picture": place} for row in of_one.rows()]
    assert len(regions.kept) == sum(not row["reason"] for row in rows)


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(RowsError, match="one entry for each region, 1"):
        Regions(**vars(Regions.from_rows([{}])) | {"labels": np.array(["a", "b"], object)})
