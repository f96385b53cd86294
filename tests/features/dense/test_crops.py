import io

import numpy as np
import pytest
from PIL import Image

from evenly.features.dense.crops import CropRule, crop_rows, fill_colour, region_crops
from evenly.features.dense.regions import Regions, encoded_mask
from evenly.features.dense.rows import unit_length
from evenly.features.encoder import OpenClipEncoder
from evenly.features.errors import RowsError, UnreadableImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
FILL = (1, 2, 3)


def file_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def crops_of(*rows: dict, **rule: object) -> list[np.ndarray | None]:
    made = region_crops([file_of(PIXELS), file_of(PIXELS[::-1])], Regions.from_rows(rows), CropRule(**rule), fill=FILL)
    return [None if crop is None else np.asarray(crop) for crop in made]


def test_pixels_outside_the_mask_take_the_fill_by_the_public_equation() -> None:
    mask = np.random.default_rng(1).random((20, 30)) < 0.5
    (crop,) = crops_of({"box": (4, 3, 15, 12), "mask": encoded_mask(mask)})
    kept = mask[3:12, 4:15, None].astype(np.float64)
    assert np.array_equal(crop, PIXELS[3:12, 4:15] * kept + (1 - kept) * FILL)  # crop_with_mask of ov-seg


def test_a_crop_without_its_mask_is_all_of_its_box_in_its_own_picture() -> None:
    mask = encoded_mask(np.zeros((20, 30), bool))
    first, second = crops_of({"box": (4, 3, 15, 12), "mask": mask}, {"picture": 1, "box": (0, 0, 2, 2)}, masked=False)
    assert np.array_equal(first, PIXELS[3:12, 4:15])
    assert np.array_equal(second, PIXELS[::-1][:2, :2])


def test_an_expanded_box_grows_about_its_middle_and_ends_at_the_edge() -> None:
    inside, corner = crops_of({"box": (10, 8, 14, 12)}, {"box": (0, 0, 4, 4)}, expand=2)
    assert np.array_equal(inside, PIXELS[6:14, 8:16])
    assert np.array_equal(corner, PIXELS[:6, :6])


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((29.5, 19.5, 99, 99), (1, 1)),
        ((3.2, 4.2, 3.4, 4.4), (1, 1)),
        ((-9, -9, 1e30, 1e30), (20, 30)),
        ((30, 0, 40, 9), None),
        ((-9, -9, 0, 0), None),
        ((5, 5, 5, 9), None),
        ((9, 9, 5, 5), None),
        ((0, 0, np.nan, 5), None),
        ((0, 0, np.inf, 5), None),
    ],
)
def test_strange_boxes_give_the_pixels_that_they_touch_or_none(box: tuple, size: tuple | None) -> None:
    (crop,) = crops_of({"box": box}, expand=1.0)
    assert (None if crop is None else crop.shape[:2]) == size


def test_nothing_is_cropped_of_an_empty_mask_or_of_a_region_that_does_not_count() -> None:
    empty = encoded_mask(np.zeros((20, 30), bool))
    assert crops_of({"box": (0, 0, 5, 5), "mask": empty}, {"box": (0, 0, 5, 5), "reason": "outside"}) == [None, None]


def test_masks_of_other_pictures_and_bytes_that_are_none_are_refused() -> None:
    with pytest.raises(RowsError, match="600 pixels"):
        crops_of({"box": (0, 0, 5, 5), "mask": encoded_mask(np.ones((5, 5), bool))})
    with pytest.raises(UnreadableImageError):
        next(region_crops([b"GIF89a"], Regions.from_rows([{"box": (0, 0, 5, 5)}]), CropRule(), fill=FILL))


def test_rows_of_crops_stand_at_their_regions_and_are_zero_where_there_is_none(tiny: OpenClipEncoder) -> None:
    boxes = [(30, 0, 40, 9), (0, 0, 9, 9), (5, 5, 5, 9), (9, 9, 30, 20)]
    regions = Regions.from_rows([{"box": box} for box in boxes])
    rows = crop_rows(tiny, [file_of(PIXELS)], regions, CropRule())
    assert not rows[[0, 2]].any()
    alone = tiny.encode_images([file_of(PIXELS[:9, :9]), file_of(PIXELS[9:, 9:])])
    assert np.allclose(rows[[1, 3]], unit_length(alone), atol=1e-6)


def test_the_fill_is_the_padding_of_an_encoder_or_the_mean_of_its_preprocessing(
    tiny: OpenClipEncoder, embedded: OpenClipEncoder
) -> None:
    assert fill_colour(tiny) == (123, 117, 104)
    assert fill_colour(embedded) == (255, 255, 255)
