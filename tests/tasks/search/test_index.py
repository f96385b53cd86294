"""Indices over a few hundred rows: what they give, what they say of themselves, and what is said of stale ones."""

from shutil import rmtree

import lance
import numpy as np
import pytest

from evenly.features import to_unit_rows
from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.tables.lance_keys import VectorIndex
from evenly.storage.tables.lance_rows import MADE_AGAIN, check_rows, newest_version
from evenly.tasks.progress import Progress
from evenly.tasks.search import index
from evenly.tasks.search.index import KINDS, FeatureIndex, IndexFacts, make_index
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, picture_id, publish
from tests.tasks.search.test_search import find, numbers

WORDS = [f"{a} {b}" for a in ("red", "blue", "old", "new", "wet") for b in ("bird", "ship", "cat", "dog")]
NAMES = [f"{word} {number}" for word in WORDS for number in range(20)]
QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    for name in ("_load", "embedded_text_tower"):
        monkeypatch.setattr(f"evenly.tasks.encoders.{name}", lambda *_: WordEncoder())
    monkeypatch.setattr(index, "QUERIES", 8)


@pytest.fixture
def manifest(workspace):
    pairs = [Pair(name, name, reason="" if place % 3 else "near_duplicate") for place, name in enumerate(NAMES)]
    return publish(workspace, pairs)


def made(workspace, kind, *, force=True):
    return make_index(workspace, WordEncoder.identity, kind, QUIET, force=force)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_finds_what_it_says_and_every_byte_of_it_is_checked(workspace, manifest, kind):
    facts = made(workspace, kind)
    assert (facts.kind, facts.rows, facts.dimension, facts.queries) == (kind, 400, 16, 8)
    assert facts.recall["pictures"] >= 0.95
    assert facts.bytes > 0
    assert FeatureIndex(workspace, WordEncoder.identity, kind).facts == facts
    exact = find(workspace, manifest, "red bird 3", top=5)
    near = find(workspace, manifest, "red bird 3", top=5, index=kind)
    assert near.rows[0] == exact.rows[0]
    assert near.searched <= 400
    assert near.index["kind"] == kind
    assert any("by the index" in note for note in near.notes)
    for path in workspace.features.rglob("*.lance"):
        if path.is_dir():
            check_rows(path, MADE_AGAIN)


@pytest.mark.parametrize("kind", KINDS)
def test_what_meets_the_conditions_is_found_however_rare(workspace, manifest, kind, monkeypatch):
    monkeypatch.setattr(index, "_EFFORTS", {"ivf": ((1, 1),), "binary": ((0, 1),)})
    assert made(workspace, kind).recall["pictures"] < 0.2
    where = ["caption=wet dog 19", "caption=old ship 7"]
    exact, result = (find(workspace, manifest, "red bird", where=where, top=2, index=one) for one in (None, kind))
    assert result.rows == exact.rows
    assert set(numbers(result)) == {NAMES.index("wet dog 19"), NAMES.index("old ship 7")}


@pytest.mark.parametrize(
    ("kind", "rows", "probes", "candidates", "shares"),
    [
        ("binary", 2500, 0, 1000, {"scanned": 1.0, "shortlist": 0.4}),
        ("binary", 300, 0, 1000, {"scanned": 1.0, "shortlist": 1.0}),
        ("ivf_pq", 2500, 8, 100, {"scanned": 1.0, "shortlist": 0.04}),
        ("ivf_pq", 2_000_000, 64, 500, {"scanned": round(64 / 488, 4), "shortlist": 0.0003}),
    ],
)
def test_an_index_says_which_share_of_the_rows_a_query_looks_at(kind, rows, probes, candidates, shares):
    measured = {"recall": {}, "queries": 1, "query_ms": 1.0, "bytes": 1, "seconds": 1.0, "dimension": 8}
    facts = IndexFacts(kind=kind, rows=rows, probes=probes, candidates=candidates, **measured)
    assert facts.to_dict()["looks_at"] == shares


def test_a_search_by_an_index_says_the_share_of_its_shortlist(workspace, manifest, monkeypatch):
    monkeypatch.setattr(index, "_EFFORTS", {"binary": ((0, 100),)})
    assert made(workspace, "binary").to_dict()["looks_at"] == {"scanned": 1.0, "shortlist": 0.25}
    result = find(workspace, manifest, "red bird 3", top=5, index="binary")
    assert result.index["looks_at"] == {"scanned": 1.0, "shortlist": 0.25}
    assert any("by a shortlist of 25.00 % of the rows" in note for note in result.notes)


