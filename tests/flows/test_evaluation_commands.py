"""`evenly evaluate` and `evenly probe` on a small build: tables that fit, slices that add up, probes that say why."""

import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml

from evenly.demo.pictures.binding import compositions
from evenly.storage.builds import latest_made, open_build
from evenly.storage.ledger import Ledger
from evenly.tasks.adapters.corrupted_pictures import CorruptionRule

pytestmark = pytest.mark.embedded

CLASSES = ["person", "flag", "mammal", "polygon", "electronic device"]
LISTING = {
    "list": "some.txt",
    "adapters": ["gda"],
    "negations": ["a photo with no {}"],
    "unseen": {"near": ["motor vehicle"], "far": ["heart", "clock", "book", "dish", "plant"]},
}


@pytest.fixture(scope="module")
def evaluated(small_web, undisturbed, tmp_path_factory):
    """A copy of the workspace, and a recipe that asks for adapters on its build."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(undisturbed[0], folder / "workspace")
    (folder / "some.txt").write_text("\n".join(CLASSES) + "\n")
    recipe = yaml.safe_load(small_web.recipe.read_text())
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe | {"classes": [LISTING]}))
    return folder


@pytest.fixture
def evenly(evaluated, monkeypatch, capsys):
    """Run a command on the copy in this process: (exit status, stdout, stderr)."""
    from evenly.flows.cli import app
    from tests.reported import report_errors

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        root = str(evaluated / "workspace")
        monkeypatch.setattr("sys.argv", ["evenly", command, str(evaluated / "small.yaml"), "--root", root, *arguments])
        status = report_errors(app)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def facts(evenly):
    """What `evenly evaluate` says of the class list, as JSON."""

    def ask(*slices: str) -> dict:
        status, out, err = evenly("evaluate", "--json", *(f"--slice={column}" for column in slices))
        assert status == 0, err
        return json.loads(out)["lists"][0]

    return ask


def test_json_has_every_table_of_the_evaluation(facts, evaluated):
    found = facts()
    assert [(row["name"], row["texts"]) for row in found["results"]] == [("zero_shot", "names"), ("gda", "names")]
    workspace, manifest = open_build("latest", root=evaluated / "workspace")
    record = latest_made(Ledger(workspace), "evaluate_adapters", build=manifest["build"])[0]
    for name in ("results", "head_tail", "frequencies", "ood", "pairs", "reliability", "per_class"):
        assert len(found[name]) == Ledger(workspace).table(record, name).num_rows
    best = max(found["results"], key=lambda row: row["validation_accuracy"])
    assert found["chosen_on_validation"] == {"name": best["name"], "texts": best["texts"]}


def test_bins_of_confidence_hold_every_picture_and_give_the_calibration_error(facts):
    found = facts()
    errors = {"as fitted": "calibration_error", "at temperature": "calibrated_error"}
    for row in found["results"]:
        for state, measure in errors.items():
            bins = [one for one in found["reliability"] if (one["name"], one["state"]) == (row["name"], state)]
            filled = [one for one in bins if one["n"]]
            assert len(bins) == 15
            assert sum(one["n"] for one in bins) == row["n"]
            error = sum(one["n"] * abs(one["accuracy"] - one["confidence"]) for one in filled) / row["n"]
            assert error == pytest.approx(row[measure])


def test_tables_fit_a_terminal_of_80_columns(evenly, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = evenly("evaluate", "--slice", "source", "--slice", "caption_score")
    tables = [line for line in out.splitlines() if line.startswith(("│", "┃"))]
    assert status == 0
    assert max(len(line) for line in tables) <= 80
    assert not [line for line in tables if line.startswith(("│  ", "┃  "))]  # no cell goes on in a second line
    for words in ("against zero-shot", "ECE", "gap", "AUROC", "FPR95", "plain-CLIP", "Holm", "worst for zero_shot"):
        assert words in out


def test_skipped_scores_say_what_they_need(evenly):
    out = evenly("evaluate")[1]
    assert "skipped: near_miss needs rejection_prototypes: write `rejections: [NAME, NAME]`, of" in out


def test_slices_of_every_column_add_up_to_the_accuracy(facts):
    found = facts("source", "caption_score", "label")
    results = pd.DataFrame(found["results"]).set_index("name")
    slices = pd.DataFrame(found["slices"])
    assert set(slices["column"]) == {"source", "caption_score", "label"}
    for (name, _), rows in slices.groupby(["name", "column"]):
        assert rows["n"].sum() == results.loc[name, "n"]
        assert rows["correct"].sum() / rows["n"].sum() == pytest.approx(results.loc[name, "accuracy"])
    per_class = pd.DataFrame(found["per_class"]).set_index(["name", "class"])
    labels = slices[slices["column"] == "label"].set_index(["name", "value"])
    assert (labels["correct"] == per_class.loc[labels.index, "correct"]).all()


def test_crossed_columns_have_a_slice_per_pair_of_values(facts):
    found = facts("label,source", "label")
    slices = pd.DataFrame(found["slices"])
    mine = slices[slices["name"] == "gda"]
    pairs = mine[mine["column"] == "label,source"]
    assert pairs["n"].sum() == pairs["n"].where(pairs["state"] == "", 0).sum() == found["results"][0]["n"]
    labels = mine[mine["column"] == "label"].set_index("value")["n"]
    parts = pairs.groupby(pairs["value"].str.rpartition(" x ")[0])["n"].sum()
    assert parts.to_dict() == labels.to_dict()


def test_numbers_of_many_values_come_in_quarters_and_others_by_size(facts):
    found = facts("caption_score", "width")
    assert found["binned"] == ["caption_score"]
    mine = [row for row in found["slices"] if row["name"] == "gda"]
    assert [row["value"][:3] for row in mine if row["column"] == "caption_score"] == ["Q1:", "Q2:", "Q3:", "Q4:"]
    widths = [float(row["value"]) for row in mine if row["column"] == "width"]
    assert widths == sorted(widths)


def test_a_slice_without_test_pictures_is_empty_and_never_the_worst(facts, evenly):
    found = facts("url")
    empty = [row for row in found["slices"] if row["state"] == "empty"]
    assert empty
    assert {(row["n"], row["accuracy"]) for row in empty} == {(0, None)}
    assert all(row["n"] > 0 for row in found["worst_slices"])
    assert f"{len(empty) // 2} empty, without a test picture" in evenly("evaluate", "--slice", "url")[1]


@pytest.mark.parametrize("option", [("--slice", "source"), ("--reject",)])
def test_what_is_of_adapters_is_refused_beside_retrieval(evenly, option):
    status, out, err = evenly("evaluate", "--retrieval", *option)
    assert (status, out) == (2, "")
    assert "must stand without `--slice` and `--reject`" in err


def test_an_unknown_slice_lists_the_columns_there_are(evenly):
    status, _, err = evenly("evaluate", "--slice", "colour")
    assert status == 2
    assert "got `colour`" in err
    assert "source" in err
    assert "balance_verdict" not in err


def test_an_adapter_of_texts_on_a_list_without_any_says_how_to_get_them(evaluated, evenly):
    file = evaluated / "small.yaml"
    recipe = yaml.safe_load(file.read_text())
    wordy = recipe | {"classes": [{"list": "some.txt", "methods": ["description"], "adapters": ["vcd"]}]}
    file.write_text(yaml.safe_dump(wordy))
    status, _, err = evenly("evaluate")
    file.write_text(yaml.safe_dump(recipe))
    assert status == 2
    assert "list `some`" in err
    assert "got vcd, which needs class_texts" in err
    assert "`evenly rebuild`, which describes it" in err


@pytest.fixture
def small_probes(monkeypatch):
    few = partial(CorruptionRule, corruptions=("gaussian_noise", "contrast"), strengths=(1, 5))
    monkeypatch.setattr("evenly.flows.probe_adapters.CorruptionRule", few)
    monkeypatch.setattr("evenly.tasks.adapters.probes.compositions", lambda: compositions()[::12])


@pytest.mark.slow
@pytest.mark.usefixtures("small_probes")
def test_probes_write_tables_and_curves(evenly, tmp_path):
    status, out, err = evenly("probe", "--json", "--out", str(tmp_path / "probes"))
    assert status == 0, err
    found = json.loads(out)
    corrupted = found["corruptions"][0]
    assert corrupted["skipped"] == []
    cells = {(row["corruption"], row["strength"]) for row in corrupted["curves"]}
    assert cells == {("clean", 0), *((name, n) for name in ("gaussian_noise", "contrast") for n in (1, 5))}
    assert {row["family"] for row in corrupted["curves"]} == {"", "noise", "weather"}
    assert {row["part"] for row in found["binding"]} >= {"strong", "weak"}
    written = {path.name for path in (tmp_path / "probes").iterdir()}
    assert written >= {"curves-some.csv", "models-some.csv", "diversity.csv", "binding.csv"}
    assert written >= {f"corruptions-{row['name']}-{row['texts']}-some.svg" for row in corrupted["shown"]}


@pytest.mark.slow
@pytest.mark.usefixtures("small_probes")
def test_two_models_make_no_line_and_the_probe_says_so(evenly, tmp_path):
    out = evenly("probe", "--no-diversity", "--no-binding", "--out", str(tmp_path))[1]
    assert "no line: models of different accuracy must be at least 3; there are 2" in out


def test_own_captions_leave_less_of_the_diversity_open_than_those_of_others(evenly, tmp_path):
    out = evenly("probe", "--no-corruptions", "--no-binding", "--json", "--out", str(tmp_path))[1]
    row = json.loads(out)["diversity"][0]
    assert row["n"] == row["pairs"]
    assert row["given_texts"] >= 1
    assert 0 < row["unexplained"] < row["dealt_unexplained"] < 1
    assert np.isfinite([row["by_texts"], row["dealt_by_texts"]]).all()


def test_too_few_groups_of_no_class_to_choose_a_threshold_are_said(evenly, facts):
    assert facts()["open_set"] == []
    assert "no open-set accuracy for some: it needs validation pictures" in " ".join(
        evenly("evaluate", "--reject")[1].split()
    )
