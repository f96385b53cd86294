"""What people see of a rebuild on a Prefect server: artifacts, names, tags, states and events, read back from it."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Pending

import evenly
from evenly.flows.audit_builds import audit_builds
from evenly.flows.describe_classes import describe_classes
from evenly.flows.hold_promotion import hold_promotion
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.flows.watch_classes import watch_classes
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.journals import read_runs
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from evenly.tasks.server.artifacts import (
    Artifact,
    ProgressArtifact,
    artifact_key,
    leave_artifacts,
    markdown_text,
    served_at,
    table_artifact,
)
from evenly.tasks.server.builds import report_line
from evenly.tasks.server.events import AuditFailed, BuildHeld, BuildPublished, ClassesDescribed, emit
from tests.chat_server import tiny_server
from tests.tasks.server.conftest import save_webhook, webhook


def artifacts(name: str) -> list[Any]:
    """The data of the artifacts of a key, the oldest first."""
    with get_client(sync_client=True) as client:
        rows = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[name])))
    return [row.data for row in sorted(rows, key=lambda row: row.created)]


def events_of(build: str, name: str, since: datetime) -> list[dict[str, Any]]:
    """The payloads of the events of a build, which a server stores a moment later; other tests have made it too."""
    event = {"event": {"name": [name]}, "resource": {"id": [f"evenly.build.{build}"]}}
    wanted = {"filter": event | {"occurred": {"since": since.isoformat()}}}
    for _ in range(60):
        answer = httpx.post(f"{PREFECT_API_URL.value()}/events/filter", json=wanted, timeout=30).raise_for_status()
        if rows := answer.json()["events"]:
            assert rows[0]["related"][0]["prefect.resource.id"] == "evenly.recipe.tiny_words"
            return [row["payload"] for row in rows]
        time.sleep(0.5)
    return []


@pytest.mark.usefixtures("prefect_server", "watched")
def test_a_build_and_one_that_is_held_are_seen_on_the_server(recipe, tmp_path):
    started, root = datetime.now(UTC), str(tmp_path / "w")
    first = rebuild_dataset(recipe=recipe(1), root=root, quiet=True, return_state=True)
    assert (first.name, first.message) == ("Completed", f"published: {first.result()}, 40 of 40 pairs kept")
    unchanged = rebuild_dataset(recipe=recipe(1), root=root, quiet=True, return_state=True)
    again = unchanged.result()
    assert again == first.result()
    assert (unchanged.name, unchanged.message) == ("Cached", f"unchanged: {again}, 40 of 40 pairs kept")
    held = rebuild_dataset(recipe=recipe(4), root=root, quiet=True, return_state=True)
    assert held.name == "Held"
    assert held.is_completed()
    assert held.message.startswith(f"held: {held.result()}, 20 of 40 pairs kept, not promoted, since its share")
    assert held.message.endswith(f"Run `evenly promote {held.result()}` or correct the recipe")
    still_held = rebuild_dataset(recipe=recipe(4), root=root, quiet=True, return_state=True)
    assert still_held.message == held.message  # the event and the notice are sent once

    (published,) = events_of(again, "evenly.build.published", started)
    assert BuildPublished(**published).kept == 40
    (kept_back,) = events_of(held.result(), "evenly.build.held", started)
    assert BuildHeld(**kept_back).previous == again

    funnel = json.loads(artifacts("tiny-words-funnel")[-1])
    row = {"step": "check_texts", "in": 40, "dropped": 20, "failed": 0, "merged": 0, "reasons": "too_few_words 20"}
    assert funnel[-1] == row | {"kept": 20}
    differences = artifacts("tiny-words-diff")
    assert "first build" in differences[0]
    assert "nothing has changed" in differences[1]
    assert "kept 40 → 20" in differences[2]
    assert "| left | 20 | check\\_texts | too\\_few\\_words |" in differences[2]
    shown = artifacts("tiny-words-report")[-1]
    assert markdown_text(f"run evenly report {held.result()} --root {root}") in shown
    assert "](" not in shown
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(held.state_details.flow_run_id)
    assert run.name == f"held {held.result()}"
    assert set(run.tags) == {"recipe:tiny_words", held.result()}


def run_deployed(recipe: str, root: str) -> FlowRun:
    """The run of a deployment, once it has ended, as a worker's process runs it."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(rebuild_dataset.flow), name="test")
        given = {"recipe": recipe, "root": root, "quiet": True}
        made = client.create_flow_run_from_deployment(deployment, parameters=given)
        client.set_flow_run_state(made.id, Pending())
        run_flow(rebuild_dataset.flow, flow_run=client.read_flow_run(made.id), return_type="state")
        return client.read_flow_run(made.id)


