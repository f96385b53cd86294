import gzip
import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.storage.pools.columns import PoolSource
from evenly.storage.pools.source import PoolError, local_pictures, read_captions, read_pool, source_hash
from evenly.storage.stores.files import matching_files
from evenly.storage.stores.object_path import path_at
from tests.storage.held_pool import write_tar

ROWS = [{"url": f"http://p.test/{number}.png", "caption": f"犬 {number}", "n": number} for number in range(3000)]


def files_of(folder):
    """A pool of each kind that stores can hold, written into a folder of this machine: names by kind."""
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), parquet, row_group_size=1000)
    lines = "\n".join(map(json.dumps, ROWS)).encode()
    text = "url,caption,n\n" + "".join(f"{row['url']},{row['caption']},{row['n']}\n" for row in ROWS)
    (folder / "pool" / "more").mkdir(parents=True)
    (folder / "pool" / "a.parquet").write_bytes(parquet.getvalue())
    (folder / "pool" / "more" / "b.parquet").write_bytes(parquet.getvalue())
    (folder / "pool" / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "pool" / "a.csv").write_bytes(text.encode())
    picture = io.BytesIO()
    Image.new("RGB", (4, 3)).save(picture, "PNG")
    write_tar(folder / "pool" / "a.tar", [("1.png", picture.getvalue()), ("1.txt", b"a red cat")])
    return {"parquet": "pool/**/*.parquet", "jsonl": "pool/*.jsonl.gz", "csv": "pool/a.csv", "webdataset": "pool/*.tar"}


@pytest.fixture
def copied(bucket, tmp_path):
    """A folder, the URL of a copy of it, and patterns by kind."""
    patterns = files_of(tmp_path)
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        (path_at(bucket) / "data" / file.relative_to(tmp_path)).write_bytes(file.read_bytes())
    return str(tmp_path), f"{bucket}/data", patterns


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "webdataset"])
def test_a_pool_in_a_store_is_read_as_in_a_folder_and_has_the_same_hash(copied, kind):
    folder, url, patterns = copied
    caption = None if kind == "webdataset" else "caption"
    local = PoolSource(kind=kind, path=f"{folder}/{patterns[kind]}", caption=caption)
    stored = replace(local, path=f"{url}/{patterns[kind]}")
    assert source_hash(stored) == source_hash(local)
    assert pa.concat_tables(read_pool(stored)).equals(pa.concat_tables(read_pool(local)))
    assert list(read_captions(stored)) == list(read_captions(local))
    pictures = [row.place.read() for row in local_pictures(stored)]
    assert pictures == [row.place.read() for row in local_pictures(local)]
    assert len(pictures) == (kind == "webdataset")


@pytest.mark.parametrize(
    "pattern", ["pool/*", "pool/*.parquet", "**/*.parquet", "pool/a.csv", "pool/none", "pool/**/b*"]
)
def test_patterns_of_a_store_match_what_they_match_in_a_folder(copied, pattern):
    folder, url, _ = copied
    names = [str(path).removeprefix(f"{folder}/") for path in matching_files(f"{folder}/{pattern}")]
    assert [str(path).removeprefix(f"{url}/") for path in matching_files(f"{url}/{pattern}")] == names
    assert matching_files(f"file://{folder}/{pattern}") == matching_files(f"{folder}/{pattern}")


def test_a_pool_that_is_not_there_or_cannot_be_read_from_a_store_is_said(copied):
    _, url, _ = copied
    with pytest.raises(PoolError, match=rf"`path` must match at least one file; got `{url}"):
        read_pool(PoolSource(kind="parquet", path=f"{url}/nothing/*.parquet"))
    with pytest.raises(PoolError, match=rf"`path` of kind folder must be of this machine; got `{url}"):
        read_pool(PoolSource(kind="folder", path=f"{url}/pool"))
    with pytest.raises(PoolError, match=rf"must be a readable Parquet file; got .* at `{url}"):
        list(read_pool(PoolSource(kind="parquet", path=f"{url}/pool/a.csv")))
