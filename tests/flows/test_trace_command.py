"""`evenly trace` and the page of `evenly diff` as people call them: forms, statuses, files that are written."""

import json

import pytest

from evenly.flows.cli import app
from evenly.storage.journals import departures
from evenly.storage.workspace import Workspace
from tests.audit.conftest import STARTED, Little, publish
from tests.reported import report_errors


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A workspace with two builds of one recipe."""
    workspace = Workspace.at(tmp_path_factory.mktemp("two") / "w")
    return workspace, *(publish(workspace, little, STARTED)["build"] for little in (Little(), Little(min_words=4)))


@pytest.fixture
def evenly(two, monkeypatch, capsys):
    """Run a command on the workspace: exit status, what it printed, what it said."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["evenly", *map(str, words), "--root", str(two[0].root)])
        status = report_errors(app)
        return status, *capsys.readouterr()

    return run


def test_a_trace_is_text_a_diagram_or_json(evenly, two):
    build = two[1]
    status, text, _ = evenly("trace", build)
    assert status == 0
    assert text.startswith(f"build {build}: ")
    assert "\nmade of (" in text
    assert evenly("trace", build, "--format", "mermaid")[1].startswith("flowchart LR\n")
    facts = json.loads(evenly("trace", build, "--json")[1])
    assert facts == json.loads(evenly("trace", build, "--format", "json")[1])
    assert {node["side"] for node in facts["nodes"]} == {"thing", "above"}
    assert {name for edge in facts["edges"] for name in (edge["source"], edge["target"])} <= {
        node["id"] for node in facts["nodes"]
    }
    assert "made of" not in evenly("trace", build, "--down")[1]


def test_what_nobody_knows_is_a_finding_and_what_cannot_be_a_usage_error(evenly, two, tmp_path):
    status, _, said = evenly("trace", "no\x1bthing")
    assert status == 1
    assert r"no\x1bthing" in said
    status, _, said = evenly("trace", two[1], "--format", "dot")
    assert (status, "`--format` must be text, json or mermaid; got `dot`" in said) == (2, True)
    status, _, said = evenly("trace", f"{two[1]}:align", "--openlineage", tmp_path / "e.ndjson")
    assert (status, "`--openlineage` must be of a build" in said) == (2, True)
    assert not (tmp_path / "e.ndjson").exists()


def test_events_of_a_build_are_written_one_a_line(evenly, two, tmp_path):
    status, text, _ = evenly("trace", two[1], "--openlineage", tmp_path / "e.ndjson")
    assert status == 0
    assert text.rstrip().endswith(f"written  {tmp_path / 'e.ndjson'}")
    events = [json.loads(line) for line in (tmp_path / "e.ndjson").read_text().splitlines()]
    assert events[-1]["outputs"][0]["facets"]["evenly_build"]["build"] == two[1]


def test_the_page_of_a_difference_is_written_with_a_receipt_and_only_as_html(evenly, two, tmp_path):
    workspace, before, after = two
    status, text, _ = evenly("diff", before, after, "--html", tmp_path / "changes.html")
    assert status == 0
    assert text.rstrip().endswith(f"written  {tmp_path / 'changes.html'}")
    assert "caption_length.min_words 2 -&gt; 4" in (tmp_path / "changes.html").read_text()
    (receipt,) = departures(workspace)
    assert (receipt.kind, receipt.build, receipt.place) == ("diff", after, str(tmp_path / "changes.html"))
    status, _, said = evenly("diff", before, after, "--html", tmp_path / "changes.txt")
    assert (status, "`--html` must end with .html" in said) == (2, True)
