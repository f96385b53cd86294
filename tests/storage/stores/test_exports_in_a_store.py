import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.storage.errors import DamagedError
from evenly.storage.exports import EXPORTS
from evenly.storage.exports.errors import ExistingExportError


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


@pytest.mark.parametrize("name", ["parquet", "webdataset", "huggingface"])
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
