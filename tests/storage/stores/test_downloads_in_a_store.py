import hashlib
import io
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.pools.local_rows import LOCAL, Place
from evenly.storage.web import working_folder as module
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.images import read_images
from evenly.storage.web.shards import check_records, clean_folder, publish_shard, read_downloads, shard_names
from evenly.storage.web.working_folder import hold_folder
from tests.storage.pools.taken import take_pictures


@pytest.fixture
def pictures(tmp_path):
    """Five pictures in files, by image_id."""
    held = {}
    for number in range(5):
        stream = io.BytesIO()
        Image.new("RGB", (8, 6), (number, 0, 0)).save(stream, "PNG")
        path = tmp_path / f"{number}.png"
        path.write_bytes(stream.getvalue())
        held[hashlib.sha256(stream.getvalue()).hexdigest()] = Place(path=path, offset=0, size=len(stream.getvalue()))
    return held


def take(pictures, folder):
    return take_pictures(
        [LOCAL + name for name in pictures], lambda: iter(pictures.items()), DownloadRule(), folder=folder
    )


def test_pictures_in_a_store_are_recorded_and_read_as_in_a_folder(pictures, stored_workspace, tmp_path):
    stored, local = stored_workspace.downloads, tmp_path / "downloads"
    assert take(pictures, stored) == take(pictures, local) == 5
    assert take(pictures, stored) == 0
    columns = [name for name in read_downloads(local).column_names if name not in ("tar", "fetched_at")]
    assert read_downloads(stored, columns).equals(read_downloads(local, columns))
    ids = sorted(pictures)
    assert list(read_images(stored, ids)) == [pictures[one].path.read_bytes() for one in ids]
    [name] = shard_names(stored)
    check_records(stored / f"{name}.parquet")
    assert sorted(path.suffix for path in stored.iterdir()) == [".parquet", ".tar"]


def test_a_tar_that_has_changed_or_is_gone_is_said(pictures, stored_workspace):
    folder = stored_workspace.downloads
    take(pictures, folder)
    [tar] = folder.glob("*.tar")
    tar.write_bytes(tar.read_bytes().replace(b"IDAT", b"IDAX"))
    with pytest.raises(DownloadError, match=f"shard `{tar}` must hold the bytes of picture"):
        list(read_images(folder, list(pictures)))
    tar.unlink()
    with pytest.raises(DownloadError, match=f"shard `{tar}` must be readable; .*No such object"):
        list(read_images(folder, list(pictures)))


def test_of_two_writers_of_a_shard_one_is_recorded_with_its_own_tar(pictures, stored_workspace, tmp_path):
    """Both wrote without a lock: each tar has a name of its own, so that no record ever points into another's."""
    folder = stored_workspace.downloads
    take(pictures, folder)
    before = read_downloads(folder)
    [name] = shard_names(folder)
    (tmp_path / "t").write_bytes(b"another")
    (tmp_path / "r").write_bytes((folder / f"{name}.parquet").read_bytes())
    publish_shard(folder, name, tar=tmp_path / "t", records=tmp_path / "r", tar_as=f"{name}.0000.tar")
    assert read_downloads(folder).equals(before)
    assert len(list(read_images(folder, list(pictures)))) == 5
    assert len(list(folder.glob("*.tar"))) == 1


def test_what_a_killed_writer_left_in_a_store_goes_once_it_is_a_day_old(stored_workspace, monkeypatch):
    folder = stored_workspace.downloads
    left = folder / f"{'0' * 32}.1234.tar"
    left.write_bytes(b"")
    (folder / "mine.tar").write_bytes(b"")
    clean_folder(folder)
    assert left.exists()
    later = time.time() + 25 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    clean_folder(folder)
    assert [path.name for path in folder.iterdir()] == ["mine.tar"]


def test_a_download_into_a_store_leaves_nothing_on_this_machine_and_removes_what_a_killed_one_left(
    stored_workspace, tmp_path, monkeypatch
):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    code = f"""
import tempfile, sys
tempfile.tempdir = {str(tmp_path)!r}
from evenly.storage.web.working_folder import hold_folder
from evenly.storage.workspace import Workspace
with hold_folder(Workspace.at(sys.argv[1]).downloads) as work:
    work.mkdir()
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(stored_workspace.root)]
    killed = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "held\n"
    with (
        pytest.raises(DownloadError, match=rf"is in use by process {killed.pid} on"),
        hold_folder(stored_workspace.downloads),
    ):
        pytest.fail("two at once")
    assert len(list(tmp_path.iterdir())) == 1
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.communicate()
    with hold_folder(stored_workspace.downloads) as work:
        assert list(tmp_path.iterdir()) == [work.parent]
    assert list(tmp_path.iterdir()) == []
    assert list(stored_workspace.root.objects()) == []


def test_downloads_into_several_stores_at_once_leave_each_others_folders(stored_workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))

    def work_often(name):
        for _ in range(15):
            with hold_folder(stored_workspace.root / name) as work:
                work.mkdir()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work_often, "abcd"))
    assert list(tmp_path.iterdir()) == []