@pytest.mark.usefixtures("prefect_server", "watched")
def test_a_deployed_run_ends_in_states_that_every_page_lists(recipe, tmp_path):
    root = str(tmp_path / "w")
    with webhook() as (url, posted):
        notify = {"blocks": [save_webhook("states", url)]}
        ends = [run_deployed(recipe(words, notify=notify), root) for words in (1, 1, 4, 4, 50)]
    states = [(run.state.type.value, run.state.name) for run in ends]
    assert states == [
        ("COMPLETED", "Completed"),
        ("COMPLETED", "Cached"),
        ("CANCELLED", "Cancelled"),
        ("CANCELLED", "Cancelled"),
        ("FAILED", "Failed"),
    ]
    outcomes = [run.state.message.partition(":")[0] for run in ends]
    assert outcomes == ["published", "unchanged", "held", "held", "failed"]
    assert "must keep at least one pair; it kept none of 40" in ends[-1].state.message
    assert [message["title"] for message in posted] == ["evenly: tiny_words held", "evenly: tiny_words failed"]
    assert all(run.run_count == 1 and run.state.data is None for run in ends)


@pytest.mark.usefixtures("prefect_server", "watched")
def test_what_moved_is_said_everywhere_since_the_build_that_was_latest(recipe, tmp_path):
    root = str(tmp_path / "w")
    ends = [rebuild_dataset(recipe=recipe(words), root=root, quiet=True, return_state=True) for words in (1, 4, 3, 3)]
    first, _, held, again = (end.result() for end in ends)
    assert held == again
    assert f"Since {markdown_text(first)}: kept 40 → 30" in artifacts("tiny-words-diff")[-1]
    assert f"evenly diff {first} {held}" in (tmp_path / "w" / "reports" / f"{held}.html").read_text()
    same, entry, *_ = read_runs(Workspace.at(root), "tiny_words")
    assert (entry.previous, entry.entered, entry.left) == (same.previous, same.entered, same.left) == (first, 0, 10)
    rebuild_dataset(recipe=recipe(3), root=root, limit=10, quiet=True)
    assert artifacts("tiny-words-diff")[-1].endswith("\nA part of the pool.")


@pytest.mark.usefixtures("prefect_server", "watched")
def test_the_last_runs_of_a_recipe_are_a_table(recipe, tmp_path):
    root = str(tmp_path / "w")
    ends = [rebuild_dataset(recipe=recipe(words), root=root, quiet=True, return_state=True) for words in (1, 4, 50)]
    shown = json.loads(artifacts("tiny-words-history")[-1])
    assert [row["outcome"] for row in shown] == ["failed", "held", "published"]
    assert [row["build"] for row in shown] == ["", ends[1].result(), ends[0].result()]
    assert [(row["kept"], row["entered"], row["left"]) for row in shown] == [(None,) * 3, (20, 0, 20), (40, None, None)]
    assert "it kept none of 40" in shown[0]["error"]


