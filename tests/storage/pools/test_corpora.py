import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.errors import InputError
from evenly.storage.pools.captions import caption_batches, corpus_hash
from evenly.storage.pools.rows import PoolError

CAPTIONS = ["a dog", None, "a cat"]


@pytest.fixture
def corpus(tmp_path):
    pq.write_table(pa.table({"text": CAPTIONS, "vector": [[0.0] * 9] * 3}), tmp_path / "a.parquet")
    lines = "".join(json.dumps({"text": caption}) + "\n" for caption in [*CAPTIONS, 7])
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.csv").write_text('text,other\n"a dog, here",1\n')
    return tmp_path


@pytest.mark.parametrize(
    ("name", "captions"),
    [("a.parquet", CAPTIONS), ("a.jsonl.gz", [*CAPTIONS, None]), ("a.csv", ["a dog, here"])],
)
def test_captions_come_from_pools_of_each_kind(corpus, name, captions):
    found = pa.chunked_array(list(caption_batches(str(corpus / name), "text")))
    assert found.to_pylist() == captions


def test_a_corpus_may_be_many_files_and_is_known_by_their_contents(corpus):
    assert sum(len(batch) for batch in caption_batches(str(corpus / "a.*"), "text")) == 8
    before = corpus_hash(str(corpus / "a.*"))
    (corpus / "a.csv").rename(corpus / "a0.csv")
    assert corpus_hash(str(corpus / "a*")) == before
    (corpus / "a0.csv").write_text("text\nanother\n")
    assert corpus_hash(str(corpus / "a*")) != before


def test_a_corpus_that_cannot_be_read_is_refused_at_once(corpus):
    with pytest.raises(InputError, match="at least one file"):
        caption_batches(str(corpus / "gone"), "text")
    with pytest.raises(InputError, match=r"name a column.*got `words`.*text, vector"):
        caption_batches(str(corpus / "a.parquet"), "words")
    (corpus / "b.txt").write_text("x")
    with pytest.raises(InputError, match=r"end in one of .parquet, .csv, .jsonl, .wat; got .*b.txt"):
        caption_batches(str(corpus / "b.txt"), "text")


def test_a_parquet_file_that_breaks_off_inside_is_refused(corpus):
    path = corpus / "a.parquet"
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    with pytest.raises(PoolError, match=r"must be a readable Parquet file.*a.parquet"):
        list(caption_batches(str(path), "text"))
