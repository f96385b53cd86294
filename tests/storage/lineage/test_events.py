"""OpenLineage events: the official client takes them, facets are as their schemas say, no consumer disturbs a run."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.resources import files
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from evenly.storage.lineage.emitter import FILE_VARIABLE, official_event, rebuild_events, stage_events
from evenly.storage.lineage.events import LineageRun, events_of_build
from evenly.storage.step_records import StepRecord

client = pytest.importorskip("openlineage.client", reason="the extra `lineage`")
RUN = UUID(int=7)
RECORD = StepRecord(
    key="a" * 64, name="align", version=2, rule={"keep_top": 0.9}, inputs={"collect": "c" * 64, "questions": "q" * 64},
    model="m" * 64, seed=None, output_hash="b" * 64, hashes={}, columns=(), rows_in=9, counts={"kept": 7, "dropped": 2},
    reasons={"low_score": 2}, notes={}, code={"version": "0.1.0", "git_sha": None, "dirty": None},
    started="2026-11-24T03:00:00+00:00", ended="2026-11-24T03:00:01+00:00", flow_run_id=None, work={}, layout={},
    seconds=1.0,
)  # fmt: skip
COLLECT = replace(
    RECORD, key="d" * 64, name="collect", inputs={"source 0": "s" * 64}, model=None, output_hash="c" * 64, seed=5
)
MANIFEST = {
    "build": "birds-1", "recipe_name": "birds", "content_hash": "0" * 64, "seed": 5,
    "created": "2026-11-24T03:00:02+00:00",
    "samples": {"rows": 9, "kept": 7}, "encoder": {"identity": "m" * 64}, "code": {"version": "0.1.0"},
    "steps": [asdict(COLLECT), asdict(RECORD)],
}  # fmt: skip


def filled(value):
    """A JSON value without empty objects, which the client adds."""
    if isinstance(value, dict):
        return {name: filled(entry) for name, entry in value.items() if entry != {}}
    return [filled(entry) for entry in value] if isinstance(value, list) else value


def check(event):
    """The official client takes the event, and knows each facet by the schema that it names, or evenly does."""
    from openlineage.client import facet_v2
    from openlineage.client.serde import Serde

    assert filled(Serde.to_dict(official_event(event))) == filled(event)
    facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
    for dataset in (*event["inputs"], *event["outputs"]):
        facets += [*dataset.get("facets", {}).values(), *dataset.get("outputFacets", {}).values()]
    modules = [module for name, module in vars(facet_v2).items() if not name.startswith("_")]
    for facet in facets:
        name = facet["_schemaURL"].rpartition("/")[2]
        if facet["_schemaURL"].startswith("urn:"):
            schema = json.loads(files("evenly.storage.lineage").joinpath("facets.json").read_text("utf-8"))
            chosen = {"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}
            Draft202012Validator(chosen, format_checker=FormatChecker()).validate(facet)
            continue
        kind = next(getattr(module, name) for module in modules if hasattr(module, name))
        fields = {field: value for field, value in facet.items() if not field.startswith("_")}
        assert kind(**fields)._get_schema() == facet["_schemaURL"]


def test_events_of_a_stored_build_are_those_of_a_run_that_made_all_of_it(workspace):
    events = list(events_of_build(workspace, MANIFEST, [asdict(COLLECT), asdict(RECORD)]))
    for event in events:
        check(event)
    assert [(event["eventType"], event["job"]["name"]) for event in events] == [
        ("START", "birds"),
        ("START", "birds.collect"),
        ("COMPLETE", "birds.collect"),
        ("START", "birds.align"),
        ("COMPLETE", "birds.align"),
        ("COMPLETE", "birds"),
    ]
    assert len({event["run"]["runId"] for event in events}) == 3
    collected, aligned, built = (event for event in events if event["eventType"] == "COMPLETE")
    assert [one["name"] for one in collected["inputs"]] == ["birds/source 0"]
    assert aligned["inputs"] == [
        {key: value for key, value in collected["outputs"][0].items() if key != "outputFacets"}
    ]
    assert aligned["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 7
    step = aligned["run"]["facets"]["evenly_step"]
    assert (step["reasons"], step["model"], step["rule"]) == ({"low_score": 2}, "m" * 64, {"keep_top": 0.9})
    assert step["inputs"] == {"questions": "q" * 64}
    assert built["outputs"][0]["facets"]["evenly_build"]["contentHash"] == "0" * 64
    assert list(events_of_build(workspace, MANIFEST, [asdict(COLLECT), asdict(RECORD)])) == events


def sent(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_rebuild_tells_of_itself_and_its_steps_and_says_which_are_reused(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "events.ndjson"))
    warned = []
    with rebuild_events(workspace, "birds", str(RUN), warned.append) as completed:
        with stage_events("collect", ()) as done:
            done([COLLECT])
        with stage_events("align", [COLLECT]) as done:
            done([replace(RECORD, started="2099-01-01T00:00:00+00:00")])
        completed(MANIFEST)
    events = sent(tmp_path / "events.ndjson")
    for event in events:
        check(event)
    assert [event["eventType"] for event in events] == ["START", *["START", "COMPLETE"] * 2, "COMPLETE"]
    assert {event["run"]["runId"] for event in events if event["job"]["name"] == "birds"} == {str(RUN)}
    reused = [
        event["run"]["facets"]["evenly_step"]["reused"] for event in events if "evenly_step" in event["run"]["facets"]
    ]
    assert reused == [True, False]
    assert warned == []


def test_a_step_that_comes_twice_in_a_rebuild_has_two_runs(workspace, tmp_path, monkeypatch):
    """As describing does, of two class lists."""
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "events.ndjson"))
    with rebuild_events(workspace, "birds", str(RUN), print):
        for _ in range(2):
            with stage_events("align", [COLLECT]) as done:
                done([RECORD])
    runs = [(event["eventType"], event["run"]["runId"]) for event in sent(tmp_path / "events.ndjson")[1:-1]]
    assert [kind for kind, _ in runs] == ["START", "COMPLETE"] * 2
    assert runs[0][1] == runs[1][1] != runs[2][1] == runs[3][1]


@pytest.mark.parametrize(("error", "kind"), [(ValueError("no pool"), "FAIL"), (KeyboardInterrupt(), "ABORT")])
def test_a_step_that_fails_ends_both_runs_and_says_why(workspace, tmp_path, monkeypatch, error, kind):
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "events.ndjson"))
    with pytest.raises(type(error)), rebuild_events(workspace, "birds", str(RUN), print), stage_events("collect", ()):
        raise error
    events = sent(tmp_path / "events.ndjson")
    for event in events:
        check(event)
    assert [event["eventType"] for event in events] == ["START", "START", kind, kind]
    assert events[-1]["run"]["facets"]["errorMessage"]["message"] == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    "setting",
    [(FILE_VARIABLE, "/proc/no/such/folder/events"), ("OPENLINEAGE__TRANSPORT__TYPE", "no such transport")],
)
def test_a_consumer_that_is_not_there_is_a_warning_with_the_number_of_events(workspace, monkeypatch, setting):
    monkeypatch.setenv(*setting)
    warned = []
    with rebuild_events(workspace, "birds", str(RUN), warned.append) as completed:
        for _ in range(4):
            with stage_events("collect", ()) as done:
                done([COLLECT])
        completed(MANIFEST)
    (warning,) = warned
    assert warning.startswith("10 OpenLineage events were not delivered: ")


def test_secrets_are_in_no_event(workspace, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef0123456789")
    lineage = LineageRun.of(workspace, "birds", RUN, "0.1.0")
    told = asdict(RECORD) | {"rule": {"header": "Bearer sk-0123456789abcdef0123456789"}}
    assert "sk-0123" not in json.dumps(lineage.step_done(told, {}, reused=False))


def test_without_a_setting_nothing_of_the_client_is_imported():
    script = (
        "import sys; from evenly.storage.workspace import Workspace; from evenly.storage.lineage import emitter\n"
        "with emitter.rebuild_events(Workspace.at('w'), 'birds', '', print), emitter.stage_events('x', ()): pass\n"
        "print([name for name in sys.modules if name.startswith('openlineage')])"
    )
    plain = {name: value for name, value in os.environ.items() if "OPENLINEAGE" not in name}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=plain)
    assert done.stdout == "[]\n"
