"""What pictures reserve in a rebuild: the same in one partition and in eight, in a folder and in an object store."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from evenly.curation.reservations.mechanisms import FIRST, MECHANISMS
from evenly.curation.reservations.rule import PoolDownload
from evenly.storage.records import content_hash
from evenly.storage.web.rule import RIGHTS
from evenly.storage.workspace import Workspace
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.run import Run
from evenly.tasks.stage import run_steps
from tests.curation.reservations.marked import mining, with_store, with_xmp
from tests.storage.web.conftest import HOST, Answer, picture, serve
from tests.tasks.rebuild.test_asked_again import pool

PATHS = {
    "/plain": Answer(200, picture(1)),
    "/noml": Answer(200, picture(2), (("X-Robots-Tag", "noml"),)),
    "/usage": Answer(200, picture(3), (("Content-Usage", "train-ai=n"),)),
    "/iptc": Answer(200, with_xmp("PNG", mining("DMI-PROHIBITED"))),
    "/c2pa": Answer(200, with_store("JPEG")),
    "/gone": Answer(404, b""),
}
URLS = [f"http://{HOST}{path}" for path in PATHS]
STORED = {"/plain": "", "/noml": "noml", "/usage": "content-usage", "/iptc": "iptc", "/c2pa": "c2pa", "/gone": None}


def downloaded(run: Run, rule: PoolDownload) -> dict[str, dict[str, object]]:
    """The decisions of a download of these pairs by a rule, by path."""
    pairs, record = run_steps(run, [(pool(URLS), {"urls": content_hash(URLS)}), (DOWNLOAD, rule)], InProcess(run=run))
    columns = ["uid", "verdict", "reason", *(name for name in record.columns if name.startswith(("reserv", "picture")))]
    paths = {row["uid"]: row["url"].removeprefix(f"http://{HOST}") for row in run.ledger.decisions(pairs).to_pylist()}
    return {paths[row["uid"]]: row for row in run.ledger.decisions(record, columns).to_pylist()}


@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("place", ["folder", "store"])
def test_what_is_reserved_is_stored_and_honoured_by_the_rule_of_now(tmp_path, request, place, bits):
    root = tmp_path / "w" if place == "folder" else request.getfixturevalue("bucket") + "/w"
    with serve() as web:
        for path, answer in PATHS.items():
            web.put(path, answer)
        run = Run(workspace=Workspace.at(root), seed=1, processes=1, bits=bits, connect=web.connect)
        kept = downloaded(run, PoolDownload(retries=0, store_reservations=True))
        assert {path: row["reservation"] for path, row in kept.items()} == STORED
        assert {path for path, row in kept.items() if row["verdict"] == "kept"} == {*PATHS} - {"/gone"}
        asked = web.asked.total()
        honoured = downloaded(replace(run), PoolDownload(retries=0, respect=MECHANISMS))
        assert {path: row["reason"] for path, row in honoured.items()} == {
            "/plain": "", "/noml": "noml", "/usage": "content_usage", "/iptc": "iptc", "/c2pa": "c2pa",
            "/gone": "http_404",
        }  # fmt: skip
        assert "plus:DataMining" in honoured["/iptc"]["reservation_evidence"]
        without = downloaded(replace(run), PoolDownload(retries=0, respect=FIRST))
        assert {name for row in without.values() for name in row} == {"uid", "verdict", "reason"}
        assert web.asked.total() == asked


@pytest.mark.parametrize("bits", [0, 3])
def test_files_that_an_earlier_version_fetched_are_looked_at(tmp_path, bits):
    with serve() as web:
        for path, answer in PATHS.items():
            web.put(path, answer)
        run = Run(workspace=Workspace.at(tmp_path), seed=1, processes=1, bits=bits, connect=web.connect)
        downloaded(run, PoolDownload(retries=0))
        for path in (path for path in run.workspace.downloads.glob("*.parquet") if "measured" not in path.name):
            pq.write_table(pq.read_table(path).drop_columns([*RIGHTS]).replace_schema_metadata(None), path)
        rows = downloaded(replace(run), PoolDownload(retries=0, respect=MECHANISMS))
        assert {path: (row["reason"], row["reservation"]) for path, row in rows.items()} == {
            "/plain": ("", "not read"), "/noml": ("", "not read"), "/usage": ("", "not read"),
            "/iptc": ("iptc", "iptc, not read"), "/c2pa": ("c2pa", "c2pa, not read"), "/gone": ("http_404", None),
        }  # fmt: skip
