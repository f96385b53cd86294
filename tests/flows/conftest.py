"""A small web with every fault, a recipe for it, and the way to run the pipeline on it with and without Prefect."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from demo.make import make_demo
from demo.pictures import list_codes
from demo.web import loopback_web

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
        return self.run([sys.executable, "-m", "flows", *arguments], check=check)

    def run(self, command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        """Run a command with the web's environment."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=check, timeout=280)


@pytest.fixture(scope="session")
def small_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWeb]:
    """Every twentieth picture of the demo, served on loopback while the tests last."""
    folder = tmp_path_factory.mktemp("small-web")
    make_demo(folder / "web", codes=list_codes()[::20])
    recipe = folder / "small.yaml"
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
            "recaption": {"margin": 0.1},
            "align": {"keep_top": 0.9},
            "balance": {"t": 5},
        },
    }


@pytest.fixture(scope="session")
def undisturbed(small_web: SmallWeb, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with one finished rebuild, and the build's content hash."""
    root = tmp_path_factory.mktemp("undisturbed")
    return root, small_web.drive(root).stdout.strip()