@pytest.mark.usefixtures("prefect_server", "watched")
def test_a_report_is_linked_to_where_the_workspace_is_served(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENLY_URL", "https://team.example/birds of 2026/")
    build = rebuild_dataset(recipe=recipe(1), root=str(tmp_path / "w"), quiet=True)
    address = f"https://team.example/birds%20of%202026/reports/{build}.html"
    assert f"[Report](<{address}>)" in artifacts("tiny-words-report")[-1]
    assert (tmp_path / "w" / "reports" / f"{build}.html").is_file()
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1)
    assert report_line(run, build) == f"Report: {address}"
    monkeypatch.setenv("EVENLY_URL", "file:///home/ann/.evenly")
    assert report_line(run, build).startswith(f"Report: run `evenly report {build} --root {tmp_path / 'w'}` on ")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("", ""),
        ("https://bucket.s3.amazonaws.com/team", "https://bucket.s3.amazonaws.com/team"),
        ("http://[::1]:8000/a>b\n(c)/", "http://[::1]:8000/a%3Eb%0A(c)"),
    ],
)
def test_an_address_does_nothing_in_markdown_but_link(url, address, monkeypatch):
    monkeypatch.setenv("EVENLY_URL", url)
    assert served_at() == address


@pytest.mark.parametrize(
    "url",
    [
        "file:///a",
        "javascript:alert(1)",
        "s3://bucket",
        "https://",
        "http://[::1",
        "https://ann:word@a.test",
        "http://a.test/?b=1",
    ],
)
def test_an_address_that_no_browser_opens_is_refused_without_being_shown(url, monkeypatch):
    monkeypatch.setenv("EVENLY_URL", url)
    with pytest.raises(InputError, match=r"`EVENLY_URL` must be an http or https address") as refused:
        served_at()
    assert url not in str(refused.value)


@pytest.mark.usefixtures("prefect_server", "watched")
def test_after_a_failed_audit_a_build_is_held_until_a_person_promotes_one(recipe, tmp_path):
    started, root = datetime.now(UTC), str(tmp_path / "w")
    builds = Builds(Workspace.at(root))
    first = rebuild_dataset(recipe=recipe(1), root=root, quiet=True)
    said = hold_promotion(build=first, findings=2, root=root)
    assert said == "tiny_words: promotions are held until `evenly promote BUILD`"
    again = rebuild_dataset(recipe=recipe(1), root=root, quiet=True, return_state=True)
    assert again.name == "Cached"  # it is the latest already
    held = rebuild_dataset(recipe=recipe(2), root=root, quiet=True, return_state=True)
    assert held.name == "Held"
    assert f"not promoted, since `{first}` did not verify (2 findings), 20" in held.message
    assert BuildHeld(**events_of(held.result(), "evenly.build.held", started)[0]).previous == first
    assert builds.latest_of("tiny_words") == first

    evenly.promote(held.result(), root=root)
    assert (builds.latest_of("tiny_words"), builds.holds()) == (held.result(), {})
    assert "not held, since its latest is" in hold_promotion(build=first, findings=2, root=root)
    assert builds.holds() == {}


@pytest.mark.usefixtures("prefect_server", "watched")
def test_adapters_are_a_table_that_is_read_at_a_glance(recipe, tmp_path):
    root = str(tmp_path / "w")
    build = rebuild_dataset(recipe=recipe(1), root=root, quiet=True)
    row = {"name": "gda", "texts": "names", "accuracy": 0.7317073170731707, "low": 0.634146341, "high": 0.81707317}
    row |= {"validation_accuracy": None, "n": 82, "chosen": "", "verdict": ""}
    row |= dict.fromkeys(("difference", "difference_low", "difference_high"), 0.0)
    spec = StepSpec(name="evaluate_adapters", version=1, rule={"build": build, "list": "birds"}, inputs={})
    output = StepOutput(tables={"results": pa.Table.from_pylist([row])})
    Ledger(Workspace.at(root)).commit(spec, output, uids=None, started=datetime.now(UTC))
    rebuild_dataset(recipe=recipe(1), root=root, quiet=True)
    (shown,) = json.loads(artifacts("tiny-words-adapters")[-1])
    assert shown == {
        "list": "birds",
        "adapter": "gda",
        "texts": "names",
        "accuracy": 0.7317,
        "low": 0.6341,
        "high": 0.8171,
        "on validation": None,
        "test pictures": 82,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "watched")
