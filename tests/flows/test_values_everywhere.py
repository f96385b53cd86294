"""Values by columns, scorers and methods give one build: in a folder or a bucket, whole or in partitions, on Ray."""

import io
import json
import tarfile

import pytest
import yaml

from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.builds import Builds
from evenly.storage.files.code import allowing_code
from evenly.storage.ledger import Ledger
from evenly.storage.stores.object_path import path_at
from evenly.storage.workspace import Workspace
from evenly.tasks import partitioning
from tests.picture_pool import picture
from tests.ray_nodes import ray_nodes
from tests.tasks.whole_rebuild import BLUE, GREEN, RED, ColourWords

SCORER = """
def length(rows):
    return [len(caption) for caption in rows["caption"].to_pylist()]

def side(rows):
    return [max(sides) for sides in zip(rows["width"].to_pylist(), rows["height"].to_pylist())]

def together(rows):
    return [one + two if one != 21 else 1 / 0 for one, two in zip(rows["length"].to_pylist(), rows["side"].to_pylist())]
"""
OTHER = "embedded2"
VALUES = {
    "clip": {"column": "clip", "min": 0.1, "at": "pool"},
    "length": {"python": "mine.py:length", "reads": ["caption"], "min": 1, "at": "texts"},
    "side": {"python": "mine.py:side", "reads": ["width", "height"], "max": 90, "at": "images"},
    "together": {"python": "mine.py:together", "reads": ["length", "side"], "min": 1},
    "nearness": {"negclip_loss": {"batch": 8, "rounds": 2}, "keep_top": 0.9},
    "near_there": {"negclip_loss": {}, "min": -9, "model": OTHER},
    "pruned": {"normsim_d": {"rounds": 5}, "keep_top": 0.9},
    "pruned_there": {"normsim_d": {"rounds": 5}, "min": 0, "model": OTHER},
    "dense": {"density": {"clusters": 4, "neighbours": 2}, "min": 0},
    "repeats": {"soft_cap": {"of": {"nearness": 10, "together": 0.01}}, "min": 0},
}
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}


def shard() -> bytes:
    """A shard of 60 pictures with captions and scores."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for n in range(60):
            colour = [*COLOURS][n % 3]
            row = json.dumps({"caption": f"a {colour} thing number {n}", "clip": n / 60})
            for end, content in (("png", picture(COLOURS[colour], pattern=n)), ("json", row.encode())):
                member = tarfile.TarInfo(f"{n:05}.{end}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def write_recipe(folder, pool):
    (folder / "mine.py").write_text(SCORER)
    source = {"kind": "webdataset", "path": pool}
    curate = {"download": {}, "align": {"keep_top": 0.95}, "values": VALUES}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "values", "seed": 3, "sources": [source], "curate": curate}))
    return path


def rebuilt(recipe, root, **options):
    with allowing_code(recipe.parent):
        return Builds(Workspace.at(root)).read(
            rebuild_dataset(recipe=str(recipe), root=str(root), quiet=True, **options)
        )


@pytest.fixture
def recipe(tmp_path):
    """A recipe whose pool lies in a folder."""
    (tmp_path / "pool.tar").write_bytes(shard())
    return write_recipe(tmp_path, "pool.tar")


class Swapped(ColourWords):
    """Another encoder of colours."""

    identity = "swapped colours"

    def encode_images(self, images, *, progress=None):
        return super().encode_images(images, progress=progress)[:, ::-1]


@pytest.fixture
def colours(monkeypatch):
    """Small encoders, in this process."""
    loaded = {"embedded": ColourWords(), OTHER: Swapped()}
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda choice, _cache: loaded[choice.model])


def counts(manifest, root):
    ledger = Ledger(Workspace.at(root))
    return {step["name"]: ledger.get(step["key"]).reasons for step in manifest["steps"]}


@pytest.mark.slow
@pytest.mark.usefixtures("colours")
def test_partitions_and_a_bucket_give_the_build_of_one_folder(recipe, bucket, tmp_path, monkeypatch):
    whole = rebuilt(recipe, tmp_path / "whole")
    reasons = counts(whole, tmp_path / "whole")
    assert reasons["check_pool_values"] == {"low_clip": 6}
    assert reasons["score_pairs"]["scorer_error"] > 10
    assert {"below_top_nearness", "below_top_pruned"} <= {*reasons["check_values"]}
    (path_at(bucket) / "pool" / "pool.tar").write_bytes(shard())
    (tmp_path / "stored").mkdir()
    stored = write_recipe(tmp_path / "stored", f"{bucket}/pool/*.tar")
    assert rebuilt(stored, f"{bucket}/w")["content_hash"] == whole["content_hash"]
    for most_rows, bits, chosen, root in ((4, 3, recipe, tmp_path / "cut"), (20, 1, stored, f"{bucket}/cut")):
        monkeypatch.setattr(partitioning, "MOST_ROWS", most_rows)
        cut = rebuilt(chosen, root, workers=1)
        assert Ledger(Workspace.at(root)).get(cut["steps"][0]["key"]).bits == bits
        assert cut["content_hash"] == whole["content_hash"]


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_worker_processes_and_a_cluster_give_the_build_of_one_process(recipe, tmp_path, monkeypatch, request, engine):
    whole = rebuilt(recipe, tmp_path / "whole")
    monkeypatch.setattr(partitioning, "MOST_ROWS", 8)
    if engine == "local":
        cut = rebuilt(recipe, tmp_path / "cut", workers=2)
    else:
        pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
        request.getfixturevalue("prefect_server")
        with ray_nodes(2) as cluster:
            cut = rebuilt(recipe, tmp_path / "cut", engine=cluster.address)
    assert cut["content_hash"] == whole["content_hash"]
    assert not list(Workspace.at(tmp_path / "cut").exchange.iterdir())
