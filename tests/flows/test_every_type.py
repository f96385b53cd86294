"""Columns of every Arrow type in every kind of source that has types: kept to samples, `why`, exports and back."""

import datetime as dt
from decimal import Decimal
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.storage.exports import EXPORTS
from evenly.storage.pools.columns import plain_column
from evenly.storage.pools.source import LOCAL_READERS, READERS, PoolSource, read_pool
from tests.flows.test_every_source import CAPTIONS, N, ids, kept_rows, rebuild, write_recipe
from tests.storage.held_pool import picture, write_files

TYPED = ("parquet", "folder", "features")
TEXT = ("csv", "jsonl", "wat", "webdataset")  # formats without types: docs/sources.md says what becomes of values
UNITS = ("s", "ms", "us", "ns")
MOMENT = dt.datetime(2021, 3, 4, 5, 6, 7)  # noqa: DTZ001 - of a column without a zone
WORDS = [f"word {number}" for number in range(N)]
RAW = [bytes([number, 255]) for number in range(N)]
NUMBERS = list(range(N))
HALVES = [number / 2 for number in NUMBERS]
DAYS = [dt.date(2020, 1, number + 1) for number in NUMBERS]
TIMES = [dt.time(number) for number in NUMBERS]
PRICES = [Decimal(number) / 4 for number in range(N)]
SPANS = [dt.timedelta(seconds=number) for number in range(N)]
VALUES = {
    **{getattr(pa, f"{sign}int{width}")(): NUMBERS for sign in ("", "u") for width in (8, 16, 32, 64)},
    **dict.fromkeys([pa.float16(), pa.float32(), pa.float64()], HALVES),
    pa.bool_(): [number % 2 == 0 for number in NUMBERS],
    **dict.fromkeys([pa.string(), pa.large_string(), pa.string_view()], WORDS),
    **dict.fromkeys([pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)], RAW),
    **dict.fromkeys([pa.date32(), pa.date64()], DAYS),
    **dict.fromkeys([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")], TIMES),
    **{pa.timestamp(unit): [MOMENT] * N for unit in UNITS},
    **{pa.timestamp(unit, zone): [MOMENT] * N for unit in UNITS for zone in ("UTC", "Europe/Berlin", "+02:00")},
    **{pa.duration(unit): SPANS for unit in UNITS},
    **dict.fromkeys([pa.decimal32(6, 2), pa.decimal64(12, 2), pa.decimal128(20, 2), pa.decimal256(50, 2)], PRICES),
    **{pa.dictionary(index, pa.string()): WORDS for index in (pa.int8(), pa.int32(), pa.uint16())},
    pa.dictionary(pa.int8(), pa.int64()): NUMBERS,
    **{make(pa.string()): [["a", None, word] for word in WORDS] for make in (pa.list_, pa.large_list, pa.list_view)},
    pa.list_(pa.date32()): [[dt.date(2020, 1, 1), None]] * N,
    pa.list_(pa.float32(), 2): [[number, 0.5] for number in NUMBERS],
    pa.list_(pa.string(), 2): [["a", word] for word in WORDS],
    pa.struct([("a", pa.decimal64(9, 2)), ("b", pa.list_(pa.binary_view()))]): [{"a": PRICES[1], "b": RAW}] * N,
    pa.map_(pa.string(), pa.time32("s")): [[("k", dt.time(1))]] * N,
    pa.map_(pa.int16(), pa.list_(pa.struct([("n", pa.int8())]))): [[(1, [{"n": 2}, None])]] * N,
    pa.list_(pa.dictionary(pa.int8(), pa.string())): [["red"]] * N,
    pa.null(): [None] * N,
}  # fmt: skip
EXTENSIONS = {
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes([n]) * 16 for n in range(N)], pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array([f'{{"n": {n}}}' for n in range(N)])),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([n % 2 for n in range(N)], pa.int8())),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(N * 4, dtype=np.float32).reshape(N, 2, 2)),
}


