import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evenly.audit.verify import CHECKS, verify_build
from evenly.storage.chat.requests import Requests
from evenly.storage.errors import DamagedError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import Ledger
from evenly.storage.pools.local_pictures import record_features
from evenly.storage.pools.local_rows import FEATURES
from evenly.storage.records import read_record, replace_record
from evenly.storage.samples import Samples
from evenly.storage.tables.arrow_files import read_table, write_table
from evenly.storage.tables.hashing import table_hash


def checks(findings) -> set[str]:
    assert {finding.check for finding in findings} <= set(CHECKS)
    return {finding.check for finding in findings}


def table_path(workspace, manifest, step: str, name: str):
    key = next(item["key"] for item in manifest["steps"] if item["name"] == step)
    hashes = json.loads((workspace.steps / f"{key}.json").read_text())["hashes"]
    return workspace.ledger / step / f"{name}-{hashes[name][:32]}.arrow"


def rewrite(workspace, manifest, step: str, name: str, change) -> None:
    ledger = Ledger(workspace)
    record = ledger.find(next(item["key"] for item in manifest["steps"] if item["name"] == step))
    write_table(table_path(workspace, manifest, step, name), change(ledger.table(record, name)))


def edit_record(workspace, manifest, step: str, **fields) -> None:
    key = next(item["key"] for item in manifest["steps"] if item["name"] == step)
    path = workspace.steps / f"{key}.json"
    replace_record(path, read_record(path) | fields)


def test_an_honest_build_has_no_findings(published, read_all):
    assert verify_build(*published, read_bytes=read_all, every_image=True) == []


@pytest.mark.parametrize("off", [("recaption",), ("preselect", "check_texts"), ("deduplicate_exact", "align")])
def test_steps_that_were_switched_off_are_no_finding(build, workspace, read_all, off):
    assert verify_build(workspace, build(off=off), read_bytes=read_all, every_image=True) == []


def flip_a_byte(path: Path) -> None:
    """Flip the lowest bit of one byte: the first, from the middle of the file on, that is no filling."""
    data, before = path.read_bytes(), table_hash(read_table(path))
    for at in range(len(data) // 2, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            table = read_table(path)
            table.validate(full=True)
            if table_hash(table) != before:
                return
        except (DamagedError, pa.ArrowInvalid):
            return


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("collect", "decisions"),
        ("check_texts", "decisions"),
        ("recaption", "candidates"),
        ("match_concepts", "concepts"),
    ],
)
def test_one_flipped_byte_in_a_stored_table_names_the_table(build, workspace, step, name):
    manifest = build()
    flip_a_byte(table_path(workspace, manifest, step, name))
    findings = verify_build(workspace, manifest)
    assert (findings[0].check, findings[0].where) == ("table", f"{step}/{name}")


def test_a_file_that_cannot_be_read_is_a_finding_not_a_crash(build, workspace):
    manifest = build()
    path = table_path(workspace, manifest, "align", "decisions")
    path.write_bytes(path.read_bytes()[:100])
    (finding,) = verify_build(workspace, manifest)
    assert (finding.check, finding.where, finding.unreadable) == ("table", "align/decisions", True)


def test_a_row_deleted_from_a_table_is_named_and_breaks_conservation(build, workspace):
    manifest = build()
    rewrite(workspace, manifest, "align", "decisions", lambda table: table.slice(1))
    findings = verify_build(workspace, manifest)
    assert {"table", "conservation"} <= checks(findings)
    assert any("1 lost, 0 invented" in finding.what and finding.where == "align" for finding in findings)


def test_a_verdict_changed_in_a_table_breaks_conservation_of_the_next_step(build, workspace):
    manifest = build()

    def drop_first(table: pa.Table) -> pa.Table:
        verdicts = ["dropped", *table["verdict"].to_pylist()[1:]]
        return table.set_column(table.column_names.index("verdict"), "verdict", pa.array(verdicts))

    rewrite(workspace, manifest, "check_texts", "decisions", drop_first)
    wheres = {finding.where for finding in verify_build(workspace, manifest) if finding.check == "conservation"}
    assert {"check_texts.counts", "check_texts.reasons", "match_concepts"} <= wheres


def verdict_findings(workspace, manifest) -> list[tuple[str, str]]:
    findings = [finding for finding in verify_build(workspace, manifest) if finding.check == "verdicts"]
    return [(finding.where, finding.what) for finding in findings]


@pytest.mark.parametrize(
    ("name", "column", "value"), [("draws", "p", [1.0]), ("counts", "before", 9), ("thresholds", "t", 9.0)]
)
def test_a_table_of_balancing_that_was_changed_differs_from_the_one_made_again(build, workspace, name, column, value):
    manifest = build()

    def change(table: pa.Table) -> pa.Table:
        at, kind = table.column_names.index(column), table.schema.field(column).type
        return table.set_column(at, column, pa.array([value] * table.num_rows, kind))

    rewrite(workspace, manifest, "balance", name, change)
    ((where, what),) = verdict_findings(workspace, manifest)
    assert where == f"balance/{name}"
    assert f"another {column} when judged again" in what or "when it is made again of all pairs" in what


def test_a_verdict_of_balancing_that_its_draws_do_not_bear_out_is_found(build, workspace):
    manifest = build()

    def change(table: pa.Table) -> pa.Table:
        table = table.set_column(1, "verdict", pa.array(["kept"] * table.num_rows))
        return table.set_column(2, "reason", pa.array([""] * table.num_rows))

    rewrite(workspace, manifest, "balance", "decisions", change)
    whats = [what for _, what in verdict_findings(workspace, manifest)]
    assert [what.partition(" pairs have another ")[2].partition(":")[0] for what in whats] == [
        "verdict when judged again",
        "reason when judged again",
    ]


