import asyncio
import socket
import time
from typing import NoReturn

import pytest

from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.errors import EndpointError, RequestFailedError


def question(text="What?", **more):
    return ChatRequest(messages=(Message(role="user", content=text),), **more)


def ask(client, *requests: ChatRequest):
    async def all_of_them():
        async with client:
            return await asyncio.gather(*(client.ask(request) for request in requests), return_exceptions=True)

    return asyncio.run(all_of_them())


def test_a_reply_is_stored_with_request_usage_cost_outcome_and_time(server, replies):
    client = ChatClient(server.endpoint, store=replies, prices=Prices(prompt_usd=1.0, completion_usd=2.0))
    (reply,) = ask(client, question())
    record = replies.get(reply.request_id)
    assert record["reply"] == reply.text != ""
    assert record["request"]["messages"] == [{"role": "user", "content": "What?"}]
    assert record["request"]["endpoint"] == server.url
    assert record["usage"] == {"prompt_tokens": 10, "completion_tokens": 20}
    assert record["cost_usd"] == pytest.approx(50e-6)
    assert record["outcome"] == "reply"
    assert record["answered_by"] == {"model": "tiny-2026", "fingerprint": "f1"}
    assert record["attempts"] == 1
    assert record["time"].endswith("+00:00")
    assert client.counts.cost_usd == pytest.approx(50e-6)


def test_the_schema_goes_out_as_a_json_schema_response_format(server, client):
    ask(client, question(schema={"type": "object"}))
    assert server.requests[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": True, "schema": {"type": "object"}},
    }


def test_a_stored_reply_is_never_requested_again(server, client):
    first = ask(client, question("a"), question("b"))
    second = ask(client, question("a"), question("b"))
    assert len(server.requests) == 2
    assert [reply.text for reply in second] == [reply.text for reply in first]
    assert all(reply.cached for reply in second)
    assert client.counts.requests_sent == client.counts.cache_hits == 2


def test_equal_requests_at_the_same_time_are_sent_once(server, client):
    server.answer = lambda _request, _before: server.completion("{}")
    replies = ask(client, *[question()] * 5)
    assert len(server.requests) == 1
    assert sum(reply.cached for reply in replies) == 4


def test_equal_requests_at_the_same_time_each_learn_of_the_failure(server, client):
    server.answer = lambda _request, _before: server.failure(400)
    outcomes = ask(client, *[question()] * 3)
    assert all(isinstance(outcome, RequestFailedError) for outcome in outcomes)


def test_no_more_requests_run_at_once_than_allowed(server, replies):
    server.answer = lambda _request, _before: replace_delay(server.good())
    client = ChatClient(server.endpoint, store=replies, concurrency=2)
    ask(client, *(question(str(number)) for number in range(8)))
    assert server.most_running == 2


def replace_delay(answer, seconds=0.03):
    return type(answer)(status=answer.status, body=answer.body, headers=answer.headers, delay_s=seconds)


def test_retry_after_is_kept_by_all_requests(server, client):
    def answer(_request, _before):
        return server.failure(429, retry_after="0.6") if len(server.requests) == 1 else server.good()

    server.answer = answer
    started = time.monotonic()
    (reply,) = ask(client, question())
    assert time.monotonic() - started >= 0.6
    assert reply.text
    assert client.counts.attempts == 2
    assert client.counts.requests_sent == 1


def test_a_retry_after_beyond_patience_gives_the_request_up_at_once(server, client):
    server.answer = lambda _request, _before: server.failure(429, retry_after="3600")
    (outcome,) = ask(client, question())
    assert isinstance(outcome, RequestFailedError)
    assert outcome.reason == "http_429"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_passing_failures_are_tried_again(server, client, status):
    server.answer = lambda _request, before: server.good() if before else server.failure(status)
    (reply,) = ask(client, question())
    assert not reply.cached
    assert len(server.requests) == 2


def test_a_connection_that_breaks_is_tried_again(server, client):
    server.answer = lambda _request, before: server.good() if before else type(server.good())(cut=True)
    (reply,) = ask(client, question())
    assert reply.text


def test_a_body_that_is_no_completion_is_tried_again(server, client):
    bodies = ["{", "{}", "<html>"]
    server.answer = lambda _request, before: type(server.good())(body=bodies[before])
    (outcome,) = ask(client, question())
    assert outcome.reason == "bad_body"
    assert len(server.requests) == 3


