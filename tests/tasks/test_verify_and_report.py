"""What is verified and shown of a build: the newest evaluation of each list, and what earlier reports knew."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from evenly.audit.published import each_image
from evenly.audit.verify import new_seed, verify_one
from evenly.storage.builds import Builds, latest_made
from evenly.storage.errors import DamagedError
from evenly.storage.journals import departures
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.web import images, shards
from evenly.storage.web.images import reader
from evenly.tasks import verify_and_report
from evenly.tasks.verify_and_report import (
    report_of,
    verify_latest_builds,
)
from tests.tasks.whole_rebuild import publish

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def commit(ledger: Ledger, name: str, rule: dict, **tables):
    output = StepOutput(tables={key: pa.Table.from_pylist(rows) for key, rows in tables.items()})
    return ledger.commit(StepSpec(name=name, version=1, rule=rule, inputs={}), output, uids=None, started=NOW)


def result(name: str) -> dict:
    numbers = dict.fromkeys(("accuracy", "low", "high", "validation_accuracy"), 0.5)
    numbers |= dict.fromkeys(("difference", "difference_low", "difference_high"), 0.0)
    return {"name": name, "texts": "names", "n": 10, "chosen": "", "verdict": "", **numbers}


def test_the_newest_record_of_each_list_stands_for_it(workspace):
    ledger = Ledger(workspace)
    commit(ledger, "evaluate_adapters", {"build": "a-1", "list": "birds", "try": 1}, results=[result("old")])
    newest = commit(ledger, "evaluate_adapters", {"build": "a-1", "list": "birds", "try": 2}, results=[result("new")])
    other = commit(ledger, "evaluate_adapters", {"build": "a-1", "list": "ants"}, results=[result("ants")])
    commit(ledger, "evaluate_adapters", {"build": "a-2", "list": "birds"}, results=[result("another build")])
    commit(ledger, "corrupt_pictures", {"build": "a-1", "list": "zebras"}, curves=[{"x": 1}])
    assert [record.key for record in latest_made(ledger, "evaluate_adapters", build="a-1")] == [other.key, newest.key]
    assert latest_made(ledger, "evaluate_adapters", build="a-3") == []


def test_a_build_is_verified_with_its_pictures_and_damage_is_counted_per_recipe(copied, capsys):
    copy = copied()
    run = replace(copy.run, progress=replace(copy.run.progress, quiet=False))
    build = copy.manifest["build"]
    assert verify_latest_builds(run.workspace, run.progress) == {build: 0}
    assert f"{build}: 0 findings; pictures drawn with seed " in capsys.readouterr().err
    tar = next(run.workspace.downloads.glob("*.tar"))
    tar.write_bytes(bytes(len(tar.read_bytes())))
    findings = verify_one(run.workspace, copy.manifest, seed=1, every_image=True)
    assert {finding["check"] for finding in findings} == {"image"}
    assert len(findings) == copy.manifest["samples"]["kept"]
    assert json.loads(json.dumps(findings)) == findings
    assert verify_latest_builds(run.workspace, run.progress)[build] > 0


def test_pictures_are_looked_up_among_those_that_begin_alike(rebuilt, monkeypatch):
    """Where there are many shards, the places of all pictures are never in memory at once."""
    monkeypatch.setattr(shards, "_OF_PART", 0.125)
    workspace, sizes = rebuilt.run.workspace, []
    received_rows = images.received_rows

    def noted(*arguments):
        tables = received_rows(*arguments)
        sizes.append(sum(table.num_rows for table in tables))
        return tables

    monkeypatch.setattr(images, "received_rows", noted)
    ids = shards.read_downloads(workspace.downloads, ["image_id"])["image_id"].drop_null().to_pylist()
    with images.open_pictures(workspace.downloads, workspace.exchange) as read:
        for image_id in ids:
            (content,) = read([image_id])
            assert hashlib.sha256(content).hexdigest() == image_id
        assert len(list(read(ids))) == len(ids)
    assert 0 < max(sizes) < len(ids) <= sum(sizes)
    assert verify_one(workspace, rebuilt.manifest, seed=1, every_image=True) == []


def test_only_the_latest_build_of_each_recipe_is_verified(copied):
    copy = copied()
    other = publish(copy.run, copy.records, name="other")
    trial = publish(copy.run, copy.records, name="trial", limit=5)
    assert verify_latest_builds(copy.run.workspace, copy.run.progress) == {copy.manifest["build"]: 0, other["build"]: 0}
    assert trial["build"] in Builds(copy.run.workspace).names()


def test_a_workspace_without_builds_has_nothing_to_verify(rebuilt, tmp_path):
    empty = replace(rebuilt.run, workspace=type(rebuilt.run.workspace).at(tmp_path / "empty"))
    assert verify_latest_builds(empty.workspace, empty.progress) == {}


def test_each_verification_draws_its_own_pictures():
    seeds = {new_seed() for _ in range(20)}
    assert len(seeds) > 15
    assert all(0 <= seed < 1 << 32 for seed in seeds)


def test_pictures_are_read_by_id_in_order(rebuilt):
    ids = rebuilt.run.ledger.table(rebuilt.record("embed_images"), "features")["image_id"].to_pylist()
    read = reader(rebuilt.run.workspace.downloads)
    assert list(read(ids)) == list(read(ids[::-1]))[::-1]
    assert len({bytes(one) for one in read(ids)}) == len(ids)


def test_records_are_read_once_for_all_pictures_that_are_missing(rebuilt, monkeypatch):
    workspace, calls = rebuilt.run.workspace, []
    ids = rebuilt.run.ledger.table(rebuilt.record("embed_images"), "features")["image_id"].to_pylist()
    unknown = [f"{number:064x}" for number in range(20)]
    read_shards = shards.read_shards
    monkeypatch.setattr(shards, "read_shards", lambda *arguments: calls.append(1) or read_shards(*arguments))
    pictures = dict(each_image(reader(workspace.downloads), [*ids, *unknown]))
    assert len(calls) == 1
    assert [hashlib.sha256(pictures[image_id]).hexdigest() for image_id in ids] == ids
    assert {pictures[image_id].split("(")[1] for image_id in unknown} == {"1 are missing). Download them first."}


@pytest.mark.slow
def test_a_report_lies_beside_the_others_and_remembers_the_truth(copied):
    copy = copied()
    workspace, manifest = copy.run.workspace, copy.manifest
    truth = [{"fault": "dead_link", "injected": 4, "judged": 4, "found": 3, "recall": 0.75, "precision": 1.0}]
    path, _ = report_of(workspace, manifest, truth)
    assert path == workspace.reports / f"{manifest['build']}.html"
    first = path.read_text()
    assert "dead link" in first
    assert "&lt;script&gt;alert(1)&lt;/script&gt; fox \\x1b[31m\\u202e" in first
    path.unlink()
    assert report_of(workspace, manifest)[0].read_text() == first
    assert "dead link" not in report_of(workspace, publish(copy.run, copy.records, name="other"))[0].read_text()


def test_evaluations_descriptions_and_probes_of_the_build_are_in_its_report(copied):
    copy = copied()
    ledger, build = copy.run.ledger, copy.manifest["build"]
    row = {"class": "owl", "method": "description", "text": "an owl with large eyes", "request_id": "ab"}
    row |= {"verdict": "accepted", "reason": ""}
    described = commit(ledger, "describe", {"list": "birds", "model": "m"}, descriptions=[row])
    written = commit(ledger, "given", {"list": "birds", "model": ""}, descriptions=[row | {"text": "an owl by hand"}])
    rule = {"build": build, "list": "birds", "describe": described.key, "given": {"step": written.key}}
    commit(ledger, "evaluate_adapters", rule, results=[result("zero_shot"), result("gda")])
    commit(ledger, "evaluate_adapters", {"build": "other-1", "list": "fish"}, results=[result("fish_adapter")])
    figures = {"pairs": 9, "n": 9, "sigma": 1.3, "frequencies": 5}
    figures |= {f"{kind}{name}": 0.25 for kind in ("", "dealt_") for name in ("given_texts", "by_texts", "unexplained")}
    commit(ledger, "measure_diversity", {"build": build}, diversity=[figures])
    page = report_of(copy.run.workspace, copy.manifest)[0].read_text()
    for text in ("an owl with large eyes", "an owl by hand", "gda", "diversity given the captions"):
        assert text in page
    assert "fish adapter" not in page


def test_a_description_that_is_gone_leaves_the_rest_of_the_report(copied):
    copy = copied()
    rule = {"build": copy.manifest["build"], "list": "birds", "describe": "f" * 64}
    commit(copy.run.ledger, "evaluate_adapters", rule, results=[result("zero_shot")])
    assert "zero shot" in report_of(copy.run.workspace, copy.manifest)[0].read_text()


def test_a_truth_that_was_damaged_is_said(copied):
    copy = copied()
    path, _ = report_of(
        copy.run.workspace,
        copy.manifest,
        [{"fault": "x", "injected": 1, "judged": 1, "found": 1, "recall": 1.0, "precision": 1.0}],
    )
    kept = path.with_name(f"{copy.manifest['build']}-faults.json")
    kept.write_bytes(kept.read_bytes()[:20])
    with pytest.raises(DamagedError, match=r"faults\.json"):
        report_of(copy.run.workspace, copy.manifest)


def test_a_report_is_made_anew_only_where_what_it_shows_or_the_page_has_changed(copied, monkeypatch):
    copy = copied()
    workspace, manifest = copy.run.workspace, copy.manifest
    made = []
    render = verify_and_report.render_report
    monkeypatch.setattr(verify_and_report, "render_report", lambda *a, **k: made.append(1) or render(*a, **k))
    path, sources = report_of(workspace, manifest)
    page = path.read_bytes()
    assert report_of(workspace, manifest) == (path, sources)
    assert len(made) == 1
    path.write_bytes(page[:-9])
    assert report_of(workspace, manifest) == (path, sources)
    assert (len(made), path.read_bytes()) == (2, page)
    (receipt,) = departures(workspace)
    assert (receipt.kind, receipt.build, receipt.place) == ("report", manifest["build"], f"reports/{path.name}")
    assert receipt.content == hashlib.sha256(page).hexdigest()
    path.with_name(f"{manifest['build']}-inputs.json").write_bytes(b"{")
    assert report_of(workspace, manifest) == (path, sources)
    commit(copy.run.ledger, "evaluate_adapters", {"build": manifest["build"], "list": "b"}, results=[result("gda")])
    report_of(workspace, manifest)
    assert len(made) == 4
    report_of(workspace, manifest, anew=True)
    assert len(made) == 5
    assert "gda" in path.read_text()
    assert len(departures(workspace)) == 2
