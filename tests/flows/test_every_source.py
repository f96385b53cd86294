"""Every kind of source, with extra columns of every type: rebuilt twice, explained, compared, verified, exported."""

import csv
import datetime as dt
import gzip
import json
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import content_of, steps_of
from evenly.flows.runs import open_run
from evenly.storage.builds import open_build
from evenly.storage.exports import EXPORTS
from evenly.storage.samples import Samples
from evenly.tasks.rebuild.publish import publish_build
from evenly.tasks.stage import run_step
from tests.storage.held_pool import picture, write_files, write_tar
from tests.storage.pools.test_wat import image, page, record
from tests.storage.web.conftest import HOST, Answer, serve

N = 6
KINDS = ("csv", "jsonl", "parquet", "webdataset", "folder", "features", "wat")
NOUNS = ("dog", "cat", "tree", "house", "car", "bird")
CAPTIONS = [f"a picture of a {noun}{' in the rain' * (number % 2)}" for number, noun in enumerate(NOUNS)]
TEXTS = [{"tags": ["a", number], "more": {"n": number, "none": None}, "weight": number / 3} for number in range(N)]
SLOW_KINDS = ("csv", "jsonl", "parquet", "webdataset", "wat")  # read as a folder is; each has tests of its reader
every_kind = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW_KINDS else kind for kind in KINDS]
)