def test_a_request_out_of_attempts_fails_alone_and_is_asked_again_next_time(server, client, replies):
    server.answer = lambda request, _before: (
        server.failure(500) if "bad" in request["messages"][0]["content"] else server.good()
    )
    good, bad = ask(client, question("good"), question("bad"))
    assert good.text
    assert isinstance(bad, RequestFailedError)
    assert bad.reason == "http_500"
    assert len(replies.records) == 1
    server.answer = lambda _request, _before: server.good()
    assert all(reply.text for reply in ask(client, question("good"), question("bad")))
    assert client.counts.failed == 1


def test_a_slow_reply_times_out(server, replies):
    server.answer = lambda _request, _before: replace_delay(server.good(), 0.5)
    client = ChatClient(server.endpoint, store=replies, retries=RetryRule(timeout_s=0.1, attempts=1))
    (outcome,) = ask(client, question())
    assert outcome.reason == "timeout"


def test_a_refused_connection_is_one_clear_line(replies):
    client = ChatClient(Endpoint(base_url="http://127.0.0.1:9/v1", model="m"), store=replies)
    started = time.monotonic()
    (outcome,) = ask(client, question())
    assert isinstance(outcome, EndpointError)
    assert time.monotonic() - started < 2
    assert "http://127.0.0.1:9/v1" in str(outcome)
    assert "Check `base_url`" in str(outcome)
    assert "\n" not in str(outcome)
    assert outcome.passing  # a server that starts


def test_a_host_that_has_no_address_does_not_pass(replies, monkeypatch):
    def look_up(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    client = ChatClient(Endpoint(base_url="http://no-such-host.invalid/v1", model="m"), store=replies)
    (outcome,) = ask(client, question())
    assert isinstance(outcome, EndpointError)
    assert not outcome.passing


def test_a_refused_key_is_one_clear_line_without_the_key(server, replies, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.answer = lambda _request, _before: server.failure(401, "Incorrect API key provided: sk-very-secret")
    (outcome,) = ask(ChatClient(server.endpoint, store=replies), question())
    assert isinstance(outcome, EndpointError)
    assert "OPENAI_API_KEY" in str(outcome)
    assert "secret" not in str(outcome)
    assert len(server.requests) == 1
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(404, "model_not_found", "'tiny'"), (429, "insufficient_quota", "credit"), (403, None, "key")],
)
def test_an_endpoint_of_no_use_is_given_up_at_once(server, client, status, code, said):
    server.answer = lambda _request, _before: server.failure(status, code=code)
    (outcome,) = ask(client, question())
    assert isinstance(outcome, EndpointError)
    assert said in str(outcome)
    assert not outcome.passing
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "passing"), [(400, False), (503, True)])
def test_an_endpoint_that_only_fails_is_given_up(server, replies, status, passing):
    server.answer = lambda _request, _before: server.failure(status, "unsupported parameter")
    client = ChatClient(server.endpoint, store=replies, concurrency=1, retries=RetryRule(give_up_after=3, attempts=1))
    outcomes = ask(client, *(question(str(number)) for number in range(3)))
    assert [type(outcome) for outcome in outcomes] == [RequestFailedError, RequestFailedError, EndpointError]
    assert outcomes[-1].passing == passing
    assert "unsupported parameter" in str(outcomes[-1])


def test_a_refusal_and_a_cut_reply_are_stored_as_such(server, client):
    answers = {
        "refuse": server.completion(None, refusal="I cannot."),
        "cut": server.completion('{"a', finish_reason="length"),
        "filter": server.completion("", finish_reason="content_filter"),
    }
    server.answer = lambda request, _before: answers[request["messages"][0]["content"]]
    replies = ask(client, question("refuse"), question("cut"), question("filter"))
    assert [reply.outcome for reply in replies] == ["refusal", "truncated", "refusal"]


def test_the_name_of_the_token_limit_can_be_chosen(server, replies):
    endpoint = Endpoint(base_url=server.url, model="tiny", token_limit="max_completion_tokens")  # noqa: S106
    ask(ChatClient(endpoint, store=replies), question())
    assert server.requests[0]["max_completion_tokens"] == 300
    assert "max_tokens" not in server.requests[0]


def test_no_proxy_stands_between_us_and_this_machine(client, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (reply,) = ask(client, question())
    assert reply.text


def test_progress_is_told_after_each_request(server, replies):
    told = []
    client = ChatClient(server.endpoint, store=replies, progress=told.append)
    ask(client, question("a"), question("b"))
    assert told[-1].requests_sent == 2
    assert told[-1].completion_tokens == 40


def test_a_client_that_is_not_entered_says_so(client):
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(client.ask(question()))