def test_rows_that_came_later_are_counted(workspace, manifest):
    for kind in KINDS[1:]:
        made(workspace, kind)
    rows, norms = to_unit_rows(WordEncoder().encode_texts(["a new thing", "green bird"]))
    store = FeatureStore(workspace, WordEncoder.identity, "images")
    store.append([picture_id("later-1"), picture_id("later-2")], rows.astype(np.float16), norms)
    lance, binary = (FeatureIndex(workspace, WordEncoder.identity, kind) for kind in KINDS[1:])
    assert (lance.unindexed, binary.unindexed) == (2, 2)
    query = rows[0].astype(np.float32)
    assert lance.candidates(query, 1) == [picture_id("later-1")]
    assert picture_id("later-1") not in binary.candidates(query, 400)
    result = find(workspace, manifest, "red bird", top=1, index="binary")
    assert "2 pictures are newer than the index, and not searched: run `evenly index` again" in result.notes
    assert FeatureIndex(workspace, WordEncoder.identity, "binary").facts.rows == 400
    assert made(workspace, "binary").rows == 402
    assert FeatureIndex(workspace, WordEncoder.identity, "binary").unindexed == 0


def test_an_index_that_was_not_made_is_asked_for(workspace, manifest):
    made_by = rf"by encoder {WordEncoder.identity[:12]}\. Make it: `evenly index --kind ivf_pq`"
    with pytest.raises(NotFoundError, match=rf"there is no ivf_pq of the features {made_by}"):
        find(workspace, manifest, "red bird", index="ivf_pq")
    with pytest.raises(InputError, match="`index` must be one of ivf_pq, ivf_hnsw_sq, binary; got `flat`"):
        find(workspace, manifest, "red bird", index="flat")


@pytest.mark.usefixtures("manifest")
def test_an_index_whose_writer_was_killed_is_undone(workspace):
    store = FeatureStore(workspace, WordEncoder.identity, "images")
    lance.dataset(str(store.path)).create_index("vector", "IVF_FLAT", name="nearest", metric="cosine", num_partitions=1)
    assert newest_version(store.path) == 1
    with pytest.raises(NotFoundError, match="must have an index; there is none"):
        VectorIndex(store.path, MADE_AGAIN)
    rows, norms = to_unit_rows(WordEncoder().encode_texts(["a new thing"]))
    store.append([picture_id("later")], rows.astype(np.float16), norms)
    with pytest.raises(NotFoundError, match="must have an index; there is none"):
        VectorIndex(store.path, MADE_AGAIN)
    assert store.missing([picture_id("later")]) == []
    check_rows(store.path, MADE_AGAIN)


def test_few_pictures_need_none(workspace):
    publish(workspace, [Pair("a", "red bird")])
    with pytest.raises(InputError, match="`index` must be of at least 256 pictures; got 1"):
        made(workspace, "binary")


@pytest.mark.usefixtures("manifest")
def test_an_index_of_another_kind_is_not_taken_for_the_one_that_was_asked_for(workspace):
    made(workspace, "ivf_pq", force=False)
    with pytest.raises(InputError, match=r"`--kind` must be ivf_pq, the index that is there, .* Replace it: --force"):
        made(workspace, "ivf_hnsw_sq", force=False)
    for kind in ("ivf_pq", "binary"):
        made(workspace, kind, force=False)
    made(workspace, "ivf_hnsw_sq")
    message = "another was made after this ivf_pq, or it was broken off: IVF_HNSW_SQ"
    with pytest.raises(NotFoundError, match=message):
        FeatureIndex(workspace, WordEncoder.identity, "ivf_pq")
    assert FeatureIndex(workspace, WordEncoder.identity, "ivf_hnsw_sq").facts.kind == "ivf_hnsw_sq"


@pytest.mark.usefixtures("manifest")
def test_an_index_by_another_encoder_is_none(workspace):
    made(workspace, "binary")
    with pytest.raises(NotFoundError, match="there is no binary of the features by encoder another"):
        FeatureIndex(workspace, "another", "binary")


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        *((kind, "images.lance/_indices/*/*.idx") for kind in KINDS[:2]),
        ("binary", "images-codes.lance/data/*.lance"),
        ("binary", "images-codes.lance/_versions/*"),
    ],
)
def test_a_flipped_bit_in_an_index_is_seen_before_it_is_used(workspace, manifest, kind, pattern):
    made(workspace, kind)
    file = flip_bit(workspace.features.glob(f"*/{pattern}"))
    message = rf"{file.name}` must hold the bytes .* [Mm]ake the index again: `evenly index --kind {kind}`\."
    with pytest.raises(DamagedError, match=message) as error:
        find(workspace, manifest, "red bird", index=kind)
    if "Remove this `.lance` folder" in str(error.value):
        rmtree(file.parents[1])
    made(workspace, kind)
    assert find(workspace, manifest, "red bird 3", index=kind, top=1).rows[0]["caption"] == "red bird 3"


def test_a_flipped_bit_in_the_features_is_seen_before_they_are_used(workspace, manifest):
    file = flip_bit(workspace.features.glob("*/images.lance/data/*.lance"))
    message = rf"{file.name}` must hold the bytes that were written to it; .* Remove this `.lance` folder and run again"
    for kind in (None, "binary"):
        with pytest.raises(DamagedError, match=message):
            made(workspace, kind) if kind else find(workspace, manifest, "red bird")


def flip_bit(files):
    """Flip a bit in the middle of the first of the files, which comes back."""
    file = min(files)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file
