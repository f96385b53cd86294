"""What the commands say of a build that the whole pipeline made, on a small web with every fault."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.flows.cli.start.demo_job import examples_of, faults_found
from evenly.storage.builds import open_build
from evenly.storage.journals import departures
from evenly.storage.pools.columns import STEP_COLUMNS
from evenly.storage.workspace import Workspace
from evenly.tasks.verify_and_report import report_of

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def examples(undisturbed) -> dict[str, str]:
    workspace, manifest = open_build("latest", root=undisturbed[0])
    return examples_of(workspace, manifest)


@pytest.fixture
def evenly(undisturbed, monkeypatch, capsys):
    """Run a command on the workspace in this process: (exit status, facts)."""
    from evenly.flows.cli import app
    from tests.reported import report_errors

    def run(*arguments: str) -> tuple[int, dict]:
        monkeypatch.setattr("sys.argv", ["evenly", *arguments, "--root", str(undisturbed[0]), "--json"])
        status = report_errors(app)
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else {"error": err}

    return run


def test_faults_of_the_web_are_found_with_the_right_reason(small_web, undisturbed):
    workspace, manifest = open_build("latest", root=undisturbed[0])
    truth = pq.read_table(small_web.folder / "web" / "truth.parquet")
    found = {row["fault"]: row for row in faults_found(workspace, manifest, truth)}
    for fault in ("dead_link", "broken_file", "opted_out", "exact_duplicate"):
        assert found[fault]["judged"] > 0
        assert (found[fault]["recall"], found[fault]["precision"]) == (1.0, 1.0), fault


def test_a_later_report_still_tells_how_the_faults_were_found(small_web, undisturbed, tmp_path):
    shutil.copytree(undisturbed[0], tmp_path / "workspace")
    workspace, manifest = open_build("latest", root=tmp_path / "workspace")
    truth = faults_found(workspace, manifest, pq.read_table(small_web.folder / "web" / "truth.parquet"))
    first = report_of(workspace, manifest, truth)[0].read_text(encoding="utf-8")
    assert "Injected faults" in first
    assert report_of(workspace, manifest)[0].read_text(encoding="utf-8") == first


def test_no_step_finds_something_under_a_name_that_a_column_of_a_pool_may_have(undisturbed):
    records = [json.loads(path.read_text()) for path in (undisturbed[0] / "steps").iterdir()]
    columns = {name for record in records if record["name"] != "collect" for name in record["columns"]}
    values = {f"{name}_value" for name in (*TEXT_FILTERS, *IMAGE_FILTERS)}
    assert columns - values - {"width", "height"} <= set(STEP_COLUMNS)


def test_a_build_verifies(evenly):
    build = evenly("builds")[1]["builds"][0]["build"]
    assert evenly("verify", "latest", "--seed", "7") == (0, {"build": build, "ok": True, "seed": 7, "findings": []})


def test_captions_of_merged_pairs_are_listed_exported_and_told_with_the_pair_they_came_from(evenly, tmp_path):
    evenly("export", "latest", "--to", "parquet", "--out", str(tmp_path / "out"))
    rows = pq.read_table(
        tmp_path / "out" / "samples.parquet", columns=["uid", "caption", "merged_captions"]
    ).to_pylist()
    held = [row for row in rows if row["merged_captions"]]
    assert held
    for row in held[:3]:
        (pair,) = evenly("why", row["uid"])[1]["pairs"]
        told = {item["caption"] for step in pair["steps"] for item in step["rows"].get("captions", ())}
        assert told - {row["caption"]} == set(row["merged_captions"])


@pytest.mark.parametrize(
    ("kind", "verdict"), [("kept", "kept"), ("dropped", "dropped"), ("merged", "merged"), ("recaptioned", None)]
)
def test_why_tells_the_fate_of_each_kind_of_sample(evenly, examples, kind, verdict):
    status, facts = evenly("why", examples[kind], "--replay")
    text = json.dumps(facts)
    assert status == 0
    assert examples[kind] in text
    assert verdict is None or f'"{verdict}"' in text
    assert "differs" not in text.lower()


def test_the_card_of_a_build_adds_up_with_its_funnel(evenly, undisturbed):
    status, card = evenly("card", "latest")
    assert status == 0
    _, manifest = open_build("latest", root=undisturbed[0])
    kept = {step["name"]: step["counts"].get("kept") for step in manifest["steps"]}
    for one in card["balancings"]:
        assert one["kept"] == kept[one["step"]]
        assert sum(row["pairs"] for row in one["agreement"]) == one["pairs"]
        assert sum(row["after"] for row in one["entries"]) == one["matches_after"]
        assert abs(one["kept"] - one["expected"]) < 4 * one["spread"] + 1e-6
    assert card["rule"] == {"t": 5.0, "law": "v1", "texts": "each"}
    matched = {row["entry"] for row in card["balancings"][0]["entries"]}
    assert len(matched) + len(card["unmatched"]) == card["concepts"]


def test_why_of_an_unknown_sample_says_so(evenly):
    status, facts = evenly("why", "f" * 32)
    assert status == 1
    assert "f" * 32 in facts["error"]


def test_a_build_does_not_differ_from_itself(evenly):
    status, facts = evenly("diff", "latest", "latest")
    assert status == 0
    assert not any(facts[name] for name in ("entered", "left", "changed"))


@pytest.mark.parametrize("to", ["webdataset", "parquet", "datacomp", "huggingface", "croissant"])
def test_a_build_is_exported(evenly, undisturbed, tmp_path, to):
    kept = open_build("latest", root=undisturbed[0])[1]["samples"]["kept"]
    status, facts = evenly("export", "latest", "--to", to, "--out", str(tmp_path / to))
    assert status == 0
    assert kept in facts["counts"].values()
    assert (tmp_path / to / "export.json").exists()
    receipts = departures(Workspace.at(undisturbed[0]))
    (receipt,) = [receipt for receipt in receipts if receipt.place == str(tmp_path / to)]
    assert (receipt.kind, receipt.build, receipt.content) == (to, facts["build"], facts["content_hash"])


def test_the_report_is_one_page_that_asks_for_nothing(evenly):
    status, facts = evenly("report", "latest")
    page = Path(facts["report"]).read_text(encoding="utf-8")
    assert status == 0
    assert "<script" not in page
    assert "Content-Security-Policy" in page
    assert 'src="http' not in page


def test_plan_reuses_every_step_of_a_finished_build(evenly, small_web):
    status, facts = evenly("plan", str(small_web.recipe))
    assert status == 0
    assert {row["action"] for row in facts["steps"]} == {"reuse"}


@pytest.mark.slow
def test_plan_says_what_another_engine_makes_anew(evenly, small_web, tmp_path):
    rows = {}
    for engine in ("torch", "onnxruntime"):
        changed = tmp_path / f"{engine}.yaml"
        changed.write_text(f"{small_web.recipe.read_text()}\nfeatures: {{engine: {engine}}}\n")
        rows[engine] = {row["step"]: row for row in evenly("plan", str(changed))[1]["steps"]}
    assert {row["action"] for row in rows["torch"].values()} == {"reuse"}
    steps = list(rows["onnxruntime"].values())
    first = list(rows["onnxruntime"]).index("embed_images")
    assert {row["action"] for row in steps[:first]} == {"reuse"}
    assert (steps[first]["action"], steps[first]["why"]) == ("compute", "changed since the last run: model")
    assert "reuse" not in {row["action"] for row in steps[first:]}


def test_plan_says_what_changed(evenly, small_web, tmp_path):
    changed = tmp_path / "changed.yaml"
    changed.write_text(small_web.recipe.read_text().replace("t: 5", "t: 4"))
    rows = {row["step"]: row for row in evenly("plan", str(changed))[1]["steps"]}
    assert rows["count_concepts"]["action"] == "reuse"
    assert rows["preselect"]["action"] == "compute"
    assert "rule" in rows["preselect"]["why"]
    assert rows["balance"]["action"] == "unknown"
    assert rows["preselect"]["basis"] == rows["balance"]["basis"] == "from the last run"
    assert rows["balance"]["rows"] <= rows["preselect"]["rows"]
