"""Captions of a model with a text decoder, whose weights are random: what they say is nothing, how they come is all."""

import pytest
import torch

from evenly.features.captioning import CaptionSampling, load_caption_model
from evenly.features.errors import UnknownModelError, UnreadableImageError
from evenly.features.open_clip_models import open_model
from evenly.features.pictures.rgb import open_rgb
from tests.picture_pool import picture
from tests.tiny_coca import write_tiny_coca

PICTURES = [picture((200, 20 * at, 90), pattern=at) for at in range(7)]
NAMES = [f"picture {at}" for at in range(7)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_coca(tmp_path_factory.mktemp("coca") / "model")


def load(folder, *, batch_size=3, threads=2, **sampling):
    rule = CaptionSampling(**({"most": 10} | sampling))
    return load_caption_model(f"local-dir:{folder}", sampling=rule, batch_size=batch_size, threads=threads)


@pytest.fixture(scope="module")
def captions(folder):
    return load(folder).captions(PICTURES, NAMES, samples=range(3))


def test_every_picture_has_as_many_captions_as_samples_were_asked_for_and_each_is_another(captions):
    assert [len(of_picture) for of_picture in captions] == [3] * len(PICTURES)
    texts = [text for of_picture in captions for text in of_picture]
    assert all(text == " ".join(text.split()) for text in texts)
    assert not any("<" in text for text in texts)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    "places",
    [pytest.param([0, 1, 2, 3, 4, 5, 6], marks=pytest.mark.slow), [6, 2, 0], pytest.param([4], marks=pytest.mark.slow)],
)
def test_a_picture_has_the_same_captions_whatever_it_is_captioned_with(folder, captions, places):
    pictures, names = ([values[place] for place in places] for values in (PICTURES, NAMES))
    for threads in (1, 3):
        again = load(folder, threads=threads).captions(pictures, names, samples=range(1, 3))
        assert again == [captions[place][1:] for place in places]


def greedy(model, picture, *, fewest, most):
    """The caption of the likeliest tokens, one picture at a time and without any cache."""
    pixels = model.preprocess(open_rgb(picture))[None]
    tokens = [49406]
    with torch.inference_mode():
        while len(tokens) <= most:
            logits = model.model(pixels, torch.tensor([tokens]), output_labels=False)["logits"][0, -1]
            barred = [0, 49406, *([49407] if len(tokens) <= fewest else [])]
            logits[barred] = -torch.inf
            tokens.append(int(logits.argmax()))
            if tokens[-1] == 49407:
                break
    return " ".join(model.tokenizer.decode([token for token in tokens[1:] if token != 49407]).split())


@pytest.mark.slow
def test_the_likeliest_tokens_are_those_of_the_model_asked_token_by_token(folder):
    model = load(folder, top_p=1e-9, fewest=3)
    opened = open_model(f"local-dir:{folder}", None, precision="fp32", device="cpu")
    drawn = model.captions(PICTURES, NAMES, samples=range(1))
    assert [texts[0] for texts in drawn] == [greedy(opened, one, fewest=3, most=10) for one in PICTURES]


def test_identity_is_of_weights_sampling_and_shape(folder, tmp_path):
    other = write_tiny_coca(tmp_path / "other", seed=2)
    models = [load(folder), load(folder, top_p=0.8), load(folder, batch_size=4), load(other)]
    assert len({model.identity for model in models}) == 4
    assert load(folder, threads=1).identity == models[0].identity


def test_a_picture_that_does_not_decode_is_named(folder):
    with pytest.raises(UnreadableImageError):
        load(folder).captions([PICTURES[0], b"no picture"], NAMES[:2], samples=range(1))


def test_a_model_without_a_decoder_and_captions_that_are_too_long_are_refused(folder):
    with pytest.raises(UnknownModelError, match="at most 18 tokens"):
        load(folder, most=60)
    with pytest.raises(UnknownModelError, match="got `none`"):
        load_caption_model(f"local-dir:{folder}", sampling=CaptionSampling(), precision="none")
