"""The plan of a rebuild over captions: what would run, and what it would take."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from evenly.flows.cli.datasets import planning
from evenly.flows.cli.datasets.asked_again import retry_lines
from evenly.flows.cli.datasets.planning import plan_recipe
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import steps_of
from evenly.flows.runs import run_in
from evenly.storage.errors import InputError
from evenly.tasks.engine import InProcess
from evenly.tasks.stage import run_steps
from tests.storage.web.recorded import record_shards

TEXT_STEPS = ["collect", "check_texts", "match_concepts", "count_concepts", "balance", "publish"]


@pytest.fixture
def recipe(tmp_path):
    """A recipe of captions alone over 300 lines of CSV, a third of them too short, and a list of two concepts."""
    lines = [
        f"http://a.test/{row},a dog and a cat of number {row}" if row % 3 else f"http://a.test/{row},dog"
        for row in range(300)
    ]
    (tmp_path / "pool.csv").write_text("url,text\n" + "\n".join(lines) + "\n")
    (tmp_path / "list.txt").write_text("dog\ncat\n")
    content = {
        "name": "captions",
        "seed": 5,
        "sources": [{"kind": "csv", "path": str(tmp_path / "pool.csv"), "url": "url", "caption": "text"}],
        "curate": {
            "text": {"caption_length": {"min_words": 2}},
            "match": {"metadata": str(tmp_path / "list.txt")},
            "balance": {"t": 20},
        },
    }
    path = tmp_path / "captions.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def collected(recipe, root, *, bits=0, n_steps=5):
    """The records of the first steps of a rebuild, by this process."""
    chosen = read_recipe(recipe)
    run = replace(run_in(chosen, root=root, quiet=True), bits=bits)
    return run_steps(run, steps_of(chosen)[:n_steps], InProcess(run=run))


def test_an_empty_workspace_is_planned_by_typical_figures_and_estimated_rows(recipe, tmp_path):
    plan = plan_recipe(recipe, root=tmp_path / "w", workers=2, memory="4GB")
    rows = {row["step"]: row for row in plan["steps"]}
    assert list(rows) == TEXT_STEPS
    assert [row["action"] for row in plan["steps"]] == [*["compute"] * 5, "unknown"]
    assert {row["basis"] for row in plan["steps"]} == {"typical"}
    assert {row["rows_are"] for row in plan["steps"]} == {"estimated"}
    assert 250 < rows["collect"]["rows"] < 350
    assert rows["balance"]["rows"] < rows["check_texts"]["rows"] <= rows["collect"]["rows"]
    total = plan["run"]
    assert (total["partitions"], total["workers"], total["allowed_bytes"]) == (1, 1, 4 * 10**9)
    assert total["bytes"] == sum(row["bytes"] for row in plan["steps"]) > 0
    assert total["unknown"] == []


@pytest.mark.parametrize("bits", [0, 2])
def test_what_ran_is_counted_and_the_rest_estimated_from_it(recipe, tmp_path, bits, monkeypatch):
    monkeypatch.setattr(planning, "_SAMPLE", 64)
    root = tmp_path / "w"
    records = {record.name: record for record in collected(recipe, root, bits=bits)}
    assert all(record.seconds is not None and record.seconds >= 0 for record in records.values())
    finished = plan_recipe(recipe, root=root)
    assert {row["action"] for row in finished["steps"]} == {"reuse"}
    assert (finished["run"]["estimated_s"], finished["run"]["bytes"], finished["run"]["memory_bytes"]) == (0, 0, None)
    recipe.write_text(recipe.read_text().replace("min_words: 2", "min_words: 3"))
    rows = {row["step"]: row for row in plan_recipe(recipe, root=root)["steps"]}
    assert (rows["collect"]["action"], rows["check_texts"]["action"]) == ("reuse", "compute")
    assert (rows["check_texts"]["rows"], rows["check_texts"]["rows_are"]) == (300, "counted")
    assert rows["check_texts"]["basis"] == rows["match_concepts"]["basis"] == "from the last run"
    ledger = run_in(read_recipe(recipe), root=root, quiet=True).ledger
    size = sum(path.stat().st_size for path in ledger.files(records["check_texts"]))
    assert rows["check_texts"]["bytes"] == size
    assert (rows["match_concepts"]["rows"], rows["match_concepts"]["rows_are"]) == (200, "estimated")
    assert rows["match_concepts"]["why"] == (
        "depends on what `check_texts` gives; reused if that is what it gave last: 200 kept"
    )
    assert rows["balance"]["why"].startswith("depends on what `check_texts` gives; reused if that is what it gave last")


def test_a_plan_shows_partitions_and_workers_and_refuses_too_little_memory(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("evenly.tasks.partitioning.MOST_ROWS", 100)
    monkeypatch.setattr("evenly.tasks.partitioning.LEAST_ROWS", 100)
    total = plan_recipe(recipe, root=tmp_path / "w", workers=3, memory="2.4GB")["run"]
    assert (total["partitions"], total["workers"]) == (4, 3)
    assert total["memory_bytes"] <= total["allowed_bytes"]
    recipe.write_text(recipe.read_text() + "memory: 1.9GB\n")
    assert plan_recipe(recipe, root=tmp_path / "w", workers=3)["run"]["workers"] == 2
    with pytest.raises(InputError, match=r"^`memory` must be at least 1.16GB"):
        plan_recipe(recipe, root=tmp_path / "w", memory="1GB")


def test_the_command_says_what_is_estimated_and_by_which_figures(recipe, tmp_path, capsys, monkeypatch):
    from evenly.flows.cli.datasets.builds import COMMANDS

    monkeypatch.setenv("COLUMNS", "200")
    COMMANDS["plan"](recipe=recipe, root=tmp_path / "w", workers=1)
    shown = capsys.readouterr().out
    assert "rows (estimated) in 1 partition, worked on in this process" in shown
    assert "on disk: typical figures" in shown
    COMMANDS["plan"](recipe=recipe, root=tmp_path / "w", as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert [row["step"] for row in facts["steps"]] == TEXT_STEPS
    assert facts["run"]["basis"] == ["typical"]


@pytest.mark.parametrize("bits", [0, 2])
def test_urls_to_fetch_are_those_without_a_record(recipe, tmp_path, bits, monkeypatch):
    content = yaml.safe_load(recipe.read_text())
    content["curate"] |= {"download": {}}
    recipe.write_text(yaml.safe_dump(content))
    if bits:
        monkeypatch.setattr("evenly.tasks.partitioning.MOST_ROWS", 100)
        monkeypatch.setattr("evenly.tasks.partitioning.LEAST_ROWS", 100)
    root = tmp_path / "w"
    names = [step.name for step, _ in steps_of(read_recipe(recipe))]
    collected(recipe, root, bits=bits, n_steps=names.index("download"))
    rows = [[{"url": f"http://a.test/{number}"} for number in range(start, start + 20)] for start in (0, 20, 300)]
    record_shards(root / "downloads", rows)
    alive = {number for number in range(300) if number % 3}  # those of too few words are gone
    plan = {row["step"]: row for row in plan_recipe(recipe, root=root)["steps"]}
    assert plan["download"]["action"] == "compute"
    assert plan["download"]["to_fetch"] == len(alive - {*range(40)})
    assert not (root / "exchange").exists()


@pytest.mark.parametrize("bits", [0, 3])
def test_plan_and_check_say_what_is_asked_again_now_and_when_more_is_due(recipe, tmp_path, bits, evenly, monkeypatch):
    for name in ("MOST_ROWS", "LEAST_ROWS"):
        monkeypatch.setattr(f"evenly.tasks.partitioning.{name}", 400 >> bits)
    content = yaml.safe_load(recipe.read_text())
    content["curate"] |= {"download": {}}
    recipe.write_text(yaml.safe_dump(content | {"schedule": {"cron": "0 3 * * 1"}}))
    root, now = tmp_path / "w", datetime.now(UTC)
    outcomes = {1: ("dns", 8), 2: ("timeout", 9), 4: ("http_503", 10), 5: ("dns", 2), 7: ("http_404", 9), 3: ("dns", 9)}
    rows = [
        {"url": f"http://a.test/{number}", "outcome": "success", "verdict": "kept", "fetched_at": now}
        | ({} if number not in outcomes else {"outcome": outcomes[number][0], "verdict": "failed"})
        | ({} if number not in outcomes else {"fetched_at": now - timedelta(days=outcomes[number][1])})
        for number in range(300)
    ]
    record_shards(root / "downloads", [rows])
    names = [step.name for step, _ in steps_of(read_recipe(recipe))]
    collected(recipe, root, bits=bits, n_steps=names.index("download") + 1)
    plan = plan_recipe(recipe, root=root)
    assert plan["run"]["partitions"] == 1 << bits
    action = {row["step"]: (row["action"], row["why"]) for row in plan["steps"]}
    assert action["download"] == ("compute", "failed downloads are asked again")
    retries = plan["asked_again"]
    assert (retries["now"], retries["later"]) == ({"dns": 1, "timeout": 1, "http_503": 1}, 1)  # 3 has too few words
    due = datetime.fromisoformat(retries["next"])
    assert abs(due - (now + timedelta(days=5))) < timedelta(minutes=2)
    shown = retry_lines(retries)
    assert shown[0].startswith("failed downloads that are asked again: 3 now (dns 1, timeout 1, http_503 1), 1 later")

    status, out, _ = evenly("check", recipe, "--root", root)
    assert (status, "asked again: 4 now (dns 2, timeout 1, http_503 1), 1 later, the first on" in out) == (0, True)
    recipe.write_text(yaml.safe_dump(content | {"schedule": {"cron": "0 3 * * 1", "retry": {"after": "30d"}}}))
    plan = plan_recipe(recipe, root=root)
    assert {row["step"]: row["action"] for row in plan["steps"]}["download"] == "reuse"
    assert (plan["asked_again"]["now"], plan["asked_again"]["later"]) == ({}, 4)
    for schedule in (None, {"cron": "0 3 * * 1", "retry": None}):
        recipe.write_text(yaml.safe_dump(content | {"schedule": schedule}))
        assert plan_recipe(recipe, root=root)["asked_again"] is None
