"""`evenly describe --batch`, `evenly batches` and `evenly batches cancel` as people run them."""

import json

import pytest

from evenly.flows.cli import app
from tests.batch_server import Ending, serving
from tests.reported import report_errors


@pytest.fixture
def server():
    with serving() as server:
        server.endings = [Ending(polls=0)] * 9
        yield server


@pytest.fixture
def evenly(monkeypatch, capsys, tmp_path):
    """Run the command in this process: (exit status, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evenly", *arguments, "--root", str(tmp_path / "w")])
        status = report_errors(app)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def describe(evenly, server, tmp_path):
    def run(text: str, *more: str) -> tuple[int, str, str]:
        (tmp_path / "pets.txt").write_text(text)
        endpoint = ("--method", "description", "--base-url", server.url, "--model", "tiny")
        return evenly("describe", str(tmp_path / "pets.txt"), "--batch", *endpoint, *more)

    return run


def test_a_class_list_is_described_by_the_batch_and_an_added_class_is_a_batch_of_its_own(describe, evenly, server):
    prices = ("--prompt-usd-per-million", "1", "--completion-usd-per-million", "2", "--budget-usd", "0.01")
    status, out, err = describe("cat\ndog\n", "--json", *prices)
    facts = json.loads(out)
    assert status == 0, err
    assert (facts["requests_sent"], len(server.batches)) == (2, 1)
    assert facts["cost_usd"] == pytest.approx(2 * 50e-6)
    assert "batch batch_0: 2 requests submitted" in err
    describe("cat\ndog\nbird\n")
    assert len(server.requests_of("batch_1")) == 1
    assert set(server.ran.values()) == {1}
    rows = json.loads(evenly("batches", "--json")[1])["batches"]
    assert [(row["class_list"], row["batch"], row["status"], row["requests"], row["completed"]) for row in rows] == [
        ("pets", "batch_0", "collected", 2, 2),
        ("pets", "batch_1", "collected", 1, 1),
    ]
    assert "batch_1" in evenly("batches")[1]


def test_an_intent_that_is_not_there_is_one_clear_line(evenly):
    status, _, err = evenly("batches", "cancel", "0a1b")
    assert status == 1
    assert "`0a1b`" in err
    assert len(err.splitlines()) == 1


def test_the_embedded_model_has_no_batches(evenly, tmp_path):
    (tmp_path / "pets.txt").write_text("cat\n")
    status, _, err = evenly("describe", str(tmp_path / "pets.txt"), "--batch")
    assert status == 2
    assert "embedded" in err


def test_without_batches_the_list_says_how_to_get_some(evenly):
    assert "--batch" in evenly("batches")[1]
    assert json.loads(evenly("batches", "--json")[1]) == {"batches": []}