@pytest.mark.parametrize(
    "balance",
    [
        {"law": "v2"},
        {"texts": "one_per_image"},
        {"language": "group", "reference": "g0"},
        {"law": "v2", "texts": "each"},
    ],
)
def test_each_way_to_balance_is_made_again(build, workspace, balance):
    assert verdict_findings(workspace, build(balance=balance)) == []


@pytest.mark.parametrize(
    ("edit", "check", "where"),
    [
        (lambda m: m["steps"][3]["counts"], "record", "count_concepts.counts"),
        (lambda m: m["steps"][1]["counts"], "record", "check_texts.counts"),
        (lambda m: m["steps"][1]["reasons"], "record", "check_texts.reasons"),
        (lambda m: m["samples"], "samples", "manifest samples.kept"),
        (lambda m: m["recipe"], "content", "manifest content_hash"),
    ],
    ids=["count of a step that judged none", "count", "reason", "kept", "recipe"],
)
def test_an_edited_number_of_the_manifest_is_named(published, edit, check, where):
    manifest = deepcopy(published[1])
    edit(manifest)["kept"] = 12345
    assert (check, where) in {(finding.check, finding.where) for finding in verify_build(published[0], manifest)}


def test_a_build_that_claims_another_name_is_found(published):
    manifest = published[1] | {"build": "little-000000000000"}
    (finding,) = verify_build(published[0], manifest)
    assert (finding.check, finding.where) == ("content", "manifest build")


def test_a_record_that_was_edited_no_longer_fits_its_key(build, workspace):
    manifest = build()
    edit_record(workspace, manifest, "align", rule={"keep_top": 0.1})
    assert {"record", "key", "content"} <= checks(verify_build(workspace, manifest))


def test_a_step_put_on_other_inputs_breaks_the_chain(build, workspace):
    manifest = build()
    step = next(item for item in manifest["steps"] if item["name"] == "align")
    edit_record(workspace, manifest, "align", inputs=step["inputs"] | {"recaption": "0" * 64})
    findings = verify_build(workspace, manifest)
    assert "align <- recaption" in {finding.where for finding in findings if finding.check == "chain"}


def test_a_step_that_is_gone_is_named(build, workspace):
    manifest = build()
    key = next(item["key"] for item in manifest["steps"] if item["name"] == "align")
    (workspace.steps / f"{key}.json").unlink()
    (finding,) = verify_build(workspace, manifest)
    assert (finding.check, finding.where) == ("record", "align")


def test_a_sample_table_that_says_something_else_names_the_column(build, workspace):
    manifest = build()
    samples = Samples(workspace, "little")
    table = samples.read(manifest["samples"]["version"])
    captions = pa.array(["changed", *table["caption"].to_pylist()[1:]])
    version = samples.write(table.set_column(table.column_names.index("caption"), "caption", captions))
    forged = manifest | {"samples": manifest["samples"] | {"version": version}}
    findings = verify_build(workspace, forged)
    assert f"little version {version}, column caption" in {finding.where for finding in findings}


def test_a_version_of_the_sample_table_that_is_gone_is_a_finding(build, workspace):
    manifest = build()
    forged = manifest | {"samples": manifest["samples"] | {"version": 99}}
    assert "samples" in checks(verify_build(workspace, forged))


def test_pictures_are_hashed_and_missing_ones_named(published, read_all):
    findings = verify_build(*published, read_bytes=lambda ids: [b"other"] * len(ids), images=2)
    assert [finding.check for finding in findings] == ["image", "image"]
    assert "bytes hash to" in findings[0].what

    def lose_one(ids):
        if lost in ids:
            raise OSError("gone")
        return read_all(ids)

    lost = findings[0].where
    (finding,) = verify_build(*published, read_bytes=lose_one, every_image=True)
    assert finding.where == lost
    assert "not readable" in finding.what


def test_each_verification_looks_at_other_pictures(published, read_all):
    asked: list[tuple[str, ...]] = []

    def read(ids):
        asked.append(tuple(ids))
        return read_all(ids)

    for seed in (1, 1, 2):
        assert verify_build(*published, read_bytes=read, images=3, seed=seed) == []
    assert asked[0] == asked[1] != asked[2]
    assert {len(ids) for ids in asked} == {3}


def flip(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    at = int(share * len(data))
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_flipped_features_replies_download_records_and_samples_are_findings(build, workspace):
    manifest = build()
    store = FeatureStore(workspace, "encoder-a", "images")
    store.append(["a", "b"], np.ones((2, 8), np.float16), np.ones(2, np.float32))
    Requests(workspace).put("ab12", {"reply": "a fox"})
    record_features([pa.array([FEATURES + "0" * 64])], folder=workspace.downloads)
    assert verify_build(workspace, manifest) == []
    damaged = {
        "features": next((store.path / "data").iterdir()),
        "replies": workspace.requests / "ab" / "ab12.json",
        "downloads": next(workspace.downloads.glob("*.parquet")),
        "samples": next((Samples(workspace, "little").path / "data").iterdir()),
    }
    for check, path in damaged.items():
        flip(path)
        found = verify_build(workspace, manifest)
        assert checks(found) == {check}
        assert path.name in found[0].where + found[0].what
        flip(path)