def test_runs_beside_a_rebuild_say_in_their_state_what_was_done(recipe, tmp_path):
    root = str(tmp_path / "w")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "pets.txt").write_text("cat\ndog\n")
    (lists / "broken.txt").write_text("cat\ncat\n")
    assert audit_builds(root=root, return_state=True).message == "verified without a finding: no build yet"
    build = rebuild_dataset(recipe=recipe(1), root=root, quiet=True)
    audited = audit_builds(root=root, return_state=True)
    assert (audited.message, audited.result()) == (f"verified without a finding: {build}", {build: 0})
    held = hold_promotion(build=build, findings=1, root=root, return_state=True)
    assert held.message == "tiny_words: promotions are held until `evenly promote BUILD`"
    with tiny_server() as server:
        asked = {"methods": ["description"], "root": root, "quiet": True}
        asked |= {"base_url": server.url, "model": "tiny"}
        watched = watch_classes(folder=str(lists), settle_s=0, return_state=True, **asked)
        again = watch_classes(folder=str(lists), settle_s=0, return_state=True, **asked)
        server.answer = lambda _request, _before: server.features("has a long striped tail", "http://evil.test")
        refused = describe_classes(name="fish", text="salmon\n", return_state=True, **asked)
    assert sorted(watched.message.split(", ")) == ["1 broken", "1 described (pets)"]
    assert again.message == "no new list"
    assert refused.message == "fish: classes 1, texts accepted 1, refused 7 (markup 4, repeats 3)"
    assert Ledger(Workspace.at(root)).get(refused.result()).name == "describe"


@pytest.mark.usefixtures("prefect_server", "watched")
def test_a_failure_is_one_line_of_the_state(recipe, tmp_path):
    state = rebuild_dataset(recipe=recipe(50), root=str(tmp_path / "w"), quiet=True, return_state=True)
    assert state.is_failed()
    assert "step `check_texts` must keep at least one pair; it kept none of 40" in state.message
    assert len(state.message.splitlines()) == 1


@pytest.mark.usefixtures("prefect_server", "watched")
def test_long_work_has_a_progress_artifact_that_is_brought_up_to_date_now_and_then():
    from prefect import flow

    now = iter(range(0, 1000, 2))

    @flow(persist_result=False)
    def work() -> None:
        with Progress(quiet=True, subject="tiny_words", clock=lambda: float(next(now))).bar("encoding", 10) as advance:
            for _ in range(10):
                advance(1)

    work()
    assert artifacts("tiny-words-encoding") == [100.0]


def test_a_server_that_is_away_fails_nothing():
    away = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away):
        leave_artifacts([Artifact(key="a", kind="markdown", data="a")])
        ProgressArtifact(key="a", title="a", total=1, clock=lambda: 0.0).finish(1)


def test_text_of_the_web_does_nothing_in_markdown():
    hostile = "[click](http://evil.test) <script>x</script> | `a` \x1b[31m\n# b"
    assert markdown_text(hostile) == (
        "\\[click\\]\\(http\\://evil\\.test\\) &lt;script&gt;x&lt;/script&gt; \\| \\`a\\` \\\\x1b\\[31m\\\\n\\# b"
    )


def test_a_table_holds_json_and_no_text_that_acts():
    table = table_artifact("a", [{"name": "\x1b[31mred", "accuracy": float("nan"), "n": 3}], "rows")
    assert json.loads(table.data) == [{"name": "\\x1b[31mred", "accuracy": None, "n": 3}]


def test_a_key_is_made_of_what_prefect_takes():
    assert artifact_key("birds_2", "looking up URLs") == "birds-2-looking-up-urls"


def test_events_have_payloads_of_their_types_and_go_nowhere_outside_of_a_run():
    described = ClassesDescribed(class_list="birds", step="a", accepted=3, refused={"too_long": 1}, root="/w")
    failed = AuditFailed(build="tiny-1", recipe="tiny", findings=2, root="/w")
    resources = [payload.about.format_map(payload.model_dump()) for payload in (described, failed)]
    assert resources == ["evenly.class-list.birds", "evenly.build.tiny-1"]
    emit(failed)
    with pytest.raises(ValueError, match="findings"):
        AuditFailed(build="tiny-1", recipe="tiny", findings="many", root="/w")
