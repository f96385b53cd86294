"""Batches against a real server: nothing submitted twice, nothing received asked again, every fault survived."""

import asyncio
import json
import time

import pytest

from evenly.descriptions.batch.intents import batch_states
from evenly.descriptions.batch.submission import BatchPace
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.errors import EndpointError, RequestFailedError
from evenly.storage.chat.requests import Batches, Requests
from tests.batch_server import Ending, Fault, batch_client, completion, line, serving

FAST = BatchPace(first_s=0.01, longest_s=0.05, listed_after_s=0.0)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def make(server, workspace):
    """A client on the workspace's stores; a new one stands for a new process."""

    def client(**more):
        told = {"quiet_s": 0.05, "pace": FAST, "timeout_s": 5.0, "class_list": "pets", **more}
        return batch_client(server.endpoint, Requests(workspace), Batches(workspace), **told)

    return client


def question(text="What?", **more):
    return ChatRequest(messages=(Message(role="user", content=text),), **more)


def ask(client, *texts: str):
    async def all_of_them():
        async with client:
            return await asyncio.gather(*(client.ask(question(text)) for text in texts), return_exceptions=True)

    return asyncio.run(all_of_them())


def texts_of(server, number):
    return [one["body"]["messages"][0]["content"] for one in server.requests_of(f"batch_{number}")]


def states(workspace):
    return list(batch_states(Batches(workspace)))


def test_a_cancellation_that_the_network_library_swallows_ends_the_wait_all_the_same(server, make):
    server.endings = [Ending(polls=1_000_000)]

    async def stopped():
        client = make()
        retrieve = client._work.api.retrieve

        waiting = asyncio.Event()

        async def swallowing(batch_id):
            try:
                waiting.set()
                await asyncio.sleep(0.2 if swallowed else 60)
            except asyncio.CancelledError:
                swallowed.append(batch_id)
            return await retrieve(batch_id)

        client._work.api.retrieve = swallowing
        async with client:
            asking = asyncio.create_task(client.ask(question()))
            await waiting.wait()
            asking.cancel()

    swallowed: list[str] = []
    asyncio.run(asyncio.wait_for(stopped(), 60))
    assert swallowed


def test_what_is_asked_at_one_time_is_one_batch_with_the_intent_in_its_metadata(server, make, workspace):
    client = make()
    replies = ask(client, "a", "b", "c")
    assert [reply.text for reply in replies] == [completion()["choices"][0]["message"]["content"]] * 3
    assert len(server.batches) == 1
    batch = server.batches["batch_0"]
    (state,) = states(workspace)
    assert batch["metadata"] == {"evenly_intent": state.intent.id}
    assert batch["endpoint"] == "/v1/chat/completions"
    assert batch["completion_window"] == "24h"
    assert (state.status, state.batch_id, state.intent.class_list) == ("collected", "batch_0", "pets")
    assert client.counts.requests_sent == client.counts.attempts == 3
    assert client.counts.completion_tokens == 60


def test_a_line_asks_what_a_single_request_would_and_is_named_by_its_address(server, make):
    schema = {"type": "object"}
    request = question("a", schema=schema, sample=3)
    client = make()

    async def one():
        async with client:
            return await client.ask(request)

    reply = asyncio.run(one())
    (sent,) = server.requests_of("batch_0")
    assert sent["custom_id"] == reply.request_id == client.request_id(request)
    assert (sent["method"], sent["url"]) == ("POST", "/v1/chat/completions")
    assert sent["body"] == request.parameters() | {"model": "tiny", "max_tokens": 300}


def test_the_record_of_a_reply_is_that_of_a_single_request_and_names_the_batch(server, make, workspace):
    client = make(prices=Prices(prompt_usd=0.5, completion_usd=1.0))
    (reply,) = ask(client, "a")
    record = Requests(workspace).get(reply.request_id)
    (state,) = states(workspace)
    assert record["reply"] == reply.text
    assert record["request"] == question("a").content(identity=server.url, model="tiny")
    assert record["usage"] == {"prompt_tokens": 10, "completion_tokens": 20}
    assert record["answered_by"] == {"model": "tiny-2026", "fingerprint": "f1"}
    assert record["batch"] == {"intent": state.intent.id, "id": "batch_0"}
    assert record["cost_usd"] == client.counts.cost_usd == pytest.approx(25e-6)


