"""A purge takes traces out of downloads, features and replies, and leaves all else, in a folder and in a store."""

import hashlib
import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.features import to_unit_rows
from evenly.storage.artifacts.training_states import TrainingStates
from evenly.storage.chat.requests import Batches, Requests
from evenly.storage.feature_store import FeatureStore
from evenly.storage.removal.decoded import search
from evenly.storage.removal.purge import purge, searched_files
from evenly.storage.removal.traces import Traces
from evenly.storage.web.images import read_images
from evenly.storage.web.measured import check_measured, read_measured, write_measured
from evenly.storage.web.shards import RECORDS, check_records, publish_shard, read_downloads, tar_name, url_key
from evenly.storage.workspace import Workspace, exclusive_use

URLS = [f"https://a.test/{number}.png" for number in range(4)]
PICTURES = [bytes([65 + number]) * (700 + 300 * number) for number in range(4)]
IDS = [hashlib.sha256(content).hexdigest() for content in PICTURES]
GONE = 1
TRACES = Traces(urls=frozenset([URLS[GONE]]), pictures=frozenset([IDS[GONE]]), captions=frozenset(["a secret fox"]))
SHARD = "ab" * 16


@pytest.fixture(params=["folder", pytest.param("store", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest) -> Workspace:
    return request.getfixturevalue("workspace" if request.param == "folder" else "stored_workspace")


def do(place):
    with exclusive_use(place, "test"):
        purge(place, place.exchange, TRACES, {})
    return search(searched_files(place, place.exchange), TRACES)


def fill_downloads(place, folder):
    """A shard as a download writes it."""
    name, rows, stream = tar_name(place.downloads, SHARD), [], io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for url, content, image_id in zip(URLS, PICTURES, IDS, strict=True):
            header = tarfile.TarInfo(f"{url_key(url)}.png")
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
            offset = tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            row = {"url": url, "attempt": 1, "outcome": "success", "verdict": "kept", "image_id": image_id, "tar": name}
            rows.append(row | {"key": url_key(url), "offset": offset, "size": len(content)})
    place.downloads.mkdir(parents=True, exist_ok=True)
    (folder / "t.tar").write_bytes(stream.getvalue())
    pq.write_table(pa.Table.from_pylist(rows, schema=RECORDS), folder / "t.parquet")
    write_measured(folder / "m.parquet", "prints", dict(zip(IDS, [b"1", b"2", b"3", b"4"], strict=True)))
    files = {"tar": folder / "t.tar", "records": folder / "t.parquet", "measured": folder / "m.parquet"}
    publish_shard(place.downloads, SHARD, **files, tar_as=name)
    return place.downloads / name


def test_a_picture_goes_out_of_its_tar_and_all_others_stay_where_they_are(place, tmp_path):
    tar = fill_downloads(place, tmp_path)
    before = read_downloads(place.downloads)
    size = tar.stat().st_size
    assert do(place) == {}
    others = [number for number in range(4) if number != GONE]
    assert read_downloads(place.downloads).equals(before.filter(pa.array([number != GONE for number in range(4)])))
    assert list(read_images(place.downloads, [IDS[n] for n in others])) == [PICTURES[n] for n in others]
    check_records(place.downloads / f"{SHARD}.parquet")
    check_measured(place.downloads / f"{SHARD}.measured.parquet")
    assert sorted(read_measured(place.downloads, "prints", [SHARD])["value"].to_pylist()) == [b"1", b"3", b"4"]
    content = tar.read_bytes()
    assert len(content) == size
    assert PICTURES[GONE][:50] not in content
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        assert [member.name.endswith(".png") for member in opened] == [True, False, True, True]
    assert do(place) == {}


def test_a_purge_that_was_broken_off_between_tar_and_records_goes_on(place, tmp_path, monkeypatch):
    from evenly.storage.removal import purge as module

    tar = fill_downloads(place, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_without", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            do(place)
    assert PICTURES[GONE][:50] not in tar.read_bytes()
    assert do(place) == {}
    assert list(read_images(place.downloads, [IDS[0]])) == [PICTURES[0]]


def test_features_of_a_picture_go_in_all_versions_and_its_index_with_them(place):
    store = FeatureStore(place, "e" * 64, "images")
    rows = to_unit_rows(np.eye(4, dtype=np.float32))
    for number, image_id in enumerate(IDS):
        store.append([image_id], rows[0][number : number + 1], rows[1][number : number + 1])
    (store.path.parent / "images-binary.json").write_bytes(b"{}")
    others = [IDS[number] for number in range(4) if number != GONE]
    expected = store.read(others)[0]
    assert do(place) == {}
    store = FeatureStore(place, "e" * 64, "images")
    assert np.array_equal(store.read(others)[0], expected)
    assert store.missing(IDS) == [IDS[GONE]]
    assert not (store.path.parent / "images-binary.json").exists()
    store.append([IDS[GONE]], rows[0][:1], rows[1][:1])
    assert store.count() == 4


def test_features_of_which_no_row_is_left_go_whole(place):
    store = FeatureStore(place, "e" * 64, "texts")
    store.append([IDS[GONE]], *to_unit_rows(np.eye(1, 4, dtype=np.float32)))
    assert do(place) == {}
    assert store.count() == 0
    store.append([IDS[0]], *to_unit_rows(np.eye(1, 4, dtype=np.float32)))
    assert store.count() == 1


def test_states_of_trainings_go_whatever_they_were_trained_on(place):
    states = TrainingStates(place.refined / "running" / "prompts")
    states["a"] = {"0.context": np.ones(3, np.float32)}
    assert do(place) == {}
    assert list(states) == []


def test_replies_and_batches_that_hold_it_go_and_no_others(place):
    requests, batches = Requests(place), Batches(place)
    requests.put("aa1", {"request": {"messages": [{"content": f"image_id={IDS[GONE]}"}]}, "reply": "a fox"})
    requests.put("bb1", {"request": {"messages": [{"content": "Caption: a secret fox\nSay more."}]}, "reply": "x"})
    requests.put("cc1", {"request": {"messages": [{"content": "a secret fox in the snow"}]}, "reply": "y"})
    batches.create("dd1", {"time": "1", "id": "dd1"}, {"r": {"text": URLS[GONE]}})
    batches.create("ee1", {"time": "1", "id": "ee1"}, {"r": {"text": URLS[0]}})
    assert do(place) == {}
    assert [requests.get(name) is None for name in ("aa1", "bb1", "cc1")] == [True, True, False]
    assert [intent["id"] for intent, _ in batches.records()] == ["ee1"]
