import json

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from evenly.features.encoder import load_encoder
from evenly.features.encoders.folding import fold_batch_norms
from evenly.features.open_clip_models import open_model
from evenly.features.second_backbone import load_second

PROBE = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def rested(model):
    """A model in evaluation mode whose batch normalisations have seen something."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return model.eval()


def rows(model, pictures=PROBE):
    with torch.no_grad():
        return model(pictures).numpy()


class Parts(nn.Module):
    """A convolution, a batch normalisation, and how a subclass uses both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.more = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)

    def forward(self, pictures):
        return self.more(self.use(pictures)).mean((2, 3))


class Skipping(Parts):
    def use(self, pictures):
        made = self.conv(pictures)
        return self.norm(made) + made


class Twice(Parts):
    def use(self, pictures):
        return self.norm(self.conv(self.norm(self.conv(pictures))))


class Before(Parts):
    def use(self, pictures):
        return self.conv(self.norm(pictures))


class Reading(Parts):
    def use(self, pictures):
        return self.norm(self.conv(pictures)) * self.norm.weight[0]


def test_folded_layers_give_the_rows_of_before():
    model = rested(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=8), BatchNormAct2d(8, act_layer=nn.SiLU),
            nn.Conv2d(8, 5, 1), nn.BatchNorm2d(5, affine=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
    )  # fmt: skip
    others = torch.rand(4, 3, 20, 16)
    before = rows(model, others)
    assert fold_batch_norms(model, model, PROBE) == 3
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert np.allclose(rows(model, others), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Skipping, Twice, Before, Reading])
def test_what_cannot_be_folded_stays_as_it_is(kind):
    model = rested(kind())
    before, modules = rows(model), [*model.modules()]
    assert fold_batch_norms(model, model, PROBE) == 0
    assert np.array_equal(rows(model), before)
    assert [*model.modules()] == modules


def test_a_model_without_batch_normalisation_is_not_run():
    assert fold_batch_norms(nn.Sequential(nn.Conv2d(3, 4, 3)), pytest.fail, PROBE) == 0


def test_nothing_is_folded_in_half_precision():
    model = rested(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).to(torch.bfloat16)
    assert fold_batch_norms(model, model, PROBE.to(torch.bfloat16)) == 0


def test_an_encoder_is_folded_and_says_so(tmp_path, drawings):
    import open_clip
    from safetensors.torch import save_file

    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    text = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = tmp_path / "tiny-resnet.json"
    config.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(config)
    weights = tmp_path / "weights.safetensors"
    save_file(rested(open_clip.create_model("tiny-resnet")).state_dict(), weights)

    encoder = load_encoder("tiny-resnet", str(weights), cache="unused", threads=1)
    plain = open_model("tiny-resnet", str(weights), precision="fp32", device="cpu")
    assert encoder.facts["folded_batch_norms"] == 3 + 4 * 4
    assert encoder.facts["weights"] == plain.facts["weights"]
    assert encoder.images.batch_size == 16
    images = encoder.images.prepare(drawings[:16])
    with torch.no_grad():
        wanted = plain.model.encode_image(encoder.images.pixels.normalised(images)).numpy()
    assert np.allclose(encoder.encode_images(drawings[:16]), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_a_second_backbone_is_folded_and_says_so(tmp_path, drawings):
    import timm
    from safetensors.torch import save_file

    weights = tmp_path / "weights.safetensors"
    model = rested(timm.create_model("resnet10t", num_classes=0))
    save_file(model.state_dict(), weights)
    second = load_second("timm:resnet10t", str(weights), cache="unused", threads=1)
    assert second.facts["folded_batch_norms"] == 14
    assert second.encode_images(drawings[:2]).shape == (2, 512)
