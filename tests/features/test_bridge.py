import hashlib

import numpy as np
import pytest
import torch

from evenly.features import bridge


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (-2.0, 1.5), (3.0, 4.0), (7.0, -0.5)])
def test_the_mean_photograph_is_the_mean_of_a_normal_cut_to_0_6(mean, deviation):
    sample = np.random.default_rng(0).normal(mean, abs(deviation), 400_000).clip(0, 6)
    got = bridge.mean_photograph(torch.tensor([mean]), torch.tensor([deviation]))
    assert got.item() == pytest.approx(sample.mean(), abs=0.02)


def test_mean_photographs_and_mean_drawings_are_both_centred_and_the_rest_is_kept():
    generator = torch.Generator().manual_seed(0)
    photograph, drawing, other = torch.rand(3, 20, generator=generator, dtype=torch.float64)
    weight, bias = bridge.picture_projection(photograph, drawing)
    assert torch.allclose(weight @ photograph + bias, torch.zeros(20, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(weight @ drawing + bias, torch.zeros(20, dtype=torch.float64), atol=1e-12)
    across = other - (other @ (drawing - photograph)) / (drawing - photograph).square().sum() * (drawing - photograph)
    assert torch.allclose(weight @ across, across)


def test_the_text_projection_is_the_ridge_solution():
    generator = torch.Generator().manual_seed(1)
    embeddings, classifier = torch.randn(2, 9, 4, generator=generator), torch.randn(9, 6, generator=generator)
    got = bridge.text_projection(embeddings, classifier)
    inputs = embeddings.double().reshape(18, 4)
    centred = classifier.double() - classifier.double().mean(0)
    targets = (centred / centred.norm(dim=1, keepdim=True)).repeat(2, 1)
    gradient = inputs.T @ (inputs @ got.T - targets) + bridge.RIDGE * inputs.square().sum(1).mean() * got.T
    assert got.shape == (6, 4)
    assert gradient.abs().max() < 1e-12


def test_the_drawings_are_the_same_on_every_machine_and_run():
    pictures = bridge.drawings_of_nothing(8)
    assert [picture.size for picture in pictures] == [(224, 224)] * 8
    assert all(picture.getpixel((0, 0)) == (255, 255, 255) for picture in pictures)
    assert [picture.tobytes() for picture in pictures] == [one.tobytes() for one in bridge.drawings_of_nothing(8)]
    # Pillow may change how it smooths: then the model changes, and its cache key with Pillow's version.
    assert len({hashlib.sha256(picture.tobytes()).digest() for picture in pictures}) == 8


def test_each_class_has_four_wordings():
    wordings = bridge.class_wordings()
    assert [len(wording) for wording in wordings] == [1000] * 4
    assert [wording[1] for wording in wordings[:3]] == [
        "a photo of a goldfish",
        "goldfish",
        "goldfish, Carassius auratus",
    ]
    assert wordings[3][1].startswith("goldfish, Carassius auratus: small golden")