def test_stored_replies_are_shared_with_single_requests(server, make, workspace):
    ask(make(), "a")
    single = ChatClient(server.endpoint, store=Requests(workspace))
    (reply,) = ask(single, "a")
    assert reply.cached
    assert ask(make(), "a")[0].cached
    assert len(server.batches) == 1


def test_equal_requests_at_one_time_are_one_line(server, make):
    client = make()
    replies = ask(client, "a", "a", "a")
    assert len(server.requests_of("batch_0")) == 1
    assert [reply.cached for reply in replies] == [False, True, True]
    assert client.counts.cache_hits == 2


def test_a_wave_is_split_at_the_limits_of_a_file(server, make):
    ask(make(most_requests=2), *"abcde")
    assert sorted(len(server.requests_of(one)) for one in server.batches) == [1, 2, 2]
    ask(make(most_bytes=700), *"fgh")
    assert all(len(content) <= 700 for content in server.files.values() if b'"url"' in content[:200])
    assert sum(server.ran.values()) == len(server.ran) == 8


def test_later_asks_are_another_batch(server, make):
    async def two_waves(client):
        async with client:
            await client.ask(question("a"))
            await client.ask(question("b"))

    asyncio.run(two_waves(make()))
    assert [texts_of(server, number) for number in (0, 1)] == [["a"], ["b"]]


def test_the_endpoint_is_asked_no_sooner_than_it_wants(server, make):
    server.endings = [Ending(polls=1, headers={"retry-after": "0.4"})]
    started = time.monotonic()
    ask(make(), "a")
    assert time.monotonic() - started >= 0.4
    assert server.calls.count("retrieve") == 2


def test_a_slow_batch_is_polled_with_growing_pauses(server, make):
    server.endings = [Ending(polls=6)]
    said = []
    assert ask(make(say=said.append), "a")[0].text
    assert server.calls.count("retrieve") == 7
    assert [text for text in said if "in_progress" in text]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at="upload"),
        Fault(at="upload", status=500),
        Fault(at="upload", status=429, headers={"retry-after": "0.1"}),
        Fault(at="upload", done=True),
        Fault(at="create", status=503),
        Fault(at="create"),
        Fault(at="create", status=500, done=True),
        Fault(at="create", done=True),
        Fault(at="retrieve", status=502),
        Fault(at="retrieve"),
        Fault(at="content", status=500),
        Fault(at="content"),
        *(Fault(at=call, sent=20) for call in ("upload", "create", "retrieve", "content")),
    ],
    ids=lambda fault: f"{fault.at} {fault.status or 'cut'}{' but done' * fault.done}{' midway' * bool(fault.sent)}",
)
def test_a_passing_fault_makes_no_second_batch_and_costs_no_second_answer(server, make, fault):
    server.faults = [fault]
    assert all(reply.text for reply in ask(make(), "a", "b"))
    assert list(server.made.values()) == [1]
    assert set(server.ran.values()) == {1}
    assert not server.faults


def test_a_created_batch_is_found_on_whatever_page_it_is_listed(server, make):
    server.page = 1
    server.faults = [Fault(at="create", status=500, done=True)]

    def create(body, create=server.create):
        made = create(body)
        for number in range(3):
            server.batches[f"other_{number}"] = {"id": f"other_{number}", "metadata": {"evenly_intent": "x"}}
        return made

    server.create = create
    assert ask(make(), "a")[0].text
    assert server.calls.count("create") == 1
    assert server.calls.count("list") == 4


def test_requests_that_failed_are_submitted_again_alone(server, make, workspace):
    broken = {"response": {"status_code": 500, "body": {"error": {"message": "oops"}}}}
    server.endings = [Ending(failures={1: broken})]
    client = make()
    replies = ask(client, "a", "b", "c")
    assert all(reply.text for reply in replies)
    assert texts_of(server, 1) == ["b"]
    assert set(server.ran.values()) == {1}
    assert client.counts.attempts == 4
    assert client.counts.requests_sent == 3
    assert Requests(workspace).get(replies[1].request_id)["attempts"] == 2


def test_an_expired_batch_keeps_what_it_has_and_the_rest_is_submitted_again(server, make, workspace):
    server.endings = [Ending(status="expired", done=2)]
    assert all(reply.text for reply in ask(make(), "a", "b", "c"))
    assert texts_of(server, 1) == ["c"]
    assert set(server.ran.values()) == {1}
    assert states(workspace)[0].events[-1]["missing"] == {states(workspace)[0].intent.request_ids[2]: "batch_expired"}


