"""`evenly worth` from a folder of pictures to its table: builds without each step, heads on each, one judgement."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw

from tests.tiny_encoders import write_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAIRS = 1200
OWN = ("the whole pipeline", "all pairs", "text to picture R@1")
COLOURS = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Foxes in six colours, one of them in half of the pictures, each third of which is there twice."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "pictures").mkdir()
    for number in range(PAIRS):
        colour = "red" if number % 2 else COLOURS[number % len(COLOURS)]
        seen = number - 1 if number % 3 == 2 else number
        image = Image.new("RGB", (48, 48), (seen % 256, 255 - seen % 256, 60))
        ImageDraw.Draw(image).rectangle((8, 8, 20 + seen % 25, 40 - seen % 11), fill=colour)
        image.save(folder / "pictures" / f"{number}.png")
        (folder / "pictures" / f"{number}.txt").write_text(f"a {colour} fox of number {number}")
    (folder / "colours.txt").write_text("\n".join(COLOURS))
    content = {
        "name": "foxes",
        "seed": 5,
        "sources": [{"kind": "folder", "path": str(folder / "pictures")}],
        "curate": {
            "match": {"metadata": str(folder / "colours.txt")},
            "download": {},
            "deduplicate": {"exact": True, "perceptual": None, "semantic": None},
            "balance": {"t": 250},
        },
        "features": {"model": f"local-dir:{write_clip(folder / 'model', layers=2)}", "batch_size": 4},
    }
    (folder / "foxes.yaml").write_text(yaml.safe_dump(content))
    return folder / "foxes.yaml"


def command(*arguments, **environment) -> str:
    program = [sys.executable, "-m", "evenly.flows", *map(str, arguments)]
    done = subprocess.run(
        program, capture_output=True, text=True, check=False, timeout=600, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_step_is_left_out_in_turn_and_a_second_run_says_the_same(recipe, tmp_path):
    root = tmp_path / "w"
    command("rebuild", recipe, "--root", root, "--workers", 1, "--json")
    whole = {path.name: path.read_bytes() for path in (root / "builds").rglob("*latest*")}
    assert whole
    result = json.loads(command("worth", recipe, "--seeds", 2, "--root", root, "--json"))
    assert result["skipped"] == {}
    pairs = {row["pairs"]: row["available"] for row in result["rows"]}
    assert set(pairs) == {
        "the whole pipeline",
        "random pairs of the pool",
        "without match and so balance",
        "without deduplicate",
        "without balance",
        "frozen encoder",
    }
    assert pairs["the whole pipeline"] < pairs["without balance"] <= pairs["random pairs of the pool"]
    assert {row["trained"] for row in result["rows"] if row["pairs"] != "frozen encoder"} == {result["trained"]}
    (own,) = (row for row in result["rows"] if (row["pairs"], row["of"], row["measure"]) == OWN)
    assert own["difference"] == 0
    assert {path.name: path.read_bytes() for path in (root / "builds").rglob("*latest*")} == whole  # none is promoted
    lines = (Path(result["out"]) / "worth.csv").read_text(encoding="utf-8").splitlines()
    assert len(list(csv.DictReader(lines))) == len(result["rows"])
    assert "without deduplicate" in Path(result["report"]).read_text(encoding="utf-8")

    shown = command("worth", recipe, "--seeds", 2, "--root", root, COLUMNS="200")
    assert "without deduplicate" in shown
    assert json.loads((tmp_path / "w" / "reports" / f"{result['build']}-worth" / "worth.json").read_text()) == {
        name: value for name, value in result.items() if name not in {"out", "report"}
    }
