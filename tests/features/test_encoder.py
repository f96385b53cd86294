import io

import numpy as np
import pytest
import torch
from PIL import Image

from evenly.features.encoder import load_encoder
from evenly.features.errors import UnknownModelError, UnreadableImageError

TINY = "tiny-random"
TEXTS = ["a cat", "", "two dogs on a red sofa", "über", "a " * 40, "cat"]


def load(checkpoint, **options):
    return load_encoder(TINY, str(checkpoint), cache="unused", **({"threads": 1, "batch_size": 4} | options))


def test_rows_are_what_open_clip_itself_computes(tiny, tiny_checkpoint, drawings):
    import open_clip

    model, preprocess = open_clip.create_model_from_pretrained(TINY, str(tiny_checkpoint))
    opaque = drawings[::3]  # open_clip drops alpha, we paste it on white
    pixels = torch.stack([preprocess(Image.open(io.BytesIO(data))) for data in opaque])
    model.eval()
    with torch.inference_mode():
        images = model.encode_image(pixels).numpy()
        texts = model.encode_text(open_clip.get_tokenizer(TINY)(TEXTS)).numpy()
    assert np.allclose(tiny.encode_images(opaque), images, atol=1e-5)
    assert np.allclose(tiny.encode_texts(TEXTS), texts, atol=1e-5)


def test_rows_are_single_precision_in_the_order_of_the_input(tiny, drawings):
    rows = tiny.encode_images(drawings)
    assert rows.shape == (37, tiny.dimension) == (37, 16)
    assert rows.dtype == np.float32
    assert np.array_equal(tiny.encode_images(drawings[::-1]), rows[::-1])
    assert np.array_equal(tiny.encode_texts(TEXTS[::-1]), tiny.encode_texts(TEXTS)[::-1])


@pytest.mark.parametrize("sizes", [(37,), (4, 33), (1, 2, 34), (20, 17)])
def test_the_grouping_of_a_list_changes_no_bit(tiny, drawings, sizes):
    ends = np.cumsum(sizes)
    parts = [drawings[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    whole = tiny.encode_images(drawings)
    assert np.concatenate([tiny.encode_images(part) for part in parts]).tobytes() == whole.tobytes()


def test_the_number_of_threads_changes_no_bit_and_not_the_identity(tiny_checkpoint, drawings):
    one, three = load(tiny_checkpoint), load(tiny_checkpoint, threads=3)
    assert one.identity == three.identity
    assert one.encode_images(drawings).tobytes() == three.encode_images(drawings).tobytes()
    assert one.encode_texts(TEXTS * 9).tobytes() == three.encode_texts(TEXTS * 9).tobytes()


def test_a_device_of_its_own_that_is_handed_batches_gives_the_same_bits(tiny, tiny_checkpoint, drawings):
    handed = load(tiny_checkpoint, device="cpu:0", threads=2)
    assert handed.identity == tiny.identity
    assert handed.encode_images(drawings).tobytes() == tiny.encode_images(drawings).tobytes()
    assert handed.encode_texts(TEXTS).tobytes() == tiny.encode_texts(TEXTS).tobytes()


def test_the_identity_tells_what_changes_numbers(tiny, tiny_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(tiny_checkpoint)
    state["visual.proj"] += 0.001
    save_file(state, tmp_path / "other.safetensors")
    encoders = [
        tiny,
        load(tiny_checkpoint, batch_size=5),
        load(tiny_checkpoint, precision="bf16"),
        load(tmp_path / "other.safetensors"),
    ]
    identities = {encoder.identity for encoder in encoders}
    assert len(identities) == 4
    assert all(len(identity) == 64 and int(identity, 16) for identity in identities)
    assert load(tiny_checkpoint).identity == tiny.identity
    assert str(tiny_checkpoint.parent) not in str(tiny.facts)


def test_half_precision_is_close_to_single(tiny, tiny_checkpoint, drawings):
    rows = load(tiny_checkpoint, precision="bf16").encode_images(drawings)
    single = tiny.encode_images(drawings)
    cosine = (rows * single).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(single, axis=1)
    assert rows.dtype == np.float32
    assert cosine.min() > 0.999


def test_progress_counts_each_row_once(tiny, drawings):
    images, texts = [], []
    tiny.encode_images(drawings, progress=images.append)
    tiny.encode_texts(TEXTS, progress=texts.append)
    assert sum(images) == len(drawings)
    assert max(images) == 4
    assert sum(texts) == len(TEXTS)


def test_nothing_in_gives_nothing_out(tiny):
    assert tiny.encode_images([]).shape == (0, 16)
    assert tiny.encode_texts([]).shape == (0, 16)
    assert tiny.truncated([]) == []


def test_what_is_longer_than_the_model_reads_is_told(tiny):
    # 12 tokens, of which two mark start and end
    assert tiny.truncated(["", "cat " * 10, "cat " * 11, "cat"]) == [False, False, True, False]
    assert tiny.truncated(["cat", "é" * 12, "x1y2" * 3, "a cat"]) == [False, True, True, False]


def test_a_broken_picture_is_named_by_its_position(tiny, drawings):
    with pytest.raises(UnreadableImageError, match=r"Position in `images`: 6\."):
        tiny.encode_images([*drawings[:6], b"<html>", *drawings[6:]])
    assert len(tiny.encode_images(drawings[:3])) == 3  # and the encoder still works


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1; got 0"),
        ({"threads": -1}, "`threads` must be at least 1; got -1"),
        ({"precision": "int4"}, "`precision` must be one of `fp32`, `bf16`, `fp16`; got `int4`"),
    ],
)
def test_settings_that_cannot_be_are_refused(tiny_checkpoint, options, message):
    with pytest.raises(UnknownModelError, match=message):
        load(tiny_checkpoint, **options)
