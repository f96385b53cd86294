import io

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from evenly.features.errors import UnknownModelError
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


@pytest.mark.parametrize("settings", SETTINGS)
def test_torch_resizes_to_the_same_pixels_but_for_a_few_steps(drawings, settings):
    transform = image_transform(32, is_train=False, **settings)
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in drawings]
    pictures = [picture.resize((picture.width * 3, picture.height * 3)) for picture in pictures]
    by_pillow, by_torch = Pixels(transform).of(pictures).int(), Pixels(transform, "torch").of(pictures).int()
    assert by_pillow.shape == by_torch.shape
    differences = (by_pillow - by_torch).abs()
    assert differences.float().mean() < 0.1
    assert differences.max() <= 3


def test_the_probe_tells_pixels_apart():
    transform = image_transform(56, is_train=False)
    probes = {Pixels(transform, resize).probe() for resize in ("pillow", "torch", "torch")}
    assert len(probes) == 2


def test_torch_cannot_stand_in_for_a_transform_of_a_models_own():
    with pytest.raises(UnknownModelError, match="`resize` must be `pillow` for a model whose preprocessing is its own"):
        Pixels(lambda _: torch.zeros(3, 2, 2), "torch")


def test_another_transform_is_left_as_it_is():
    pixels = Pixels(lambda picture: torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1) / 3)
    stored = pixels.of([Image.new("RGB", (2, 2), (9, 3, 0))] * 2)
    assert pixels.normalised(stored).shape == (2, 3, 2, 2)
    assert pixels.normalised(stored)[1, :, 0, 0].tolist() == [3, 1, 0]


@pytest.mark.parametrize("resize", ["pillow", "torch"])
def test_files_of_each_kind_are_opened_as_the_resizer_takes_them(drawings, resize):
    file = io.BytesIO()
    Image.open(io.BytesIO(drawings[0])).convert("RGB").save(file, "JPEG")
    pixels = Pixels(image_transform(32, is_train=False), resize)
    opened = [pixels.opened(data) for data in (drawings[0], file.getvalue())]
    assert [isinstance(picture, Image.Image) for picture in opened] == [True, resize == "pillow"]
    assert pixels.of(opened).shape == (2, 3, 32, 32)
