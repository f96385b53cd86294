"""A small web with every fault and a recipe for it, run with and without Prefect; digits as arrays and as pictures."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from evenly.adapters.features import unit_rows
from evenly.demo.make import make_demo
from evenly.demo.pictures.digits import draw_digits
from evenly.demo.pictures.openmoji import list_codes
from evenly.demo.web import loopback_web
from evenly.flows.cli import app
from tests.reported import report_errors

TINY = "tiny-for-commands"
TINY_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
DRIVER = Path(__file__).with_name("pipeline_driver.py")


@dataclass(frozen=True)
class SmallWeb:
    """A recipe file for a pool of some 300 pairs, and the environment in which its hosts are reached."""

    recipe: Path
    folder: Path
    environment: dict[str, str]
    driver: Path = DRIVER

    def drive(self, root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the pipeline without Prefect in another process; see pipeline_driver.py."""
        return self.run([sys.executable, str(DRIVER), str(self.recipe), str(root), *arguments], check=check)

    def evenly(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return self.run([sys.executable, "-m", "evenly.flows", *arguments], check=check)

    def run(self, command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        """Run a command with the web's environment."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=check, timeout=280)


@contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of a test run share, and whether one of them has already filled it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, (folder / ".made").exists()
        (folder / ".made").touch()


@pytest.fixture(scope="session")
def small_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWeb]:
    """Every twentieth picture of the demo, served on loopback while the tests last."""
    with made_once(tmp_path_factory, "small-web") as (folder, is_made):
        recipe = folder / "small.yaml"
        if not is_made:
            make_demo(folder / "web", codes=list_codes()[::20])
            recipe.write_text(yaml.safe_dump(recipe_for(folder / "web")))
    with loopback_web(folder / "web") as connect:
        pairs = ",".join(f"{host}={address}" for host, address in connect.items())
        yield SmallWeb(recipe=recipe, folder=folder, environment={"EVENLY_CONNECT": pairs})


def recipe_for(web: Path) -> dict:
    return {
        "name": "small",
        "seed": 7,
        "sources": [{"kind": "parquet", "path": str(web / "pool.parquet"), "caption": "alt", "source": "source"}],
        "labels": {"file": str(web / "labels.parquet")},
        "curate": {
            "text": {"caption_length": {"min_words": 2, "max_words": 40}, "caption_boilerplate": {}},
            "match": {"mode": "normalized", "plurals": True},
            "preselect": {"headroom": 3.0},
            "download": {"max_bytes": 2_000_000, "max_pixels": 16_000_000},
            "image": {"image_size": {"min_side": 64}},
            "deduplicate": {},
            "recaption": {"captioners": [{"kind": "retrieved"}], "choose": {"margin": 0.1}},
            "align": {"keep_top": 0.9},
            "balance": {"t": 5},
        },
    }


@pytest.fixture(scope="session")
def undisturbed(small_web: SmallWeb, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with one finished rebuild, and the build's content hash."""
    with made_once(tmp_path_factory, "undisturbed") as (folder, is_made):
        if not is_made:
            (folder / "hash").write_text(small_web.drive(folder / "root", "--workers", "1").stdout.strip())
        return folder / "root", (folder / "hash").read_text()


@pytest.fixture
def evenly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process: (exit status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evenly", *map(str, arguments)])
        status = report_errors(app)
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def digit_arrays() -> dict[str, np.ndarray]:
    """Few digits as pixel rows under every key of a file of features; first pictures stand for texts."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    image, labels = unit_rows(raw.data), raw.target.astype(np.int64)
    first = np.stack([np.flatnonzero(labels == c)[:4] for c in range(10)])
    names = unit_rows(image[first[:, 0]])
    found = {"prototypes": names}
    for part, rows in {"train": slice(100, 180), "val": slice(200, 260), "test": slice(300, 420)}.items():
        norms = np.linalg.norm(raw.data[rows], axis=1).astype(np.float32)
        found |= {f"{part}_features": image[rows], f"{part}_labels": labels[rows], f"{part}_norms": norms}
        found |= {f"aux_{part}_features": coarse(image[rows]), f"{part}_values": labels[rows].astype(np.float32)}
    train, pool, strange = found["train_features"], image[500:620], np.roll(image[700:740], 20, axis=1)
    pairs = np.array([(a, b) for a in range(10) for b in range(10) if a != b], dtype=np.int64)
    return found | {
        "train_views": np.stack([np.roll(train, steps, axis=1) for steps in (1, 7)]),
        "train_caption_features": unit_rows(train + np.roll(train, 8, axis=1)),
        "unlabelled_features": pool,
        "aux_unlabelled_features": coarse(pool),
        "class_texts": image[first.ravel()],
        "class_text_labels": np.repeat(np.arange(10), 4),
        "descriptor_texts": np.roll(image[first.ravel()], 1, axis=1),
        "descriptor_text_labels": np.repeat(np.arange(10), 4),
        "pair_texts": unit_rows(names[pairs[:, 0]] - 0.3 * names[pairs[:, 1]]),
        "pair_text_classes": pairs,
        "context_prototypes": np.stack([names, np.roll(names, 1, axis=1)]),
        "negation_prototypes": unit_rows(2 * names.mean(axis=0) - names),
        "rejection_prototypes": unit_rows(image.mean(axis=0, keepdims=True)),
        "ood_features": strange,
        "ood_norms": np.full(40, 60, np.float32),
        "aux_ood_features": coarse(strange),
    }


def coarse(rows: np.ndarray) -> np.ndarray:
    """What another backbone might see: means of 2 x 2 pixels, unit rows (n, 16)."""
    return unit_rows(rows.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16))


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a model that open_clip knows by the name TINY; both are made here."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("model")
    (folder / f"{TINY}.json").write_text(json.dumps(TINY_CONFIG))
    open_clip.add_model_config(folder / f"{TINY}.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model(TINY).state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.fixture(scope="session")
def digit_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 digits in a folder per class."""
    folder = tmp_path_factory.mktemp("digits")
    for name, content in (picture for picture, _ in zip(draw_digits(), range(120), strict=False)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
