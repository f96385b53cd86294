"""A small build of labelled pictures in folders, made as `evenly rebuild` makes it, by an encoder that sees colours."""

import csv
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evenly
from evenly.features.pictures.rgb import open_rgb
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.tasks.rebuild.features import encode_pairs
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.stage import run_step

BIRDS = {"robin": (200, 60, 40), "wren": (120, 90, 60), "kingfisher": (30, 110, 200)}
HOSTILE = "a wren <script>alert(1)</script> & $\\frac{1}{2}$ \x1b[31mred\u202e"
RECIPE = """
name: birds
seed: 1
sources:
  - {{kind: folder, path: "{folder}/photos", caption: text}}
labels: {{column: folder, group: null}}
curate:
  text: {{caption_length: {{min_words: 2, max_words: 40}}}}
  match: {{metadata: "{folder}/birds.txt", mode: normalized}}
  download: {{}}
  deduplicate: {{exact: true, perceptual: null, semantic: null}}
  balance: {{t: {t}}}
"""


class ColourEncoder:
    """Pictures as their mean colours, texts as the colours of the birds that they name."""

    identity = "c" * 64
    device_name = "a machine"
    dimension = 3

    def encode_images(self, images, *, progress=None):
        del progress
        opened = [open_rgb(one) if isinstance(one, bytes) else one for one in images]
        return np.stack([np.asarray(one).reshape(-1, 3).mean(axis=0) + 1 for one in opened])

    def encode_texts(self, texts, *, progress=None):
        del progress
        named = [[BIRDS[bird] for bird in BIRDS if bird in text] or [(1, 1, 1)] for text in texts]
        return np.array([np.mean(colours, axis=0) for colours in named], dtype=np.float32)

    def truncated(self, texts):
        return [False] * len(texts)


def picture(bird: str, number: int) -> bytes:
    """A PNG of 80 pixels in shades of the bird's colour."""
    shades = np.random.default_rng(number).integers(-25, 26, (4, 4, 3)) + np.array(BIRDS[bird])
    stream = io.BytesIO()
    Image.fromarray(shades.clip(0, 255).astype(np.uint8)).resize((80, 80), Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()


def write_pool(folder: Path) -> None:
    """24 pictures of three birds, one of them twice and one with a caption that means harm, and a file that is none."""
    rows = []
    for bird in BIRDS:
        (folder / "photos" / bird).mkdir(parents=True)
        for number in range(8):
            (folder / "photos" / bird / f"{number}.png").write_bytes(picture(bird, number))
            rows.append((f"{bird}/{number}.png", f"a {bird} on twig {number}"))
    (folder / "photos" / "wren" / "copy.png").write_bytes(picture("wren", 0))
    (folder / "photos" / "wren" / "broken.png").write_bytes(b"no picture")
    rows += [("wren/copy.png", "a wren once more"), ("wren/broken.png", "a wren that is cut")]
    rows[8 + 3] = ("wren/3.png", HOSTILE)
    with (folder / "photos" / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "text"), *rows])
    (folder / "birds.txt").write_text("\n".join(BIRDS) + "\n")


def write_recipe(folder: Path, *, t: float = 4) -> Path:
    """The recipe of the pool in `folder`."""
    path = folder / "birds.yaml"
    path.write_text(RECIPE.format(folder=folder, t=t))
    return path


def rebuild_apart(recipe: Path, root: Path, **changes: object) -> str:
    """Rebuild without Prefect; the build id."""
    chosen = read_recipe(recipe)
    with open_run(chosen, root=root, workers=1, quiet=True) as run:
        records = ()
        for step, rule in steps_of(chosen, limit=changes.get("limit")):
            records = (*records, run_step(run, step, records, rule))
        given = {"name": chosen.name, "recipe": content_of(chosen), "limit": None, "max_change": 1.0} | changes
        encoded = replace(run, encoder_identity=encode_pairs(run, records)["encoder"])
        return str(publish_build(encoded, records, **given)["build"])


@pytest.fixture(scope="session")
def birds(tmp_path_factory):
    """A workspace with two builds of the recipe `birds`: the older balanced at t = 4, the newer, latest, at t = 6."""
    folder = tmp_path_factory.mktemp("birds")
    write_pool(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: ColourEncoder())
        for t in (4, 6):
            rebuild_apart(write_recipe(folder, t=t), folder / "workspace")
    return evenly.open(folder / "workspace")


@pytest.fixture
def build(birds):
    """The latest build."""
    return birds.builds["latest"]


@pytest.fixture
def colours(monkeypatch):
    """Encode by colours."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: ColourEncoder())


def image_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
