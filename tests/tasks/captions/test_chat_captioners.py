"""Captions of a vision model: a real server process decodes what it is sent, and may answer anything."""

import json
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pyarrow.compute as pc
import pytest

from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.errors import BudgetExceededError, DescriptionsError
from evenly.storage.ledger import StepRecord
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_EXACT
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from evenly.tasks.step import Step
from tests.chat_server import TinyServer, tiny_server
from tests.echoes import GOOD_ANSWERS, KEY, error_answers, files_with, leaks
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import BLUE, GREEN, RED, RULES, Row, open_run
from tests.vision_server import VisionServer, vision_server

pytestmark = pytest.mark.usefixtures("colour_words")
STEPS = (COLLECT, DOWNLOAD, DEDUPLICATE_EXACT, EMBED_IMAGES)
POOL = (
    Row("a", "a red fox", picture(RED, pattern=1)),
    Row("b", "some words", picture(GREEN, pattern=2, size=(900, 300))),
    Row("c", "a blue owl", picture(GREEN, pattern=3)),
    Row("d", "no colour at all", picture(BLUE, pattern=4)),
    Row("e", "a green cat", picture(GREEN, pattern=3)),
)
"""c has the wrong colour, and e, which is merged into one of the two, the right one."""


def recaption(
    run: Run, captioners: Sequence[dict], further: Sequence[tuple[Step, object]] = (), **choose: object
) -> StepRecord:
    """The step's record; further: steps before it, each with its rule."""
    records: tuple[StepRecord, ...] = ()
    for step, rule in (*((step, step.read(RULES[step.name])) for step in STEPS), *further):
        records = (*records, run_step(run, step, records, rule))
    rule = RECAPTION.read({"captioners": list(captioners), "choose": {"by": "score"} | choose})
    return run_step(run, RECAPTION, records, rule)


def seen(server: VisionServer, name="seen", kind="seen", **more: object) -> dict:
    return {"name": name, "kind": kind, "base_url": server.url, "model": "eyes", "max_side": 128} | more


def offered(run: Run, record: StepRecord, origin="seen") -> list[dict]:
    return run.ledger.table(record, "candidates", where=pc.field("origin") == origin).to_pylist()


@pytest.fixture
def run(tmp_path) -> Run:
    return open_run(tmp_path / "w", POOL)


@pytest.mark.parametrize("name", ["400", "401", "429", "500", "content", "broken", "model"])
def test_a_vision_endpoint_that_repeats_the_key_leaves_it_nowhere(run, tmp_path, monkeypatch, name):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("evenly.tasks.chat.endpoints.RetryRule", partial(RetryRule, attempts=1))
    answer = GOOD_ANSWERS[name] if name in GOOD_ANSWERS else error_answers(int(name))["message"]
    if name == "content":
        answer = lambda sent: TinyServer.completion(json.dumps({"caption": f"a red fox {sent}"}))  # noqa: E731
    shown = ""
    with tiny_server() as server:
        server.answer = lambda _request, _before: answer(server.headers[-1]["authorization"])
        try:
            shown = str(offered(run, recaption(run, [seen(server)])))
        except DescriptionsError as error:
            shown = "".join(traceback.format_exception(error))
        assert server.requests
    assert leaks(shown) == [*files_with(tmp_path)] == []


def test_each_picture_is_shown_once_scaled_and_the_model_s_caption_is_chosen_where_it_fits_better(run):
    with vision_server() as server:
        record = recaption(run, [seen(server)])
        counts = server.counts()
    assert counts["requests"] == 4
    assert counts["sizes"] == {"64x48": 3, "128x43": 1}
    chosen = run.ledger.decisions(record, ["chosen_caption", "caption_origin"])
    assert sorted(map(str, chosen["chosen_caption"].to_pylist())) == [
        "a blue thing",
        "a green cat",
        "a green thing",
        "a red fox",
    ]
    assert record.notes["offered"] == {"seen": 4}
    assert {row["refused"] for row in offered(run, record)} == {""}
    assert all(len(row["request_id"]) == 64 for row in offered(run, record))


def test_a_second_run_asks_nothing_and_a_changed_picture_is_one_request(run, tmp_path):
    with vision_server() as server:
        recaption(run, [seen(server)])
        for path in run.workspace.root.glob("ledger/**/recaption*"):
            path.rename(path.with_suffix(".gone"))
        again = open_run(tmp_path / "other", [replace(POOL[0], content=picture(BLUE, pattern=9)), *POOL[1:]])
        again = replace(again, workspace=run.workspace)
        record = recaption(again, [seen(server)])
        assert server.counts()["requests"] == 5
    assert record.notes["offered"] == {"seen": 4}


