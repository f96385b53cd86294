import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from torchvision import transforms

from evenly.features.pictures.decoded import middle, most_ratio
from evenly.features.pictures.pixels import Pixels

MODES = [{"resize_mode": "shortest"}, {"resize_mode": "longest", "fill_color": 255}, {"resize_mode": "squash"}]


@pytest.mark.parametrize("resize", ["pillow", "torch"])
@pytest.mark.parametrize("side", [32, 224, 260])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 600), (60_000, 1), (1, 3_000_000), (5_000, 2)])
def test_pixels_of_the_thinnest_pictures_are_there_and_few(size, mode, side, resize):
    picture = Image.new("RGB", size, (200, 30, 60))
    pixels = Pixels(image_transform(side, is_train=False, **mode), resize)
    shown = pixels.of([picture])
    assert shown.shape == (1, 3, side, side)
    assert (shown == torch.tensor([200, 30, 60]).view(1, 3, 1, 1)).all(1).any()
    assert torch.equal(pixels.of([np.asarray(picture)]), shown)


@pytest.mark.parametrize("resize", ["pillow", "torch"])
@pytest.mark.parametrize("size", [(224, 1), (390, 1), (64, 48), (3, 1_100)])
def test_pictures_that_can_be_resized_are_seen_whole(size, resize):
    transform = image_transform(224, is_train=False, resize_mode="longest")
    picture = Image.effect_noise(size, 90).convert("RGB")
    assert middle(picture, most_ratio(transform)) is picture
    if resize == "pillow":
        assert torch.equal(Pixels(transform).normalised(Pixels(transform).of([picture]))[0], transform(picture))


def test_the_middle_is_in_the_middle_and_the_same_of_pixels():
    ramp = np.repeat(np.arange(1_001, dtype=np.uint16)[None] // 4, 2, axis=0).astype(np.uint8)
    rows = np.stack([ramp] * 3, axis=2)
    for shown in (rows, rows.transpose(1, 0, 2)):
        seen = middle(np.ascontiguousarray(shown), 100)
        assert sorted(seen.shape[:2]) == [2, 201]
        assert (seen == np.asarray(middle(Image.fromarray(shown), 100))).all()
        line = seen.reshape(-1, 3)[:, 0] if seen.shape[0] == 2 else seen[:, 0, 0]
        assert abs(int(np.median(line)) - 125) <= 1


@pytest.mark.parametrize(
    ("transform", "ratio"),
    [
        (image_transform(224, is_train=False), 392),
        (image_transform(448, is_train=False), 400),
        (image_transform((32, 64), is_train=False), 56),
        (transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]), 392),
        (lambda picture: picture, 392),
    ],
)
def test_the_ratio_is_of_the_smallest_side_that_is_resized_to(transform, ratio):
    assert most_ratio(transform) == ratio
