"""Bits flipped and files cut below a finished build: the real commands say so in one line, or give the same build."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from evenly.storage.builds import open_build
from tests.storage.damage_driver import damaged

pytestmark = [pytest.mark.embedded, pytest.mark.slow, pytest.mark.timeout(1800)]  # some twenty commands in each

AGAIN = ("recaption", "align", "match_again", "balance")
"""Steps that a rebuild is made to run again, from the damaged files of those ahead of them."""
EACH = 3  # flips and cuts per kind of file and command


def stored(root: Path) -> dict[str, list[Path]]:
    """The files, by kind, that a build rests on."""
    workspace, manifest = open_build("latest", root=root)
    tables = [
        workspace.ledger / step["name"] / f"{name}-{digest[:32]}.arrow"
        for step in manifest["steps"]
        for name, digest in step["hashes"].items()
    ]
    return {
        "ledger tables": tables,
        "step records": [workspace.steps / f"{step['key']}.json" for step in manifest["steps"]],
        "features": sorted(workspace.features.glob("*/images.lance/data/*.lance")),
        "download records": sorted(workspace.downloads.glob("*.parquet")),
        "samples": sorted((workspace.samples / "small.lance" / "data").glob("*.lance")),
        "build manifest": [workspace.builds / f"{manifest['build']}.json"],
        "pictures": sorted(workspace.downloads.glob("*.tar")),
    }


def copies(undisturbed: tuple[Path, str], kinds: list[str], folder: Path):
    """Yield (kind, a workspace of which one file is damaged, that file), each at its turn."""
    root = folder / "workspace"
    for kind in kinds:
        luck = random.Random(kind)  # noqa: S311 - the same flips each time
        for number in range(EACH):
            shutil.copytree(undisturbed[0], root)
            path = luck.choice(stored(root)[kind])
            bit = None if number == EACH - 1 else luck.randrange(8)
            path.write_bytes(damaged(path.read_bytes(), luck.random(), bit))
            yield kind, root, path
            shutil.rmtree(root)


def one_line(stderr: str) -> bool:
    said = [line for line in stderr.splitlines() if line.startswith("evenly: ")]
    return len(said) == 1 and "`" in said[0] and "Traceback" not in stderr


def test_verify_sees_each_damage(small_web, undisturbed, tmp_path):
    kinds = ["ledger tables", "step records", "features", "download records", "samples", "build manifest", "pictures"]
    said, wrong = Counter(), []
    for kind, root, path in copies(undisturbed, kinds, tmp_path):
        done = small_web.evenly("verify", "latest", "--root", str(root), "--every-image", check=False)
        seen = done.returncode == 1 and "Traceback" not in done.stderr
        harmless = kind == "pictures" and done.returncode == 0  # what fills a tar between pictures is no part of any
        said[kind, "seen" if seen else "no part of a picture" if harmless else "BLIND"] += 1
        if not (seen or harmless):
            wrong.append((path, done.stdout, done.stderr))
    print(said)  # noqa: T201
    assert not wrong


def test_a_rebuild_over_damaged_files_is_the_same_build_or_says_what_to_do(small_web, undisturbed, tmp_path):
    kinds = ["ledger tables", "step records", "features", "download records", "pictures", "build manifest", "samples"]
    said, wrong = Counter(), []
    _, manifest = open_build("latest", root=undisturbed[0])
    for kind, root, path in copies(undisturbed, kinds, tmp_path):
        for step in manifest["steps"]:
            if step["name"] in AGAIN:
                (root / "steps" / f"{step['key']}.json").unlink()
        done = small_web.evenly("rebuild", str(small_web.recipe), "--root", str(root), "--json", check=False)
        same = done.returncode == 0 and json.loads(done.stdout)["content_hash"] == undisturbed[1]
        refused = done.returncode in (1, 2) and one_line(done.stderr)
        said[kind, "same build" if same else "refused in one line" if refused else "WRONG"] += 1
        if not (same or refused):
            wrong.append((path, done.returncode, done.stderr))
    print(said)  # noqa: T201
    assert not wrong


def test_what_was_removed_as_told_is_made_again(small_web, undisturbed, tmp_path):
    root = tmp_path / "workspace"
    shutil.copytree(undisturbed[0], root)
    _, manifest = open_build("latest", root=root)
    steps = {step["name"]: step for step in manifest["steps"]}
    for name in AGAIN:
        (root / "steps" / f"{steps[name]['key']}.json").unlink()
    table = next((root / "ledger" / "check_texts").glob("decisions-*.arrow"))
    table.unlink()
    for features in (root / "features").glob("*/*.lance"):
        shutil.rmtree(features)
    shutil.rmtree(root / "samples" / "small.lance")
    for build in (root / "builds").glob("small-*.json"):
        build.unlink()
    done = small_web.evenly("rebuild", str(small_web.recipe), "--root", str(root), "--json", check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content_hash"] == undisturbed[1]
    assert table.exists()