def typed_columns():
    """Columns of the types that a Parquet file can give, nulls among them."""
    struct = pa.struct([("a", pa.list_(pa.string_view())), ("b", pa.decimal64(9, 2)), ("c", pa.binary_view())])
    rows = {
        "day": (pa.date32(), [dt.date(2020, 1, number + 1) for number in range(N)]),
        "clock": (pa.time32("s"), [dt.time(number) for number in range(N)]),
        "price": (pa.decimal128(9, 2), [Decimal(number) / 4 for number in range(N)]),
        "cheap": (pa.decimal32(6, 2), [Decimal(number) / 4 for number in range(N)]),
        "huge": (pa.decimal256(40, 2), [Decimal(number) / 4 for number in range(N)]),
        "struct": (struct, [{"a": ["x", None], "b": Decimal(number), "c": b"\xff"} for number in range(N)]),
        "map": (pa.map_(pa.string(), pa.date32()), [[("k", dt.date(2020, 1, number + 1))] for number in range(N)]),
        "structs": (pa.list_(pa.struct([("n", pa.int8())])), [[{"n": number}, None] for number in range(N)]),
        "pairs": (pa.list_(pa.string(), 2), [["a", str(number)] for number in range(N)]),
        "views": (pa.list_view(pa.int32()), [[number, None] for number in range(N)]),
        "length": (pa.duration("ms"), [dt.timedelta(seconds=number) for number in range(N)]),
        "tint": (pa.dictionary(pa.int8(), pa.string()), ["red", "blue"] * (N // 2)),
        "tints": (pa.list_(pa.dictionary(pa.int8(), pa.string())), [["red"]] * N),
        "nothing": (pa.null(), [None] * N),
        "half": (pa.float16(), [number / 2 for number in range(N)]),
        "bytes": (pa.large_binary(), [bytes([number, 255]) for number in range(N)]),
        "mark": (pa.binary(2), [bytes([number, 255]) for number in range(N)]),
        "word": (pa.string_view(), [f"word {number}" for number in range(N)]),
        "seen": (pa.timestamp("us", "Europe/Berlin"), [dt.datetime(2020, 1, 1, tzinfo=dt.UTC)] * N),
    }
    columns = {name: pa.array([*values[:-1], None], kind) for name, (kind, values) in rows.items()}
    uuids = pa.array([bytes([number]) * 16 for number in range(N)], pa.binary(16))
    return columns | {"guid": pa.ExtensionArray.from_storage(pa.uuid(), uuids)}


def ids():
    return [f"{number + 1:032x}" for number in range(N)]


def write_pool(kind: str, folder: Path, urls: list[str]) -> dict[str, object]:
    """Write a pool of N pairs; its source in a recipe."""
    tabular = {"caption": "text", "id": "key"}
    rows = [{"url": url, "text": text, "key": key} for url, text, key in zip(urls, CAPTIONS, ids(), strict=True)]
    if kind == "csv":
        with (folder / "pool.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [*rows[0], "note"])
            writer.writeheader()
            writer.writerows(row | {"note": f'several, "quoted"\nlines {number}'} for number, row in enumerate(rows))
        return {"kind": kind, "path": str(folder / "pool.csv"), **tabular}
    if kind == "jsonl":
        lines = [json.dumps(row | texts) + "\n" for row, texts in zip(rows, TEXTS, strict=True)]
        (folder / "pool.jsonl").write_text("".join(lines))
        return {"kind": kind, "path": str(folder / "pool.jsonl"), **tabular}
    if kind in ("parquet", "features"):
        table = pa.Table.from_pylist(rows)
        for name, column in typed_columns().items():
            table = table.append_column(name, column)
        if kind == "features":
            np.savez(folder / "pool.npz", vectors=np.random.default_rng(0).normal(size=(N, 512)).astype(np.float16))
            tabular |= {"vector": "vectors", "encoder": {"model": "embedded"}}
        pq.write_table(table, folder / "pool.parquet")
        return {"kind": kind, "path": str(folder / "pool.parquet"), **tabular}
    if kind == "webdataset":
        parts = []
        for number, (row, texts) in enumerate(zip(rows, TEXTS, strict=True)):
            parts += [(f"{number}.png", picture(number)), (f"{number}.txt", row["text"].encode())]
            parts += [(f"{number}.json", json.dumps({"key": row["key"]} | texts).encode())]
        write_tar(folder / "pool.tar", parts)
        return {"kind": kind, "path": str(folder / "pool.tar"), "id": "key"}
    if kind == "folder":
        listing = "".join(f"{number}.png,{row['text']},{row['key']}\n" for number, row in enumerate(rows))
        pictures = {f"{number}.png": picture(number) for number in range(N)}
        write_files(folder / "pool", {**pictures, "metadata.csv": "file_name,text,key\n" + listing})
        return {"kind": kind, "path": str(folder / "pool"), **tabular}
    pages = [record(page(f"http://{HOST}/{number}", image(url, alt=text))) for number, (url, text) in
             enumerate(zip(urls, CAPTIONS, strict=True))]  # fmt: skip
    (folder / "pool.wat.gz").write_bytes(b"".join(map(gzip.compress, pages)))
    return {"kind": kind, "path": str(folder / "pool.wat.gz")}


def write_recipe(folder: Path, source: dict[str, object], words: int) -> Path:
    recipe = {
        "name": "little",
        "seed": 3,
        "sources": [source],
        "curate": {
            "text": {"caption_length": {"min_words": words, "max_words": 40}},
            "match": {"mode": "normalized", "plurals": True},
            "download": {"retries": 0, "respect": []},
            "deduplicate": {"exact": True, "perceptual": None, "semantic": None},
            "balance": {"t": 1000},
        },
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


def rebuild(recipe_file: Path, root: Path) -> dict:
    recipe = read_recipe(recipe_file)
    with open_run(recipe, root=root, workers=1, quiet=True) as run:
        records = ()
        for step, rule in steps_of(recipe):
            records = (*records, run_step(run, step, records, rule))
        return publish_build(run, records, name=recipe.name, recipe=content_of(recipe), limit=None, max_change=1.0)


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Of a kind: the workspace, its first build, the same build made anew elsewhere, and one by another rule."""
    with serve() as web, pytest.MonkeyPatch.context() as patch:
        urls = [web.put(f"/{number}.png", Answer(body=picture(number))) for number in range(N)]
        patch.setenv("EVENLY_CONNECT", ",".join(f"{host}={address}" for host, address in web.connect.items()))

        @cache
        def of(kind):
            folder = tmp_path_factory.mktemp(kind)
            source = write_pool(kind, folder, urls)
            first = rebuild(write_recipe(folder, source, 2), folder / "w")
            again = rebuild(write_recipe(folder, source, 2), folder / "elsewhere")
            other = rebuild(write_recipe(folder, source, 6), folder / "w")
            return folder / "w", first, again, other

        yield of


def kept_rows(root, manifest):
    where = f"{manifest['samples']['last']}_verdict = 'kept'"
    return Samples(open_build(manifest["build"], root=root)[0], "little").read(
        manifest["samples"]["version"], where=where
    )


@every_kind
def test_a_rebuild_elsewhere_is_the_same_build(builds, kind):
    _, first, again, _ = builds(kind)
    assert first["samples"]["kept"] == N
    assert again["content_hash"] == first["content_hash"]


@pytest.mark.parametrize("kind", ["parquet", "features"])
def test_columns_of_every_type_keep_their_values(builds, kind):
    root, first, *_ = builds(kind)
    rows = kept_rows(root, first).to_pylist()
    for number, row in enumerate(sorted(rows, key=lambda row: row["source_id"])):
        assert {name: row[name] for name in typed_columns()} == {
            name: column[number].as_py() for name, column in typed_columns().items()
        }


@every_kind
def test_a_build_verifies_and_has_a_report(builds, evenly, kind):
    root, first, *_ = builds(kind)
    assert evenly("verify", first["build"], "--every-image", "--root", root) == (0, f"{first['build']}: ok\n", "")
    status, out, err = evenly("report", first["build"], "--root", root)
    assert (status, err) == (0, "")
    assert CAPTIONS[0] in Path(out.strip().splitlines()[-1]).read_text()


@every_kind
@pytest.mark.parametrize("options", [("--replay",), ("--replay", "--json")], ids=" ".join)
def test_why_says_how_a_kept_and_a_dropped_pair_came_through(builds, evenly, kind, options):
    root, first, _, other = builds(kind)
    uid = next(row["uid"] for row in kept_rows(root, first).to_pylist() if row["caption"] == CAPTIONS[0])
    for manifest, outcome in ((first, "kept"), (other, "dropped")):
        status, out, err = evenly("why", uid, "--build", manifest["build"], "--root", root, *options)
        assert (status, err) == (0, "")
        assert outcome in out
        if "--json" in options:
            (pair,) = json.loads(out)["pairs"]
            assert not [step for step in pair["steps"] if (step["replay"] or {}).get("agrees") is False]


@every_kind
def test_diff_names_the_pairs_that_left(builds, evenly, kind):
    root, first, _, other = builds(kind)
    status, out, err = evenly("diff", first["build"], other["build"], "--root", root, "--json")
    assert (status, err) == (0, "")
    assert len(json.loads(out)["left"]) >= 1


@every_kind
@pytest.mark.parametrize("to", sorted(EXPORTS))
def test_a_build_is_exported_or_the_format_says_what_it_lacks(builds, evenly, tmp_path, kind, to):
    root, first, *_ = builds(kind)
    status, _, err = evenly("export", first["build"], "--to", to, "--out", tmp_path / "out", "--root", root)
    if kind == "features" and to in ("webdataset", "coco", "huggingface"):
        assert status == 1
        assert "They came as features alone: choose what needs no pictures" in err
        assert len(err.strip().splitlines()) == 1
    else:
        assert (status, err) == (0, "")
        assert (tmp_path / "out" / "export.json").is_file()
