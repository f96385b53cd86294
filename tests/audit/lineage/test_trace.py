"""The trace of each kind of thing: of what it was made, and what was made of it, in a folder and in a bucket."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from evenly.audit.errors import UnknownSampleError
from evenly.audit.lineage.render import to_mermaid, to_text
from evenly.audit.lineage.things import trace_thing
from evenly.storage.artifacts.kinds import fitted_adapters_of, put_adapter, refined_encoders_of
from evenly.storage.chat.requests import Requests
from evenly.storage.feature_store import FeatureStore
from evenly.storage.journals import record_page
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from tests.audit.conftest import STARTED, Little, picture, publish

REQUEST = "ab" * 32
ENCODER = "e" * 64


def commit(workspace, name, rule, inputs=None, model=None, **tables):
    output = StepOutput(tables={key: pa.Table.from_pylist(rows) for key, rows in tables.items()})
    spec = StepSpec(name=name, version=1, rule=rule, inputs=inputs or {}, model=model)
    return Ledger(workspace).commit(spec, output, uids=None, started=datetime(2026, 11, 24, tzinfo=UTC))


def furnished(workspace):
    """A build with a described class list, a request, an adapter, a refined encoder, features, and a report."""
    manifest = publish(workspace, Little(encoder=ENCODER), STARTED)
    build = manifest["build"]
    FeatureStore(workspace, ENCODER, "images").append(["a"], np.ones((1, 4)), np.ones(1))
    request = {"request": {"endpoint": "http://chat.test", "model": "m"}, "outcome": "reply"}
    Requests(workspace).put(REQUEST, request)
    listing = {"list": "birds", "text": "owl\nwren\n"}
    described = commit(workspace, "describe", listing, model="http://chat.test", descriptions=[{"request_id": REQUEST}])
    kept = Ledger(workspace).decisions(Ledger(workspace).records("balance")[0]).to_pylist()
    uid = next(row["uid"] for row in kept if row["verdict"] == "kept")
    rule = {"build": build, "list": "birds", "classes": ["owl", "wren"], "adapters": ["gda"], "describe": described.key}
    inputs = {"build": manifest["content_hash"]}
    commit(workspace, "evaluate_adapters", rule, inputs, ENCODER, split=[{"uid": uid, "part": "test"}])
    card = {"adapter": "gda", "arrays": {}, "learned": {}, "parameters": {}, "build": build, "class_list": "birds"}
    card |= {"classes": ["owl", "wren"], "describe": described.key, "encoder": {"identity": ENCODER, "model": "tiny"}}
    adapters = fitted_adapters_of(workspace, build, "birds")
    put_adapter(adapters, "gda-names", card, {}, made_of={"build": build}, force=True)
    trained = commit(workspace, "refine_encoder", {"build": build, "objective": "contrastive"}, inputs, ENCODER)
    refined = {"base": ENCODER, "build": build, "encoder": {"model": "tiny"}, "rule": {"objective": "contrastive"}}
    made_of = {"build": build, "encoder": ENCODER, "step": trained.key}
    refined_encoders_of(workspace).put("mine", refined | {"notes": {}}, b"x", made_of=made_of, force=True)
    record_page(workspace, workspace.reports / f"{build}.html", "a page", kind="report", build=build)
    return manifest, uid


def kinds(keys):
    return {key.partition(":")[0] for key in keys}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    from evenly.storage.workspace import Workspace

    workspace = Workspace.at(tmp_path_factory.mktemp("traced") / "w")
    return workspace, *furnished(workspace)


def test_a_build_is_made_of_its_steps_and_pool_and_everything_was_made_of_it(made):
    workspace, manifest, _ = made
    trace = trace_thing(workspace, manifest["build"])
    names = [trace.graph.nodes[key].facts.get("step") for key in trace.above if key.startswith("step:")]
    assert names == [step["name"] for step in reversed(manifest["steps"])]
    assert kinds(trace.above) == {"step", "file", "model", "features"}
    assert kinds(trace.below) == {"step", "adapter", "refined", "report"}
    assert [(edge.source, edge.target) for edge in trace.graph.edges if edge.source.startswith("file:")] == [
        (f"file:{'f' * 64}", f"step:{manifest['steps'][0]['key']}")
    ]
    assert trace_thing(workspace, manifest["build"], downstream=False).below == []
    assert trace_thing(workspace, manifest["build"], upstream=False).above == []


THINGS = {
    "latest": lambda m, _u: m["build"],
    "step of a build": lambda m, _u: f"{m['build']}:align",
    "step key": lambda m, _u: m["steps"][0]["key"][:10],
    "class list": lambda _m, _u: "birds",
    "adapter": lambda _m, _u: "birds/gda-names",
    "refined encoder": lambda _m, _u: "mine",
    "feature set": lambda _m, _u: ENCODER[:12],
    "request": lambda _m, _u: REQUEST,
    "report": lambda m, _u: f"reports/{m['build']}.html",
    "uid": lambda _m, uid: uid,
    "url": lambda _m, _u: "http://p.test/cat2.png",
    "picture": lambda _m, _u: hashlib.sha256(picture(51)).hexdigest(),
    "pool file": lambda _m, _u: "f" * 64,
}
EXPECTED = {  # kinds above, and below
    "step of a build": ({"step", "file", "model", "features"}, {"step", "build", "adapter", "refined", "report"}),
    "step key": ({"file"}, {"step", "build", "adapter", "refined", "report"}),
    "class list": (set(), {"step", "adapter", "report"}),
    "adapter": ({"step", "build", "file", "model", "features", "classes"}, set()),
    "refined encoder": ({"step", "build", "file", "model", "features"}, set()),
    "feature set": ({"model"}, {"step", "build", "adapter", "refined", "report"}),
    "request": ({"model"}, {"step", "adapter", "report"}),
    "report": ({"step", "build", "file", "model", "features", "classes"}, set()),
    "uid": ({"file", "picture", "url"}, {"step", "build", "adapter", "refined", "report"}),
    "pool file": (set(), {"step", "build", "adapter", "refined", "report"}),
}


@pytest.mark.parametrize("thing", EXPECTED)
def test_each_kind_of_thing_is_known_by_its_name_and_traced_both_ways(made, thing):
    workspace, manifest, uid = made
    trace = trace_thing(workspace, THINGS[thing](manifest, uid))
    above, below = EXPECTED[thing]
    assert (kinds(trace.above), kinds(trace.below)) == (above, below)


def test_a_pair_says_in_which_part_of_an_evaluation_it_is(made):
    workspace, _, uid = made
    edges = trace_thing(workspace, uid).graph.edges
    assert "is in its test part" in {edge.reason for edge in edges if edge.source == f"pair:{uid}"}


@pytest.mark.parametrize("thing", ["url", "picture"])
def test_a_pair_is_found_by_its_address_and_by_its_picture(made, thing):
    workspace, manifest, uid = made
    (start,) = trace_thing(workspace, THINGS[thing](manifest, uid)).starts
    assert start.startswith("pair:")


def test_files_on_disk_are_known_by_what_is_in_them(made, tmp_path):
    workspace, manifest, uid = made
    (tmp_path / "any name.txt").write_text("owl\nwren\n")
    (tmp_path / "photo").write_bytes(picture(51))
    cards = sorted(workspace.adapters.glob("*/*/*.json"))
    report = workspace.reports / f"{manifest['build']}.html"
    starts = [trace_thing(workspace, str(path)).starts for path in (tmp_path / "any name.txt", *cards, report)]
    assert [key.partition(":")[0] for (key,) in starts] == ["classes", "adapter", "report"]
    assert (
        trace_thing(workspace, str(tmp_path / "photo")).starts
        == trace_thing(workspace, THINGS["picture"](manifest, uid)).starts
    )


def test_of_steps_with_the_same_result_that_which_was_there_is_the_one_read(workspace):
    """A later version of a step that gives the same is not what an earlier build was made of."""
    older = publish(workspace, Little(), STARTED)
    publish(workspace, Little(versions={"check_texts": 2}), STARTED)
    records = [record for record in Ledger(workspace).records("check_texts") if record.version == 2]
    trace = trace_thing(workspace, older["build"], downstream=False)
    assert len(records) == 1
    assert f"step:{records[0].key}" not in trace.above
    assert len([key for key in trace.above if key.startswith("step:")]) == len(older["steps"])


def test_an_adapter_of_several_builds_is_that_of_the_newest(workspace):
    for little, started in ((Little(), STARTED), (Little(min_words=4), STARTED + timedelta(hours=1))):
        build = publish(workspace, little, started)["build"]
        card = {"adapter": "gda", "arrays": {}, "learned": {}, "parameters": {}, "build": build, "class_list": "birds"}
        put_adapter(
            fitted_adapters_of(workspace, build, "birds"), "gda", card, {}, made_of={"build": build}, force=True
        )
    assert trace_thing(workspace, "birds/gda").starts == [f"adapter:{build}/birds/gda"]


def test_a_pair_that_went_says_where_and_a_merged_one_into_which(made):
    workspace, _, _ = made
    dropped = trace_thing(workspace, "http://p.test/short.png")
    (outcome,) = [dropped.graph.nodes[key] for key in dropped.below]
    assert (outcome.facts["step"], outcome.facts["reason"]) == ("check_texts", "too_few_words")
    ledger = Ledger(workspace)
    pairs = [
        (record.name, row)
        for name in ("deduplicate_exact", "deduplicate_perceptual")
        for record in ledger.records(name)
        for row in ledger.decisions(record).to_pylist()
        if row["verdict"] == "merged"
    ]
    step, row = pairs[0]
    edges = trace_thing(workspace, row["uid"]).graph.edges
    assert (f"pair:{row['uid']}", f"pair:{row['into']}", f"is merged into it by {step}") in [
        (edge.source, edge.target, edge.reason) for edge in edges
    ]


def test_what_nobody_knows_is_refused_and_so_is_nothing(made):
    workspace, _, _ = made
    for thing in ("no such thing", "", "f" * 40):
        with pytest.raises(UnknownSampleError, match="must be something that workspace"):
            trace_thing(workspace, thing)


def test_a_name_of_several_things_is_refused_with_all_of_them(made):
    workspace, _, _ = made
    commit(workspace, "describe", {"list": "mine", "text": "owl\n"}, descriptions=[])
    with pytest.raises(UnknownSampleError, match=r"must be one thing; `refined:mine`, `classes:mine-"):
        trace_thing(workspace, "mine")
    assert trace_thing(workspace, "refined:mine").starts == ["refined:mine"]


def test_texts_from_the_web_act_in_no_form(made):
    workspace, _, _ = made
    trace = trace_thing(workspace, "http://p.test/script.png")
    hostile = 'http://x.test/"]; click n0 call alert() <script>`\x1b[31m\u202e'
    trace.graph.add("pair", trace.starts[0].partition(":")[2], hostile)
    text, diagram = to_text(trace), to_mermaid(trace)
    assert "\x1b" not in text + diagram
    assert "\u202e" not in text + diagram
    assert r"\x1b[31m\u202e" in text
    line = next(line for line in diagram.splitlines() if "x.test" in line)
    assert line.count('"') == 2
    assert line.endswith('"]:::thing')
    assert "<script>" not in diagram
    json.dumps(trace.to_dict())


def test_a_workspace_in_a_bucket_gives_the_same_trace(stored_workspace, made, tmp_path):
    workspace, manifest, _ = made
    stored, uid = furnished(stored_workspace)
    assert stored["content_hash"] == manifest["content_hash"]
    (tmp_path / "list.txt").write_text("owl\nwren\n")
    for thing in (manifest["build"], uid, "birds/gda-names", str(tmp_path / "list.txt")):
        here, there = (trace_thing(one, thing) for one in (workspace, stored_workspace))
        assert [*there.graph.nodes] == [*here.graph.nodes]
        assert [(edge.source, edge.target) for edge in there.graph.edges] == [
            (edge.source, edge.target) for edge in here.graph.edges
        ]