def test_a_request_that_fails_every_time_fails_alone_with_its_reason(server, make):
    broken = {"error": {"code": "Server Error!", "message": "oops"}}
    server.endings = [Ending(failures={1: broken}), Ending(failures={0: broken}), Ending(failures={0: broken})]
    good, bad, other = ask(make(submissions=3), "a", "b", "c")
    assert good.text
    assert other.text
    assert isinstance(bad, RequestFailedError)
    assert (bad.reason, str(bad)) == ("server_error", "oops")
    assert len(server.batches) == 3


def test_a_request_that_is_refused_is_not_submitted_again(server, make):
    server.endings = [Ending(failures={0: {"response": {"status_code": 400, "body": {"error": {"message": "no"}}}}})]
    bad, good = ask(make(), "a", "b")
    assert bad.reason == "http_400"
    assert good.text
    assert len(server.batches) == 1


def hostile(lines):
    first = json.loads(lines[0])
    return b"".join(
        [
            b"not json\n",
            b"[1, 2]\n",
            b"\n",
            b"[" * 100_000 + b"\n",
            line("f" * 64, response={"status_code": 200, "body": completion()}),
            line({"a": 1}),
            lines[0],
            json.dumps(first | {"response": {"status_code": 200, "body": completion("twice")}}).encode() + b"\n",
            line(json.loads(lines[1])["custom_id"], response={"status_code": 200, "body": {"choices": "none"}}),
            lines[2][:-20],
        ]
    )


def test_lines_of_no_use_are_counted_by_name_and_their_requests_submitted_again(server, make, workspace):
    server.endings = [Ending(edit=hostile)]
    said = []
    replies = ask(make(say=said.append), "a", "b", "c")
    assert all(reply.text for reply in replies)
    assert "twice" not in replies[0].text
    collected = states(workspace)[0].events[-1]
    assert collected["problems"] == {
        "malformed_line": 3,
        "unknown_custom_id": 2,
        "duplicate_custom_id": 1,
        "no_completion": 1,
        "truncated_line": 1,
    }
    assert sorted(texts_of(server, 1)) == ["b", "c"]
    assert any("malformed_line 3" in text for text in said)


def test_an_output_file_that_came_short_is_read_once_more_before_anything_is_asked_again(server, make):
    contents = []

    def content(file_id):
        contents.append(file_id)
        return server.files[file_id][: 30 if len(contents) == 1 else None]

    server.content = content
    assert ask(make(), "a")[0].text
    assert len(contents) == 2
    assert len(server.batches) == 1


def test_a_reply_that_cannot_be_written_as_it_is_does_no_harm(server, make, workspace):
    server.answer = lambda _body: completion("\ud800", model={"a": "\udfff"}, usage={"prompt_tokens": -5})
    (reply,) = ask(make(), "a")
    assert reply.text == "?"
    assert Requests(workspace).get(reply.request_id)["usage"] == {"prompt_tokens": 0, "completion_tokens": 0}


def test_refusals_and_cut_replies_are_told_apart(server, make):
    answers = {
        "cut": completion('{"a', finish_reason="length"),
        "filter": completion("", finish_reason="content_filter"),
        "refusal": completion(choices=[{"message": {"content": None, "refusal": "I cannot."}}]),
    }
    server.answer = lambda body: answers[body["messages"][0]["content"]]
    replies = ask(make(), *answers)
    assert [reply.outcome for reply in replies] == ["truncated", "refusal", "refusal"]


def test_a_batch_that_is_refused_for_one_line_goes_out_again_without_it(server, make):
    server.endings = [Ending(status="failed", errors=[{"code": "invalid_request", "line": 2, "message": "bad line"}])]
    good, bad = ask(make(), "a", "b")
    assert good.text
    assert bad.reason == "invalid_request"
    assert texts_of(server, 1) == ["a"]


def test_batches_that_are_refused_as_a_whole_give_the_endpoint_up(server, make):
    server.endings = [Ending(status="failed", errors=[{"code": "token_limit_exceeded", "message": "too much"}])] * 3
    (outcome,) = ask(make(), "a")
    assert isinstance(outcome, EndpointError)
    assert "token_limit_exceeded" in str(outcome)
    assert "too much" in str(outcome)


