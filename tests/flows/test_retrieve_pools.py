"""`evenly retrieve --pool`: from pictures or features at hand, without a rebuild before it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.audit.verify import verify_build
from evenly.demo.pictures.openmoji import draw_picture, list_codes
from evenly.flows.runs import workspace_run
from evenly.storage.builds import Builds
from evenly.storage.web.images import read_images
from evenly.tasks.encoders import open_encoder
from tests.storage.held_pool import write_files, write_tar

NOUNS = ("dog", "cat", "tree")
N = 12


def caption(number):
    return f"a picture of a {NOUNS[number % 3]} number {number}"


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """12 pictures in a folder, in a shard, and as features of the embedded encoder; one of two captions, two broken."""
    root = tmp_path_factory.mktemp("pools")
    codes = list_codes()
    drawn = [draw_picture(codes[number * 61], size_px=64, background="white") for number in range(N)]
    rows = "".join(f"{number}.png,{caption(number)}\n" for number in range(N))
    rows += "0.png,the same with a whale\ngone.png,a dog\ncut.png,a dog\n"
    files = {f"{number}.png": one for number, one in enumerate(drawn)}
    write_files(root / "folder", {**files, "cut.png": drawn[0][:300], "metadata.csv": "file_name,alt\n" + rows})
    parts = [((f"{n}.png", one), (f"{n}.txt", caption(n).encode())) for n, one in enumerate(drawn)]
    write_tar(root / "0.tar", [part for both in parts for part in both])
    rows = open_encoder(workspace_run(root / "none", quiet=True)).encode_images(drawn)
    pq.write_table(pa.table({"alt": list(map(caption, range(N)))}), root / "rows.parquet")
    np.savez(root / "rows.npz", image=rows.astype(np.float32))
    (root / "things.txt").write_text("dog\ncat\nwhale\n")
    return root


FOLDER = ("--pool", "folder", "--caption", "alt")
SHARDS = ("--pool", "*.tar")
FEATURES = ("--pool", "rows.parquet", "--caption", "alt", "--vector", "image")


@pytest.fixture
def retrieve(evenly, workspace, pools, monkeypatch):
    """Retrieve from a pool in the working folder: (exit status, facts or errors)."""
    monkeypatch.chdir(pools)

    def run(*arguments):
        status, out, err = evenly("retrieve", "things.txt", "--root", workspace.root, *arguments, "--json")
        return status, err if status else json.loads(out)

    return run


def test_a_folder_becomes_a_build_that_verifies_and_moves_no_alias(retrieve, workspace):
    status, found = retrieve(*FOLDER, "--per-class", 3)
    assert status == 0, found
    assert {row["class"]: row["kept"] for row in found["classes"]} == {"dog": 3, "cat": 3, "whale": 1}
    reasons = {step["step"]: step["reasons"] for step in found["pool"]}
    assert reasons == {"collect": {"missing_picture": 1}, "download": {"truncated_image": 1}, "check_images": {}}
    assert found["pictures"] == N
    builds = Builds(workspace)
    assert builds.alias("latest") is None
    manifest = builds.read(found["build"])
    assert verify_build(workspace, manifest, read_bytes=lambda ids: read_images(workspace.downloads, ids)) == []
    assert retrieve(*FOLDER, "--per-class", 3) == (0, found)


@pytest.mark.slow
def test_shards_give_the_pairs_of_the_folder(retrieve, tmp_path):
    found = {}
    for name, pool in (("folder", FOLDER), ("shards", SHARDS)):
        status, facts = retrieve(*pool, "--out", tmp_path / name)
        assert status == 0, facts
        table = pq.read_table(tmp_path / name / "retrieved.parquet").select(["class", "uid", "image_id"])
        found[name] = table.filter(pa.compute.field("class") != "whale").to_pylist()
    assert found["folder"] == found["shards"]
    assert len(found["folder"]) == 8


def test_features_of_a_pool_are_taken_as_they_are(retrieve, tmp_path):
    status, facts = retrieve(*FEATURES, "--method", "reco", "--per-class", 2, "--out", tmp_path / "out")
    assert status == 0, facts
    assert [row["kept"] for row in facts["classes"]] == [2, 2, 2]
    with np.load("rows.npz") as given, np.load(tmp_path / "out" / "support.npz") as support:
        cosines = support["train_features"] @ (given["image"] / np.linalg.norm(given["image"], axis=1)[:, None]).T
    np.testing.assert_allclose(cosines.max(axis=1), 1, atol=1e-3)


@pytest.mark.slow
def test_other_columns_are_read_anew(retrieve):
    assert retrieve(*FEATURES)[0] == 0
    status, error = retrieve("--pool", "rows.parquet", "--caption", "alt")
    assert (status, "`vector` must name features" in error) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*FOLDER, "--vector", "image"), "`--vector` must go with a `--pool` of .parquet files; got `folder`"),
        (("--pool", "nowhere"), "`path` must match at least one folder; got `nowhere`"),
        (("--pool", "folder/metadata.csv"), "`--pool` must be folders of pictures, .tar shards, or .parquet files"),
        (("--caption", "alt"), "`--caption`, `--vector`, `--model` and `--pretrained` must go with `--pool`"),
        ((*FOLDER, "--build", "latest"), "`retrieve` must get `--build` or `--pool`, not both"),
        ((*FEATURES[:2], "--caption", "text"), "`caption` must name a column of the file; got `text`"),
    ],
)
def test_what_is_no_pool_is_refused(retrieve, arguments, message):
    status, error = retrieve(*arguments)
    assert status == 2
    assert message in error
