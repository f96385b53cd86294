"""The regions of a build in its exports: a pool made of one has the same boxes and masks again."""

import json
from dataclasses import replace

import numpy as np
import pytest

import evenly
from evenly.audit.regions import regions_of
from evenly.features.dense.given import stated_regions
from evenly.features.dense.regions import encoded_mask
from evenly.storage.pools.source import PoolSource, read_pool
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.regions.find_regions import FIND_REGIONS
from evenly.tasks.regions.tables import shown_pictures
from evenly.tasks.stage import run_steps
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import RED, RULES, Row, open_run, publish


def entries(regions):
    """All of regions but where they are from."""
    rows = [{name: value for name, value in row.items() if name not in {"picture", "source"}} for row in regions.rows()]
    return sorted(rows, key=repr)


def with_regions(run, column):
    """The records of the steps, and the regions of all pictures that `column` gives."""
    rules = {**RULES, "find_regions": {"method": None, "boxes": column}}
    steps = [(step, step.read(rules[step.name])) for step in (COLLECT, DOWNLOAD, FIND_REGIONS)]
    records = run_steps(run, steps, InProcess(run=run))
    return records, entries(regions_of(run.ledger.table(records[-1], "regions").to_pylist()))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build, and its regions: of each picture a mask in two parts and a box."""
    root = tmp_path_factory.mktemp("built")
    run = open_run(root, [Row(f"p{n}", f"picture {n}", picture(RED, pattern=n)) for n in range(3)])
    listing, lines = root / "pool" / "metadata.jsonl", []
    for n, line in enumerate(listing.read_text().splitlines()):
        mask = np.zeros((48, 64), np.bool_)
        mask[4 : 20 + n, 5:25] = mask[30:40, 5:9] = True
        whole = {"category": "robin", "score": 0.5, "segmentation": {"counts": encoded_mask(mask), "size": [48, 64]}}
        lines.append(json.dumps(json.loads(line) | {"things": [whole, {"bbox": [0, 0, 10.25, 4], "phrase": "a leaf"}]}))
    listing.write_text("\n".join(lines))
    records, regions = with_regions(run, "things")
    assert len(regions) == 6
    return evenly.open(root).builds[publish(run, records)["build"]], regions


def test_shards_as_a_source_give_the_same_regions(built, tmp_path):
    build, regions = built
    build.export("webdataset", out=tmp_path / "out")
    source = PoolSource(kind="webdataset", path=str(tmp_path / "out" / "*.tar"), name="again")
    assert with_regions(replace(open_run(tmp_path / "w", []), sources=(source,)), "regions")[1] == regions


@pytest.mark.parametrize(
    ("name", "kind", "path"), [("parquet", "parquet", "*.parquet"), ("huggingface", "folder", "train")]
)
def test_tables_and_folders_as_a_source_give_the_same_regions(built, tmp_path, name, kind, path):
    build, regions = built
    build.export(name, out=tmp_path / "out")
    (rows,) = read_pool(PoolSource(kind=kind, path=str(tmp_path / "out" / path)))
    shown = shown_pictures(rows.append_column("uid", rows["url"]).append_column("image_id", rows["url"]), "regions")
    given = stated_regions(shown["statements"].to_pylist(), [(64, 48)] * 3, source="column:regions")
    assert entries(given) == regions