def test_an_endpoint_without_batches_is_one_clear_line_and_leaves_nothing_open(server, make, workspace):
    server.faults = [Fault(at="upload", status=404)]
    (outcome,) = ask(make(), "a")
    assert isinstance(outcome, EndpointError)
    assert "Batch API" in str(outcome)
    assert "\n" not in str(outcome)
    assert [state.status for state in states(workspace)] == ["dropped"]


def test_a_refused_key_is_one_clear_line_without_the_key(server, make, workspace, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.faults = [Fault(at="upload", status=401, error={"message": "Incorrect API key: sk-very-secret"})]
    (outcome,) = ask(make(), "a")
    assert "OPENAI_API_KEY" in str(outcome)
    assert server.keys == {"Bearer sk-very-secret"}
    stored = "".join(path.read_text() for path in workspace.root.rglob("*.json"))
    assert "secret" not in str(outcome) + stored


def test_a_refused_connection_is_one_clear_line(workspace):
    nowhere = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
    client = batch_client(nowhere, Requests(workspace), Batches(workspace))
    (outcome,) = ask(client, "a")
    assert isinstance(outcome, EndpointError)
    assert "Check `base_url`" in str(outcome)


@pytest.mark.parametrize(
    "told",
    [{"id": "../../models"}, {"id": None}, {"status": 7}, {"status": "completed", "output_file_id": "../x"}],
    ids=["path as id", "no id", "number as status", "path as file"],
)
def test_nonsense_about_a_batch_is_not_followed(server, make, told):
    server.endings = [Ending(polls=0, more=told)] * 3
    (outcome,) = ask(make(attempts=2), "a")
    assert isinstance(outcome, RequestFailedError | EndpointError)
    assert set(server.made.values()) == {1}


def test_progress_is_told_and_a_client_may_be_entered_again(make):
    told = []
    client = make(progress=told.append)
    ask(client, "a")
    ask(client, "b")
    assert told[-1].requests_sent == 2


def test_a_client_that_is_not_entered_says_so(make):
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(make().ask(question()))


def test_a_parameter_that_the_endpoint_refuses_is_left_out_when_it_is_asked_again(server, make, workspace):
    error = {"message": "Unsupported parameter: 'seed'", "param": "seed"}
    refusal = {"response": {"status_code": 400, "body": {"error": error}}}
    server.endings = [Ending(failures={0: refusal, 1: refusal})]
    client = make(submissions=1)
    first, second = ask(client, "a", "b")
    assert first.text
    assert second.text
    assert "seed" in server.requests_of("batch_0")[0]["body"]
    assert "seed" not in server.requests_of("batch_1")[0]["body"]
    assert Requests(workspace).get(first.request_id)["left_out"] == ["seed"]
    assert "no_seed" in first.unpromised


def test_a_schema_that_the_endpoint_refuses_goes_out_in_words_when_it_is_asked_again(server, make, workspace):
    error = {"message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported"}
    refusal = {"response": {"status_code": 400, "body": {"error": error}}}
    server.endings = [Ending(failures={0: refusal, 1: refusal})]
    client = make()

    async def both():
        async with client:
            requests = [question(text, schema={"type": "object"}) for text in "ab"]
            return await asyncio.gather(*map(client.ask, requests))

    replies = asyncio.run(both())
    forms = [one["body"]["response_format"]["type"] for batch in server.batches for one in server.requests_of(batch)]
    assert forms == ["json_schema"] * 2 + ["json_object"] * 2
    assert {reply.structured for reply in replies} == {"json_object"}
    assert Requests(workspace).get(replies[0].request_id)["structured"] == "json_object"


def test_an_endpoint_that_only_fails_is_given_up(server, make):
    broken = {"response": {"status_code": 400, "body": {"error": {"message": "unsupported model"}}}}
    server.endings = [Ending(failures=dict.fromkeys(range(3), broken))]
    outcomes = ask(make(give_up_after=3), "a", "b", "c")
    assert all(isinstance(outcome, EndpointError) for outcome in outcomes)
    assert "unsupported model" in str(outcomes[0])


def test_what_breaks_a_store_reaches_whoever_asked(make, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Requests, "put", full)
    (outcome,) = ask(make(), "a")
    assert isinstance(outcome, OSError)