def columns_of_every_type():
    """A column of each type by a name of its own, the last value null."""
    columns = {f"c{n:02d}": pa.array([*values[:-1], None], kind) for n, (kind, values) in enumerate(VALUES.items())}
    return columns | EXTENSIONS


def write_pool(kind, folder):
    table = pa.table({"text": CAPTIONS, "key": ids(), **columns_of_every_type()})
    source = {"kind": kind, "caption": "text", "id": "key", "path": str(folder / "pool.parquet")}
    if kind == "folder":
        names = [f"{number}.png" for number in range(N)]
        write_files(folder / "pool", {name: picture(number) for number, name in enumerate(names)})
        pq.write_table(table.append_column("file_name", pa.array(names)), folder / "pool" / "metadata.parquet")
        return source | {"path": str(folder / "pool")}
    pq.write_table(table, folder / "pool.parquet")
    if kind == "features":
        np.savez(folder / "pool.npz", vectors=np.random.default_rng(0).normal(size=(N, 512)).astype(np.float16))
        return source | {"vector": "vectors", "encoder": {"model": "embedded"}}
    return source | {"url": None}


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    @cache
    def of(kind):
        folder = tmp_path_factory.mktemp(kind)
        recipe = write_recipe(folder, write_pool(kind, folder), 2)
        if kind == "parquet":  # captions alone: no picture is asked for
            content = yaml.safe_load(recipe.read_text())
            content["curate"] = {name: content["curate"][name] for name in ("text", "match", "balance")}
            recipe.write_text(yaml.safe_dump(content))
        return folder, rebuild(recipe, folder / "w")

    return of


def test_every_kind_of_source_has_types_or_says_that_it_has_none():
    assert {*TYPED, *TEXT} == {*READERS, *LOCAL_READERS}


@pytest.mark.parametrize("kind", TYPED)
def test_columns_of_every_type_keep_type_and_values(builds, kind):
    folder, manifest = builds(kind)
    rows = kept_rows(folder / "w", manifest).sort_by("source_id")
    written = pq.read_table(
        next(path for path in (folder / "pool.parquet", folder / "pool" / "metadata.parquet") if path.is_file())
    )
    assert rows.num_rows == N
    for name in columns_of_every_type():
        expected = plain_column(written[name])
        assert (name, rows[name].type) == (name, expected.type)
        assert (name, rows[name].to_pylist()) == (name, expected.to_pylist())


@pytest.mark.parametrize("kind", TYPED)
def test_why_shows_a_pair_with_columns_of_every_type(builds, evenly, kind):
    folder, manifest = builds(kind)
    uid = kept_rows(folder / "w", manifest)["uid"][0].as_py()
    for options in ((), ("--json",)):
        status, out, err = evenly("why", uid, "--build", manifest["build"], "--root", folder / "w", *options)
        assert (status, err) == (0, "")
        assert "kept" in out


@pytest.mark.parametrize("to", sorted(EXPORTS))
@pytest.mark.parametrize("kind", TYPED)
def test_every_export_takes_columns_of_every_type_or_says_what_it_lacks(builds, evenly, tmp_path, kind, to):
    folder, manifest = builds(kind)
    status, _, err = evenly("export", manifest["build"], "--to", to, "--out", tmp_path / "out", "--root", folder / "w")
    if kind != "folder" and to in ("webdataset", "coco", "huggingface"):
        assert (status, len(err.strip().splitlines())) == (1, 1)
        return
    assert (status, err) == (0, "")
    if to == "parquet":
        kept = kept_rows(folder / "w", manifest).sort_by("source_id")
        source = PoolSource(kind="parquet", path=str(tmp_path / "out" / "**" / "*.parquet"), url=None, id="source_id")
        back = pa.concat_tables(read_pool(source)).sort_by("source_id")
        for name in columns_of_every_type():
            assert (name, back[name].type) == (name, kept[name].type)
            assert (name, back[name].to_pylist()) == (name, kept[name].to_pylist())
