import numpy as np
import pyarrow as pa
import pytest

from evenly.storage.errors import DamagedError, NotFoundError, StoreError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import Samples
from evenly.storage.stores import connection
from evenly.storage.tables.arrow_files import read_schema, read_table, write_table
from evenly.storage.tables.block_sums import check_file
from evenly.storage.tables.lance_rows import check_rows, has_rows, newest_version
from evenly.storage.workspace import Workspace
from tests.azure_store_server import ACCOUNT
from tests.google_store_server import google_environment

ROWS = pa.table({"uid": [f"{number:032x}" for number in range(1000)], "value": np.arange(1000.0)})


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_a_table_in_a_store_is_read_as_written_and_its_damage_is_seen(stored_workspace):
    path = stored_workspace.ledger / "collect" / "decisions-1.arrow"
    with pytest.raises(NotFoundError, match=f"table `{path}` must exist"):
        read_table(path)
    write_table(path, ROWS)
    assert read_table(path).equals(ROWS)
    assert read_table(path, ["value"], pa.compute.field("uid") == ROWS["uid"][7]).to_pydict() == {"value": [7.0]}
    assert read_schema(path).equals(ROWS.schema)
    assert check_file(path, "")
    flip(path, 300)
    with pytest.raises(DamagedError, match=f"`{path}` must hold the bytes that were written to it"):
        read_table(path)


def test_a_large_table_is_read_by_stretches(stored_workspace):
    path = stored_workspace.ledger / "large.arrow"
    table = pa.table({"a": np.random.default_rng(0).integers(0, 1 << 62, 3_000_000), "b": np.zeros(3_000_000, np.int8)})
    write_table(path, table)
    assert path.stat().st_size > 16 << 20
    assert read_table(path).equals(table)
    assert read_table(path, ["b"]).equals(table.select(["b"]))
    flip(path, 5 << 20)
    with pytest.raises(DamagedError, match="the block at byte 5242880 has another checksum"):
        read_table(path)


def test_samples_and_features_in_a_store_have_versions_and_checksums(stored_workspace):
    samples = Samples(stored_workspace, "birds")
    first, second = samples.write(ROWS), samples.write(ROWS.slice(10))
    assert samples.read(first).equals(ROWS)
    assert samples.read(second, ["value"], f"uid = '{ROWS['uid'][20]}'").to_pydict() == {"value": [20.0]}
    samples.check(first)
    samples.check(second)
    features = FeatureStore(stored_workspace, "encoder", "images")
    assert not has_rows(features.path)
    vectors, norms = np.eye(4, dtype=np.float16), np.ones(4, np.float32)
    features.append(list("abcd"), vectors, norms)
    features.append(list("efgh"), vectors[::-1], norms)
    assert features.missing(list("axhx")) == ["x"]
    assert features.read(["h", "a"])[0].tolist() == [vectors[0].tolist(), vectors[0].tolist()]
    assert newest_version(features.path) == 2


@pytest.mark.parametrize("part", ["data", "_indices", "_versions", "_sums/data"])
def test_a_changed_byte_of_any_file_of_samples_is_damage(stored_workspace, part):
    samples = Samples(stored_workspace, "birds")
    version = samples.write(ROWS)
    files = sorted((samples.path / part).rglob("*"))
    for number, path in enumerate(files[:1] if part == "_versions" else files):  # the newest comes first
        before = path.read_bytes()
        flip(path, (number * 37 + 60) % len(before))
        with pytest.raises(DamagedError, match=f"{samples.path}/"):
            samples.check(version)
        path.write_bytes(before)
    samples.check(version)


def test_a_version_that_a_killed_writer_left_unfinished_is_undone(stored_workspace):
    features = FeatureStore(stored_workspace, "encoder", "images")
    vectors, norms = np.eye(2, dtype=np.float16), np.ones(2, np.float32)
    features.append(["a", "b"], vectors, norms)
    features.append(["c", "d"], vectors, norms)
    [seal] = [path for path in (features.path / "_sums" / "_versions").iterdir() if path.stem.endswith("613.manifest")]
    seal.unlink()  # as if killed just ahead of it
    assert FeatureStore(stored_workspace, "encoder", "images").missing(["a", "c"]) == ["c"]
    features.append(["c"], vectors[:1], norms[:1])
    assert features.read(["a", "c"])[0].tolist() == [vectors[0].tolist()] * 2
    assert features.missing(["d"]) == ["d"]
    check_rows(features.path, "")


def test_a_store_that_is_gone_is_no_damage(stored_workspace, monkeypatch, tmp_path):
    samples = Samples(stored_workspace, "birds")
    version = samples.write(ROWS)
    write_table(stored_workspace.ledger / "t.arrow", ROWS)
    nobody = "http://127.0.0.1:9"
    gone = {"AWS_ENDPOINT_URL": nobody, "AZURE_STORAGE_ENDPOINT": f"{nobody}/{ACCOUNT}"}
    for name, value in {**gone, **google_environment(nobody, tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(connection, "RETRIES", {"max_retries": 0})
    connection._connected.cache_clear()
    place = Workspace.at(stored_workspace.root)
    for reading in (
        lambda: samples.read(version),
        lambda: read_table(place.ledger / "t.arrow"),
        lambda: samples.write(ROWS),
    ):
        with pytest.raises(StoreError, match=rf"store `{stored_workspace.root.bucket}.*` must answer"):
            reading()
