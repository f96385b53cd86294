import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.dense.rows import Dense, frame_of, interpolated, unit_length
from evenly.features.errors import RowsError

SIDES = st.integers(1, 3000)


def dense_of(cells: np.ndarray, size: tuple[int, int] = (70, 70)) -> Dense:
    n = len(cells)
    frames = np.tile([0.0, 0.0, *size], (n, 1))
    return Dense(image=unit_length(cells.mean(axis=(1, 2))), cells=cells, sizes=np.tile(size, (n, 1)), frames=frames)


@pytest.mark.parametrize(
    ("size", "preprocessing", "frame"),
    [
        ((100, 50), {"resize_mode": "longest"}, (0, -25, 100, 75)),
        ((100, 50), {"resize_mode": "shortest"}, (25, 0, 75, 50)),
        ((100, 50), {"resize_mode": "squash"}, (0, 0, 100, 50)),
        ((100, 50), {"crop_pct": 0.8}, (30, 5, 70, 45)),
        ((1, 2000), {"resize_mode": "shortest"}, (0, 999.5, 1, 1000.5)),
    ],
)
def test_a_frame_is_where_an_encoder_looks(size: tuple, preprocessing: dict, frame: tuple) -> None:
    assert frame_of(size, preprocessing, 400) == pytest.approx(frame)


@given(SIDES, SIDES, st.sampled_from(["longest", "shortest", "squash"]))
def test_a_frame_lies_in_the_middle_of_its_picture(width: int, height: int, mode: str) -> None:
    x0, y0, x1, y1 = frame_of((width, height), {"resize_mode": mode}, 400)
    assert (x0 + x1, y0 + y1) == pytest.approx((width, height))
    assert x0 < x1
    assert y0 < y1


@given(
    st.tuples(st.floats(-50, 120), st.floats(-50, 120), st.floats(1, 200), st.floats(1, 200)),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_the_shares_of_a_box_add_up_to_its_area_on_the_picture(box: tuple, height: int, width: int) -> None:
    dense = dense_of(np.ones((1, height, width, 2), np.float32), (90, 60))
    x0, y0, wide, high = box
    shares = dense.weights(0, np.array([[x0, y0, x0 + wide, y0 + high]]))
    extent = max(0, min(90, x0 + wide) - max(0, x0)) * max(0, min(60, y0 + high) - max(0, y0))
    assert shares.sum() * 90 * 60 / (height * width) == pytest.approx(extent, abs=1e-6)


def test_between_the_centres_of_cells_rows_are_interpolated_and_beyond_them_the_nearest_is_taken() -> None:
    grid = np.array([[[0.0], [10.0]], [[20.0], [30.0]]], np.float32)
    values = interpolated(grid, np.array([-3.0, 0.5, 9.0]), np.array([0.0, 0.25, 1.0]))[..., 0]
    assert values.tolist() == [[0.0, 2.5, 10.0], [10.0, 12.5, 20.0], [20.0, 22.5, 30.0]]


def test_a_map_on_pixels_has_the_value_of_each_cell_at_its_centre() -> None:
    cells = unit_length(np.random.default_rng(0).normal(size=(1, 7, 7, 4)).astype(np.float32))
    maps = np.moveaxis(cells[0], 2, 0)
    dense = dense_of(cells, (77, 77))
    assert np.allclose(dense.on_pixels(0, maps)[:, 5::11, 5::11], maps, atol=1e-6)
    assert np.array_equal(dense.on_pixels(0, maps, step=4), dense.on_pixels(0, maps)[:, 2::4, 2::4])


def test_rows_of_another_backbone_are_taken_at_the_same_places() -> None:
    ramp = np.linspace(-1, 1, 9, dtype=np.float32)
    grid = np.stack(np.meshgrid(ramp, ramp, indexing="ij"), axis=-1)[None]
    dense = dense_of(np.ones((1, 7, 7, 2), np.float32))
    second = dense.with_second(grid, dense.frames).second
    assert second is not None
    assert second.shape == (1, 7, 7, 2)
    assert np.allclose(second[0, 6, 3], [1, 0], atol=1e-6)
    assert np.allclose(second[0, 1, 1], -np.sqrt(0.5), atol=1e-6)


def test_rows_of_different_pictures_are_refused() -> None:
    with pytest.raises(RowsError, match="same pictures"):
        Dense(
            image=np.ones((2, 3), np.float32),
            cells=np.ones((1, 7, 7, 3), np.float32),
            sizes=np.ones((2, 2), np.int64),
            frames=np.ones((2, 4)),
        )
