import hashlib
import io
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.storage.errors import DamagedError, StoreError
from evenly.storage.exports import EXPORTS
from evenly.storage.exports.content import ExistingExportError, ExportError
from evenly.storage.exports.export import UPLOADING
from evenly.storage.removal.clean import Wanted, clean_workspace, look_through
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import lock_holder


def picture(number):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (number, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = {hashlib.sha256(data).hexdigest(): data for data in map(picture, range(3))}
ROWS = pa.table(
    {
        "uid": [f"{number:032x}" for number in range(3)],
        "url": [f"http://pictures.test/{number}.png" for number in range(3)],
        "caption": ["a red cat", "a dog", "ein Haus"],
        "source_id": pa.array([None] * 3, pa.string()),
        "image_id": list(PICTURES),
        "width": [4] * 3,
        "height": [3] * 3,
    }
)


def export(name, folder, rows=ROWS):
    return EXPORTS[name](rows, folder, read_bytes=lambda ids: (PICTURES[one] for one in ids), name="b-1", seed=1)


@pytest.mark.parametrize("name", ["parquet", "webdataset", "coco", "huggingface"])
def test_an_export_into_a_store_has_the_files_of_one_into_a_folder(stored_workspace, tmp_path, name):
    folder = stored_workspace.exports / "b-1" / name
    summary, local = export(name, folder), export(name, tmp_path / name)
    assert (dict(summary.files), summary.reused) == (dict(local.files), False)
    assert {key: hashlib.sha256((folder / key).read_bytes()).hexdigest() for key in summary.files} == summary.files
    assert export(name, folder).reused
    with pytest.raises(ExistingExportError, match=f"got `{folder}`, which holds {name} of"):
        export(name, folder, ROWS.slice(1))


def test_an_export_in_a_store_that_has_changed_is_damage(stored_workspace):
    folder = stored_workspace.exports / "p"
    [name] = export("parquet", folder).files
    assert pq.read_table(io.BytesIO((folder / name).read_bytes())).num_rows == 3
    (folder / name).write_bytes(b"x")
    with pytest.raises(DamagedError, match="1 of 1 files do not"):
        export("parquet", folder)


def test_what_lies_in_a_folder_of_a_store_is_not_written_over(stored_workspace):
    (stored_workspace.exports / "p" / "mine").write_bytes(b"1")
    with pytest.raises(ExistingExportError, match="holds something else"):
        export("parquet", stored_workspace.exports / "p")


KILLED = """
import os, signal, sys
from evenly.storage.stores.object_path import ObjectPath, path_at
from tests.storage.stores.test_exports_in_a_store import ROWS, export
write = ObjectPath.write_stream
def killed(path, stream):
    write(path, stream)
    os.kill(os.getpid(), signal.SIGKILL)
ObjectPath.write_stream = killed
export("parquet", path_at(sys.argv[1]), ROWS.slice(1))
"""


@pytest.fixture
def broken_off(stored_workspace):
    """The folder of an export whose process was killed when its first file was there."""
    folder = stored_workspace.exports / "b-1" / "parquet"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert "samples.parquet" in names(folder)
    return folder


def names(folder):
    return sorted(name for name, _ in folder.objects())


def test_an_export_that_was_killed_is_made_again(broken_off):
    (broken_off / "other.parquet").write_bytes(b"of another export")
    assert not export("parquet", broken_off).reused
    assert names(broken_off) == ["export.json", "samples.parquet"]
    assert export("parquet", broken_off).reused


def test_an_export_that_was_killed_is_freed_by_clean(broken_off, stored_workspace, tmp_path):
    export("parquet", stored_workspace.exports / "b-1" / "whole")
    wanted = Wanted(older_than_s=1e6)
    [leftover, lock] = look_through(stored_workspace, tmp_path, wanted).leftovers
    assert leftover.why == "exports that were broken off"
    assert [file.path for file in leftover.files] == [broken_off / "samples.parquet"]
    assert lock.kind == "locks"
    assert clean_workspace(stored_workspace, tmp_path, wanted).in_use == []
    assert names(stored_workspace.exports) == ["b-1/whole/export.json", "b-1/whole/samples.parquet"]


def test_an_export_that_another_process_writes_is_left_to_it(stored_workspace, tmp_path):
    folder = stored_workspace.exports / "b-1" / "parquet"
    with lock_holder(folder / UPLOADING) as holder:
        assert holder is None
        (folder / "samples.parquet").write_bytes(b"half")
        with pytest.raises(ExportError, match=r"must be written by one process at a time; process \d+ on"):
            export("parquet", folder)
        assert look_through(stored_workspace, tmp_path, Wanted(older_than_s=0)).leftovers == []
    assert (folder / "samples.parquet").read_bytes() == b"half"


def test_an_upload_that_fails_leaves_nothing(stored_workspace, monkeypatch):
    folder = stored_workspace.exports / "b-1" / "parquet"
    create = ObjectPath.create

    def failing(path, content):
        if path.name == "export.json":
            raise StoreError("store must answer; it does not")
        return create(path, content)

    monkeypatch.setattr(ObjectPath, "create", failing)
    with pytest.raises(StoreError):
        export("parquet", folder)
    assert names(folder) == []
