"""Strips of one pixel, as web pages have them for backgrounds, go through a rebuild like any other picture."""

import json

import pytest
import yaml
from PIL import Image

from tests.tiny_encoders import write_clip

SIZES = [(5_000, 1), (1, 60_000), (1, 600), (2, 3_000), (1, 1), (64, 48), (48, 64)]


@pytest.fixture
def encoder(tmp_path):
    """A model that sees whole pictures, in which a strip resized as a whole has no pixel left."""
    folder = write_clip(tmp_path / "model", layers=2)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "longest"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def test_strips_have_features_as_other_pictures_have(evenly, tmp_path, encoder):
    (tmp_path / "pictures").mkdir()
    for number, size in enumerate(SIZES):
        Image.new("RGB", size, (30 * number, 200 - 20 * number, 60)).save(tmp_path / "pictures" / f"{number}.png")
        (tmp_path / "pictures" / f"{number}.txt").write_text(f"a strip of number {number}")
    content = {
        "name": "strips",
        "seed": 5,
        "sources": [{"kind": "folder", "path": str(tmp_path / "pictures")}],
        "curate": {"download": {}, "align": {"keep_top": 1.0}},
        "features": {"model": f"local-dir:{encoder}", "batch_size": 4},
    }
    recipe = tmp_path / "strips.yaml"
    recipe.write_text(yaml.safe_dump(content))
    status, out, err = evenly("rebuild", recipe, "--root", tmp_path / "w", "--workers", 1, "--json")
    assert status == 0, err
    kept = {step["step"]: step["kept"] for step in json.loads(out)["funnel"]}
    assert kept["embed_images"] == len(SIZES)
