"""Fixtures: a tiny random open_clip model as a checkpoint file, and the embedded model, assembled once per machine."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from evenly.features import load_encoder
from evenly.features.encoder import OpenClipEncoder
from evenly.storage.files.identities import default_cache

TINY = "tiny-random"
TINY_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a model that open_clip knows by the name TINY; both are made here."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny")
    config = folder / f"{TINY}.json"
    config.write_text(json.dumps(TINY_CONFIG))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    checkpoint = folder / "tiny.safetensors"
    save_file(open_clip.create_model(TINY).state_dict(), checkpoint)
    return checkpoint


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Path) -> OpenClipEncoder:
    return load_encoder(TINY, str(tiny_checkpoint), cache="unused", threads=2, batch_size=4)


@pytest.fixture(scope="session")
def embedded_cache() -> Path:
    """Kept between test runs, beside what the command itself uses; the embedded model is assembled there if absent."""
    return default_cache() / "encoders"


@pytest.fixture(scope="session")
def embedded(embedded_cache: Path) -> OpenClipEncoder:
    return load_encoder("embedded", cache=embedded_cache)


@pytest.fixture(scope="session")
def drawings() -> list[bytes]:
    """37 different PNG files of several sizes and modes."""
    return [drawing(number) for number in range(37)]


def drawing(number: int) -> bytes:
    generator = np.random.default_rng(number)
    size = (40 + 7 * (number % 5), 40 + 11 * (number % 3))
    picture = Image.new(("RGB", "RGBA", "L")[number % 3], size)
    pen = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y, r = generator.integers(0, 40, 3)
        colour = tuple(int(one) for one in generator.integers(0, 256, len(picture.getbands())))
        pen.ellipse([x, y, x + r, y + r], fill=colour if len(colour) > 1 else colour[0])
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