def test_another_prompt_or_size_or_sample_is_another_request_and_other_prices_are_not(run):
    with vision_server() as server:
        for captioner, requests in (
            (seen(server), 4),
            (seen(server, samples=2), 8),
            (seen(server, samples=2, prompt="Name it."), 16),
            (seen(server, samples=2, prompt="Name it.", max_side=64), 24),
        ):
            record = recaption(run, [captioner])
            assert server.counts()["requests"] == requests
        assert sorted(row["sample"] for row in offered(run, record)) == [0] * 4 + [1] * 4
        paid = RECAPTION.read({"captioners": [seen(server, prompt_usd_per_million=1.0)], "choose": {"by": "score"}})
        free = RECAPTION.read({"captioners": [seen(server)], "choose": {"by": "score"}})
        assert paid.stored() == free.stored()


@pytest.mark.parametrize(
    ("fault", "reason", "flag"),
    [
        ("malformed", "not_json", None),
        ("empty", "empty", None),
        ("nothing", "empty", None),
        ("long", "too_long", None),
        ("wrong_schema", "wrong_schema", None),
        ("truncated", "truncated", None),
        ("refusing", "", "refusal"),
        ("hostile", "", "contact"),
    ],
)
def test_a_bad_answer_is_refused_or_flagged_and_never_chosen(run, fault, reason, flag):
    with vision_server(fault=fault) as server:
        record = recaption(run, [seen(server)])
    rows = offered(run, record)
    assert {row["refused"] for row in rows} == {reason}
    assert record.notes["chosen"] == {"original": 3, "twin": 1} or record.notes["chosen"] == {"original": 4}
    if flag is None:
        assert record.notes["refused"] == {"seen": {reason: 4}}
    else:
        assert all(flag in row["flags"] for row in rows)
    if fault == "hostile":
        assert not any(character in row["caption"] for row in rows for character in "\x1b\u202e")


@pytest.mark.parametrize(
    ("fault", "reason"), [("busy", "http_503"), ("cut", "broken_connection"), ("html", "bad_body")]
)
def test_what_may_pass_is_left_to_the_next_run(run, monkeypatch, fault, reason):
    monkeypatch.setattr("evenly.descriptions.chat.client.pause_s", lambda **_: 0.0)
    with vision_server(fault=fault, every=4, most=RetryRule().attempts) as server:
        record = recaption(run, [seen(server, concurrency=1)])
        assert record.notes["refused"] == {"seen": {reason: 1}}
        assert record.notes["unanswered"] == 1
        assert server.counts()["requests"] == 3 + RetryRule().attempts
        again = recaption(run, [seen(server, concurrency=1)])
        assert server.counts()["requests"] == 4 + RetryRule().attempts
    assert again.key != record.key
    assert "refused" not in again.notes or not again.notes["refused"]


def test_a_budget_that_ends_stops_before_the_request_that_may_exceed_it_and_what_came_is_kept(run):
    prices = {"prompt_usd_per_million": 1000.0, "completion_usd_per_million": 1000.0, "concurrency": 1}
    with vision_server() as server:
        with pytest.raises(BudgetExceededError):
            recaption(run, [seen(server, budget_usd=10.0, **prices)])
        asked = server.counts()["requests"]
        assert 0 < asked < 4
        record = recaption(run, [seen(server, budget_usd=100.0, **prices)])
        assert server.counts() == server.counts() | {"requests": 4, "twice": 0}
    account = record.notes["accounts"]["seen"]
    assert account["spent_usd"] == pytest.approx(4 * 0.32)
    assert account["limit_usd"] == 100.0


def test_realigned_captions_correct_the_picture_s_texts_and_those_of_its_duplicates_in_rounds(run):
    with vision_server() as server:
        record = recaption(run, [seen(server, name="mended", kind="realigned", rounds=2)])
    rows = {(row["sample"], row["caption"]) for row in offered(run, record, "mended")}
    assert {"a red fox", "a green words", "a blue all"} <= {caption for _, caption in rows}
    assert {sample for sample, _ in rows} == {0, 1}
    fox = [row for row in offered(run, record, "mended") if row["caption"] == "a red fox"]
    assert len({row["request_id"] for row in fox}) == 2


def test_several_captioners_offer_side_by_side_and_a_rule_may_draw_among_them(run):
    with vision_server() as server:
        captioners = [seen(server), seen(server, name="mended", kind="realigned")]
        record = recaption(run, captioners, by="draw", rates={"mended": 1.0})
    assert record.notes["offered"] == {"mended": 4, "seen": 4}
    assert record.notes["chosen"] == {"mended": 4}
