import io

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from evenly.features.pictures.pixels import Pixels

SETTINGS = [{"resize_mode": "shortest"}, {"resize_mode": "longest", "fill_color": 255}, {"resize_mode": "squash"}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_pixels_of_a_batch_are_those_of_the_transform_to_the_bit(drawings, settings):
    transform = image_transform(56, is_train=False, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28), **settings)
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in drawings]
    pixels = Pixels(transform)
    stored = pixels.of(pictures)
    assert stored.dtype == torch.uint8
    assert torch.equal(pixels.normalised(stored), torch.stack([transform(picture) for picture in pictures]))


def test_another_transform_is_left_as_it_is():
    pixels = Pixels(lambda picture: torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1) / 3)
    stored = pixels.of([Image.new("RGB", (2, 2), (9, 3, 0))] * 2)
    assert pixels.normalised(stored).shape == (2, 3, 2, 2)
    assert pixels.normalised(stored)[1, :, 0, 0].tolist() == [3, 1, 0]
