"""DataComp's metadata from download to the file of uids: the rows are its, the pictures come from the loopback web."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.audit.funnel import read_source_funnel
from evenly.audit.published import PublishedBuild
from evenly.flows.cli.datasets.outcome import export_build
from tests.flows.conftest import recipe_for
from tests.flows.test_local_sources import rebuild

N = 80


@pytest.mark.slow
def test_datacomp_metadata_is_rebuilt_and_its_uids_come_out_as_its_resharder_reads_them(
    small_web, tmp_path, monkeypatch
):
    pool = pq.read_table(small_web.folder / "web" / "pool.parquet").slice(0, N)
    uids = [f"{number * 2654435761 % 2**128:032x}" for number in range(len(pool))]
    columns = {
        "uid": uids,
        "url": pool["url"],
        "text": pool["alt"],
        "original_width": pa.array([640] * len(pool), pa.int64()),
        "original_height": pa.array([480] * len(pool), pa.int64()),
        "clip_b32_similarity_score": pa.array(np.linspace(0, 1, len(pool)), pa.float32()),
        "clip_l14_similarity_score": pa.array(np.linspace(1, 0, len(pool)), pa.float32()),
        "face_bboxes": pa.array([[[0.1, 0.2, 0.3, 0.4]], *[[]] * (len(pool) - 1)], pa.list_(pa.list_(pa.float32()))),
        "sha256": ["0" * 64] * len(pool),
    }
    pq.write_table(pa.table(columns), tmp_path / "00.parquet")
    recipe = recipe_for(small_web.folder / "web") | {
        "sources": [
            {"kind": "parquet", "path": str(tmp_path / "*.parquet"), "caption": "text", "id": "uid", "name": "dc"}
        ]
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setenv("EVENLY_CONNECT", small_web.environment["EVENLY_CONNECT"])
    run, manifest = rebuild(tmp_path / "recipe.yaml", tmp_path / "w")
    assert {row["source"] for row in read_source_funnel(PublishedBuild(run.workspace, manifest))} == {"dc"}
    build, root = manifest["build"], run.workspace.root
    assert export_build(build, format_name="datacomp", out=tmp_path / "out", root=root)["counts"]["from_uid"] == 0
    ids = np.load(tmp_path / "out" / "uids.npy", allow_pickle=False)
    assert ids.dtype == np.dtype("u8,u8")
    assert len(ids) == manifest["samples"]["kept"] > 10
    found = [f"{(int(high) << 64) + int(low):032x}" for high, low in ids]
    assert found == sorted(found)
    assert set(found) <= set(uids)
    export_build(build, format_name="parquet", out=tmp_path / "rows", root=root)
    rows = pq.read_table(tmp_path / "rows" / "samples.parquet").to_pylist()
    for row in rows:
        at = uids.index(row["source_id"])
        assert (row["url"], row["caption"]) == (columns["url"][at].as_py(), columns["text"][at].as_py())
        assert row["clip_b32_similarity_score"] == columns["clip_b32_similarity_score"][at].as_py()
        assert (row["original_width"], row["face_bboxes"]) == (640, columns["face_bboxes"][at].as_py())
