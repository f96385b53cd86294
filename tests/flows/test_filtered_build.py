"""A build by every filter, on a small web: each verdict is there, is explained, and replays as stored."""

import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from evenly.audit.verify import verify_build
from evenly.audit.why import explain
from evenly.curation.duplicates.fingerprints import measure_fingerprints
from evenly.storage.builds import open_build
from evenly.storage.files.wordnets import DEBIAN
from evenly.storage.samples import Samples

pytestmark = [pytest.mark.embedded, pytest.mark.slow]

REASONS = {
    "block_domains": {"blocked_domain"},
    "check_texts": {"blocked_words", "too_few_words"},
    "safety": {"blocked_file", "blocked_look"},
    "decontaminate": {"contaminated_perceptual"},
    "image_based": {"off_target"},
}


def write(path: Path, *entries: str) -> str:
    path.write_text("\n".join(entries) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def filtered(small_web, undisturbed, tmp_path_factory):
    """The workspace and manifest of a build from the observations of another, with everything switched on."""
    folder = tmp_path_factory.mktemp("filtered")
    pictures = sorted((small_web.folder / "web" / "pictures").rglob("*.png"))
    for name, some in {"held_out": pictures[::6], "target": pictures[1::30]}.items():
        (folder / name).mkdir()
        for picture in some:
            shutil.copy(picture, folder / name / picture.name)
    looks = measure_fingerprints([picture.read_bytes() for picture in pictures[2::12]])["phash"].to_pylist()
    files = [hashlib.sha256(picture.read_bytes()).hexdigest() for picture in pictures[4::12]]
    recipe = yaml.safe_load(small_web.recipe.read_text())
    recipe["name"] = "filtered"
    curate = recipe["curate"]
    curate["preset"] = "datacomp_image_based_and_clip_score"
    curate["text"]["caption_blocklist"] = {"file": write(folder / "words.txt", "face", "flag")}
    curate["text"]["caption_repeats"] = {}
    if Path(DEBIAN, "index.noun").is_file():
        curate["text"]["caption_entities"] = {}
    curate["safety"] = {
        "detector": {} if importlib.util.find_spec("nudenet") else None,
        "domains": [write(folder / "domains.txt", "gallery.test")],
        "files": [write(folder / "files.txt", *files)],
        "looks": [write(folder / "looks.txt", *(f"{look:016x}" for look in looks))],
    }
    curate["decontaminate"] = {"sets": {"held-out": str(folder / "held_out")}}
    curate["image_based"] = {"target": str(folder / "target"), "clusters": 12}
    path = folder / "filtered.yaml"
    path.write_text(yaml.safe_dump(recipe))
    driver = [sys.executable, str(small_web.driver), str(path), str(folder / "w"), "--replay-from", str(undisturbed[0])]
    small_web.run(driver, check=True)
    return open_build("latest", root=folder / "w")


def test_every_filter_gives_its_reason(filtered):
    steps = {step["name"]: step for step in filtered[1]["steps"]}
    for name, reasons in REASONS.items():
        assert reasons <= {reason.partition(":")[0] for reason in steps[name]["reasons"]}, name


def test_every_reason_is_explained_and_replays_as_stored(filtered):
    workspace, manifest = filtered
    rows = Samples(workspace, "filtered").read(manifest["samples"]["version"]).to_pylist()
    chosen = {row["uid"]: "kept" for row in rows if row["balance_verdict"] == "kept"}
    chosen = dict(list(chosen.items())[:3])
    for step in REASONS:
        chosen |= {row["uid"]: reason for row in rows if (reason := row[f"{step}_reason"])}
    for uid, reason in chosen.items():
        found = explain(workspace, manifest, uid, replay=True)
        assert found.agrees, (reason, found.to_text())
        assert reason in found.to_text()


def test_the_build_verifies(filtered):
    assert verify_build(*filtered) == []
