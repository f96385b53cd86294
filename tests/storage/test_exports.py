import dataclasses
import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from evenly.curation.captions.choice import CHOICE_REASONS, CHOSEN
from evenly.storage.errors import DamagedError, StorageError
from evenly.storage.exports import EXPORTS
from evenly.storage.exports.content import (
    COLUMNS,
    ExistingExportError,
    ExportError,
    MissingExtraError,
    check_exported,
    json_line,
    true_extension,
)
from evenly.storage.exports.export import partial_folder
from evenly.storage.exports.webdataset import write_webdataset
from evenly.storage.records import read_record

BUILD = "demo-0a1b2c"


def picture(number, kind="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (number % 256, 0, 0)).save(stream, kind)
    return stream.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "GIF")
PICTURES = [picture(number, KINDS[number % 4]) for number in range(5)]
STORED = {hashlib.sha256(data).hexdigest(): data for data in PICTURES}


def read_bytes(image_ids):
    return (STORED[image_id] for image_id in image_ids)


def uid(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def table(captions=("a red cat", "a <b>dog</b>", "", None, "ein Haus"), **columns):
    n = len(captions)
    ids = list(STORED)
    return pa.table(
        {
            "uid": [uid(number) for number in range(n)],
            "url": [f"http://pictures.test/{number}.png" for number in range(n)],
            "caption": pa.array(captions, pa.string()),
            "source_id": pa.array([None] * n, pa.string()),
            "image_id": [ids[number % len(ids)] for number in range(n)],
            "width": [4] * n,
            "align_value": pa.array([float("nan"), *[0.25] * n][:n], pa.float64()),
            "tags": pa.array([["x", "y"]] * n, pa.list_(pa.string())),
            **columns,
        }
    )


def export(kind, rows, folder, **options):
    return EXPORTS[kind](rows, folder, **{"read_bytes": read_bytes, "name": BUILD, "seed": 7, **options})


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tar_members(folder):
    members = {}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as tar:
            members |= {entry.name: tar.extractfile(entry).read() for entry in tar}
    return members


every_format = pytest.mark.parametrize("kind", sorted(EXPORTS))


@every_format
def test_the_same_rows_in_any_order_and_chunking_give_the_same_bytes(kind, tmp_path):
    rows = table()
    export(kind, rows, tmp_path / "one")
    shuffled = pa.concat_tables([rows.slice(3), rows.slice(0, 1), rows.slice(1, 2)])
    export(kind, shuffled.replace_schema_metadata({"made": "elsewhere"}), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@every_format
@pytest.mark.parametrize("cut", [1, 2, 4, 9])
def test_rows_that_come_in_several_tables_give_the_same_bytes(kind, cut, tmp_path, monkeypatch):
    monkeypatch.setattr("evenly.storage.exports.content._PICTURES_AT_ONCE", 2)
    monkeypatch.setattr("evenly.storage.exports.datacomp._ROWS_AT_ONCE", 2)
    rows = table().sort_by("uid")

    def read():
        yield rows.schema.empty_table()
        yield from (rows.slice(start, cut) for start in range(0, len(rows), cut))

    first, again = export(kind, rows, tmp_path / "one"), export(kind, read, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert first.content_hash == again.content_hash


def test_the_hash_of_many_rows_does_not_depend_on_how_they_are_cut(monkeypatch):
    monkeypatch.setattr("evenly.storage.exports.content._HASHED_AT_ONCE", 2)
    rows = table().sort_by("uid")
    whole = check_exported(lambda: iter([rows]))
    parts = check_exported(lambda: iter([rows.slice(0, 3), rows.slice(3)]))
    assert (whole.digest, whole.count) == (parts.digest, parts.count)
    other = check_exported(lambda: iter([rows.slice(0, 4)]))
    assert other.digest != whole.digest


def test_tables_that_do_not_follow_each_other_are_refused(tmp_path):
    rows = table().sort_by("uid")
    with pytest.raises(ExportError, match="must be unique"):
        export("parquet", lambda: iter([rows, rows.slice(4)]), tmp_path / "out")


def test_a_build_without_rows_is_exported(tmp_path):
    empty = table().schema.empty_table()
    assert export("parquet", lambda: iter([empty]), tmp_path / "out").counts == {"rows": 0, "columns": 8}
    assert pq.read_table(tmp_path / "out" / "samples.parquet").schema.names == empty.schema.names


@every_format
def test_the_manifest_counts_and_hashes_every_other_file(kind, tmp_path):
    summary = export(kind, table(), tmp_path / "out")
    record = read_record(tmp_path / "out" / "export.json")
    files = contents(tmp_path / "out")
    del files["export.json"]
    assert record["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == summary.files
    assert (record["format"], record["build"], record["seed"]) == (kind, BUILD, 7)
    assert record["counts"] == summary.counts
    assert json.loads(json.dumps(summary.to_dict()))["files"] == len(files)
    assert not summary.reused


@every_format
def test_a_finished_export_is_reused(kind, tmp_path):
    first = export(kind, table(), tmp_path / "out")
    second = export(kind, table(), tmp_path / "out", read_bytes=None)
    assert second == dataclasses.replace(first, reused=True)


@every_format
def test_other_content_is_refused_and_nothing_is_touched(kind, tmp_path):
    export(kind, table(), tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(ExistingExportError, match="Choose another folder, or remove this one"):
        export(kind, table(["other"]), tmp_path / "out")
    assert contents(tmp_path / "out") == before


@every_format
def test_a_damaged_file_is_named(kind, tmp_path):
    summary = export(kind, table(), tmp_path / "out")
    name = min(summary.files)
    (tmp_path / "out" / name).write_bytes(b"damaged")
    with pytest.raises(DamagedError, match=name):
        export(kind, table(), tmp_path / "out")


@every_format
def test_a_folder_with_something_else_in_it_is_refused(kind, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ExistingExportError, match="something else"):
        export(kind, table(), tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


@every_format
def test_no_rows_export_to_no_rows(kind, tmp_path):
    summary = export(kind, table([]), tmp_path / "out")
    assert {summary.counts.get(name, 0) for name in ("pairs", "rows", "ids")} == {0}


@every_format
@pytest.mark.parametrize("wrong", ["../../etc/passwd", "A" * 32, "", None, "0" * 31 + "\n"])
def test_a_uid_that_is_not_hex_never_becomes_a_file_name(kind, wrong, tmp_path):
    rows = table(["a"]).set_column(0, "uid", pa.array([wrong], pa.string()))
    with pytest.raises(ExportError, match="32 lower-case hex digits"):
        export(kind, rows, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@every_format
def test_a_uid_that_stands_twice_is_refused(kind, tmp_path):
    with pytest.raises(ExportError, match="unique"):
        export(kind, pa.concat_tables([table(["a"]), table(["a"])]), tmp_path / "out")


@every_format
@pytest.mark.parametrize("name", ["", "a/b", "..\n", "x" * 201, "# heading"])
def test_a_name_that_would_not_be_plain_in_a_card_is_refused(kind, name, tmp_path):
    with pytest.raises(ExportError, match="build's id"):
        export(kind, table(), tmp_path / "out", name=name)


@pytest.mark.parametrize("kind", ["webdataset", "coco", "huggingface"])
@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_stop_in_the_middle_leaves_nothing(kind, stop, tmp_path):
    def stopping(image_ids):
        yield from list(read_bytes(image_ids))[:2]
        raise stop

    with pytest.raises(stop):
        export(kind, table(), tmp_path / "out", read_bytes=stopping)
    assert list(tmp_path.iterdir()) == []
    assert not export(kind, table(), tmp_path / "out").reused


@pytest.mark.parametrize("kind", ["webdataset", "coco", "huggingface"])
@pytest.mark.parametrize("pictures", [lambda ids: iter([b"not it"] * len(ids)), lambda _: iter(())])
def test_bytes_that_the_image_id_does_not_name_are_not_exported(kind, pictures, tmp_path):
    with pytest.raises(DamagedError, match="must have SHA-256"):
        export(kind, table(), tmp_path / "out", read_bytes=pictures)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["webdataset", "coco", "huggingface"])
def test_a_build_without_pictures_says_what_is_missing(kind, tmp_path):
    with pytest.raises(ExportError, match="image_id missing"):
        export(kind, table().drop_columns("image_id"), tmp_path / "out")


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_not(tmp_path):
    left = tmp_path / ".out.0123456789abcdef.partial"
    left.mkdir()
    (left / "000000.tar").write_bytes(b"half")

    def write_while_another_writes():
        with partial_folder(tmp_path / "out") as first:
            assert not left.exists()
            with partial_folder(tmp_path / "out") as second:
                (second / "file").write_bytes(b"second")
            (first / "file").write_bytes(b"first")

    with pytest.raises(FileExistsError):
        write_while_another_writes()
    assert contents(tmp_path) == {"out/file": b"second"}


def test_kill_9_in_the_middle_shows_no_export_and_the_next_run_cleans_up(tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from evenly.storage.exports import EXPORTS

def die(image_ids):
    yield b"first"
    os.kill(os.getpid(), signal.SIGKILL)

first = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
rows = pa.table({"uid": ["0" * 32, "1" * 32], "caption": ["a", "b"], "image_id": [first, first]})
EXPORTS["webdataset"](rows, Path(sys.argv[1]), read_bytes=die, name="demo", seed=1)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    killed = subprocess.run(command, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    assert not export("webdataset", table(), tmp_path / "out").reused
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_behind_a_link_is_filled(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    export("parquet", table(), tmp_path / "out")
    assert set(contents(tmp_path / "disk")) == {"export.json", "samples.parquet"}
    assert (tmp_path / "out").is_symlink()


@every_format
def test_progress_ends_at_the_number_of_rows(kind, tmp_path):
    done = []
    export(kind, table(), tmp_path / "out", progress=done.append)
    assert sum(done) == 5


def test_all_errors_are_storage_errors():
    assert all(issubclass(error, StorageError) for error in (ExportError, ExistingExportError, MissingExtraError))


def test_webdataset_shards_are_full_in_uid_order_and_keep_the_bytes(tmp_path):
    two_each = dataclasses.replace(EXPORTS["webdataset"], fill=partial(write_webdataset, pairs_per_shard=2))
    rows = table(chosen_caption=["new", None, None, None, ""])
    summary = two_each(rows, tmp_path / "out", read_bytes=read_bytes, name=BUILD, seed=7)
    sizes = json.loads((tmp_path / "out" / "sizes.json").read_bytes())
    assert sizes == {"000000.tar": 2, "000001.tar": 2, "000002.tar": 1}
    assert summary.counts == {
        "pairs": 5, "shards": 3, "pictures_gif": 1, "pictures_jpg": 1, "pictures_png": 2, "pictures_webp": 1,
    }  # fmt: skip
    members = tar_members(tmp_path / "out")
    assert [name.split(".")[0] for name in members][::3] == sorted(rows["uid"].to_pylist())
    for row in rows.to_pylist():
        extension = true_extension(STORED[row["image_id"]])
        assert members[f"{row['uid']}.{extension}"] == STORED[row["image_id"]]
        expected = row["chosen_caption"] if row["chosen_caption"] is not None else row["caption"] or ""
        assert members[f"{row['uid']}.txt"].decode() == expected
        stored = json.loads(members[f"{row['uid']}.json"])
        assert stored.keys() == row.keys()
        assert stored["url"] == row["url"]
        assert stored["tags"] == ["x", "y"]


def test_webdataset_headers_hold_no_time_owner_or_machine(tmp_path):
    export("webdataset", table(), tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "000000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO")  # it never closes its files
def test_the_webdataset_library_reads_what_was_written(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    export("webdataset", table(), tmp_path / "out")
    pairs = webdataset.WebDataset(str(tmp_path / "out" / "000000.tar"), shardshuffle=False)
    read = {sample["__key__"]: sample for sample in pairs}
    assert sorted(read) == sorted(table()["uid"].to_pylist())
    assert read[uid(0)]["txt"] == b"a red cat"
    assert json.loads(read[uid(0)]["json"])["align_value"] is None


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
tricks = ["../../x", "</script>\u2028{{ 7 }}", "a\0b\r\n", '"},{"file_name":"x"', "| ` |\n---\n"]
hostile = st.one_of(text, st.sampled_from(tricks))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(captions=st.lists(hostile, min_size=1, max_size=6), urls=st.lists(hostile, min_size=6, max_size=6))
def test_hostile_captions_and_urls_come_back_as_they_were(captions, urls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    rows = table(captions, url=urls[: len(captions)], source_id=captions)
    for kind in EXPORTS:
        export(kind, rows, folder / kind)
    members = tar_members(folder / "webdataset")
    lines = (folder / "huggingface" / "train" / "metadata.jsonl").read_bytes().split(b"\n")[:-1]
    fields = {item["uid"]: item for item in map(json.loads, lines)}
    assert len(fields) == len(captions)
    for row in rows.to_pylist():
        assert members[f"{row['uid']}.txt"].decode() == row["caption"] == fields[row["uid"]]["text"]
        assert json.loads(members[f"{row['uid']}.json"])["url"] == row["url"] == fields[row["uid"]]["url"]
    ours = rows.sort_by("uid").drop_columns("align_value")
    assert pq.read_table(folder / "parquet" / "samples.parquet").drop_columns("align_value") == ours
    names = {part for path in folder.rglob("*") for part in path.relative_to(folder).parts[1:]}
    known = {"train", "README.md", "metadata.jsonl", "export.json", "sizes.json", "samples.parquet", "croissant.json"}
    known |= {"000000.tar", "uids.npy", "images", "annotations.json"}
    assert all(name in known or set(name.split(".")[0]) <= set("0123456789abcdef") for name in names)


def test_parquet_keeps_all_columns_and_nulls(tmp_path):
    rows = table(features=pa.array([[1.0, 2.0]] * 5, pa.list_(pa.float32(), 2)))
    export("parquet", rows, tmp_path / "out")
    read = pq.read_table(tmp_path / "out" / "samples.parquet")
    assert read.column_names == rows.column_names
    assert read.drop_columns("align_value") == rows.sort_by("uid").drop_columns("align_value")


def test_datacomp_ids_are_sorted_unique_pairs_of_64_bits_from_source_id_or_uid(tmp_path):
    given_ids = ["F" * 32, "0" * 31 + "1", "0" * 31 + "1", "17", None]
    summary = export("datacomp", table(source_id=pa.array(given_ids, pa.string())), tmp_path / "out")
    ids = np.load(tmp_path / "out" / "uids.npy", allow_pickle=False)
    assert ids.dtype == np.dtype("u8,u8")
    assert summary.counts == {"ids": 4, "from_source_id": 3, "from_uid": 2, "repeated": 1}
    expected = sorted({int(value, 16) for value in (*given_ids[:3], uid(3), uid(4))})
    assert [(int(high) << 64) | int(low) for high, low in ids] == expected
    assert np.array_equal(ids, np.sort(ids))


@pytest.mark.parametrize("columns", [{}, {"source_id": pa.array(range(5), pa.int64())}])
def test_datacomp_takes_uids_where_the_pool_has_no_such_ids(columns, tmp_path):
    rows = table(**columns) if columns else table().drop_columns("source_id")
    assert export("datacomp", rows, tmp_path / "out").counts["from_uid"] == 5


def test_huggingface_metadata_names_pictures_that_exist_and_only_known_fields(tmp_path):
    evil = {name: ["evil"] * 5 for name in ("file_name", "text", "mask_file_name")}
    export("huggingface", table(**evil), tmp_path / "out")
    train = tmp_path / "out" / "train"
    rows = [json.loads(line) for line in (train / "metadata.jsonl").read_text().splitlines()]
    assert [row["uid"] for row in rows] == sorted(uid(number) for number in range(5))
    for row in rows:
        assert row.keys() == {"file_name", "text", "uid", "url", "caption", "source_id", "image_id", "width"}
        assert (train / row["file_name"]).read_bytes() == STORED[row["image_id"]]
        assert row["text"] == (row["caption"] or "")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith(f"---\npretty_name: {BUILD}\n")
    assert "| `text` |" in card


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_the_croissant_card_is_valid_and_its_reader_gives_the_rows(tmp_path, monkeypatch):
    mlcroissant = pytest.importorskip("mlcroissant")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a card is validated offline"))
    rows = table(**{"odd/name here?": ["x"] * 5})
    summary = export("croissant", rows, tmp_path / "out")
    assert summary.counts == {"rows": 5, "columns": 9, "fields": 8}
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "out" / "croissant.json")
    assert not dataset.metadata.issues.errors
    read = list(dataset.records(record_set="samples"))
    assert [record["samples/uid"].decode() for record in read] == sorted(rows["uid"].to_pylist())
    assert {record["samples/odd%2Fname%20here%3F"] for record in read} == {b"x"}


def test_croissant_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    with pytest.raises(MissingExtraError, match="pip install 'mlcroissant"):
        export("croissant", table(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "extension"),
    [(picture(1, kind), name) for kind, name in zip(KINDS, ("png", "jpg", "webp", "gif"), strict=True)]
    + [(picture(1, "BMP"), "bmp"), (picture(1, "TIFF"), "tiff"), (b"<html>", "bin"), (b"", "bin")],
)
def test_the_extension_is_what_the_bytes_are(data, extension):
    assert true_extension(data) == extension


def test_json_of_a_row_is_one_ascii_line_whatever_it_holds():
    line = json_line({"b": b"\xff", "a": [1.5, float("inf")], "t": np.datetime64("2026-01-01"), "s": "\u2028\n"})
    assert line == b'{"a": [1.5, null], "b": "ff", "s": "\\u2028\\n", "t": "2026-01-01"}\n'


def test_the_columns_of_a_choice_of_captions_are_described_in_cards_and_in_the_docs():
    names = [name for name in CHOSEN.names if name != "uid"]
    assert [name for name in names if name not in COLUMNS] == []
    page = (Path(__file__).parents[2] / "docs" / "captions.md").read_text()
    assert [name for name in (*names, *CHOICE_REASONS) if f"`{name}`" not in page] == []
