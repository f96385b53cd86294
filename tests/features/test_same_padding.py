"""Convolutions padded as TensorFlow pads them, made ordinary ones: the rows of before, by every kernel."""

import numpy as np
import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from evenly.features.encoders.same_padding import pad_symmetrically


def tower(*convolutions):
    torch.manual_seed(7)
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()


def rows(model, pictures):
    with torch.no_grad():
        return model(pictures).numpy()


@pytest.mark.parametrize("kernel", [3, 5, (3, 7)])
@pytest.mark.parametrize(("groups", "bias"), [(1, True), (4, False)])
@pytest.mark.parametrize("size", [(32, 32), (20, 14)])
def test_even_pictures_have_the_rows_of_before(kernel, groups, bias, size):
    model = tower(nn.Conv2d(3, 4, 1), Conv2dSame(4, 8, kernel, stride=2, groups=groups, bias=bias))
    pictures = torch.randn(3, 3, *size)
    before = rows(model, pictures)
    assert pad_symmetrically(model, model, pictures[:1]) == 1
    assert not any(isinstance(module, Conv2dSame) for module in model.modules())
    assert np.allclose(rows(model, pictures), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("convolution", "size"),
    [
        (Conv2dSame(3, 4, 3, stride=2), (32, 31)),
        (Conv2dSame(3, 4, 4, stride=2), (32, 32)),
        (Conv2dSame(3, 4, 1, stride=2), (32, 32)),
        (Conv2dSame(3, 4, 3, stride=1), (32, 32)),
        (Conv2dSame(3, 4, 3, stride=2, dilation=2), (32, 32)),
    ],
    ids=["odd picture", "even kernel", "kernel of one", "stride 1", "dilated"],
)
def test_another_padding_stays(convolution, size):
    model, pictures = tower(convolution), torch.randn(1, 3, *size)
    assert pad_symmetrically(model, model, pictures) == 0
    assert model[0] is convolution


def test_all_is_put_back_where_rows_change():
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = Conv2dSame(3, 4, 3, stride=2)

        def forward(self, pictures):
            return self.conv(pictures).flatten(1) * self.conv.weight.shape[-1]

    model, pictures = Asking().eval(), torch.randn(1, 3, 8, 8)
    assert pad_symmetrically(model, model, pictures) == 0
    assert type(model.conv) is Conv2dSame


def test_nothing_is_replaced_in_half_precision_and_a_tower_without_is_not_run():
    half = tower(Conv2dSame(3, 4, 3, stride=2)).to(torch.bfloat16)
    assert pad_symmetrically(half, half, torch.randn(1, 3, 8, 8, dtype=torch.bfloat16)) == 0
    assert pad_symmetrically(nn.Sequential(nn.Conv2d(3, 4, 3)), pytest.fail, torch.randn(1, 3, 8, 8)) == 0
