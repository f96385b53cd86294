"""Endpoints that do not take all that is asked: what they refuse is left out, once for all, and said in the record."""

import asyncio
import json

import pytest

from evenly.descriptions.chat.dialect import Dialect, refused_parameters, unpromised
from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.describe import describe
from evenly.descriptions.methods.description import Description
from tests.faulty_server import Faults

SCHEMA = {"type": "object", "properties": {"features": {"type": "array"}}}


def question(text="What?", **more):
    return ChatRequest(messages=(Message(role="user", content=text),), schema=SCHEMA, **more)


def ask(client, *requests):
    async def all_of_them():
        async with client:
            return await asyncio.gather(*(client.ask(request) for request in requests), return_exceptions=True)

    return asyncio.run(all_of_them())


def form_of(request):
    return request.get("response_format", {}).get("type", "text")


@pytest.mark.parametrize(
    ("refuses", "forms"),
    [
        ((), ["json_schema"]),
        (("json_schema",), ["json_schema", "json_object"]),
        (("json_schema", "json_object"), ["json_schema", "json_object", "text"]),
    ],
)
def test_a_refused_schema_goes_out_in_words_and_the_endpoint_is_remembered(server, client, replies, refuses, forms):
    server.answer = Faults(refuses=refuses)
    client.concurrency = 1
    first, *others = ask(client, *(question(text) for text in "abc"))
    assert [form_of(request) for request in server.requests] == [*forms, forms[-1], forms[-1]]
    assert client.counts.requests_sent == 3
    assert client.counts.failed == client.counts.lost_attempts == 0
    assert {reply.structured for reply in (first, *others)} == {forms[-1]}
    assert replies.get(first.request_id)["structured"] == forms[-1]
    schema_in_words = json.dumps(SCHEMA, separators=(",", ":"))
    assert (schema_in_words in server.requests[-1]["messages"][0]["content"]) == (forms[-1] != "json_schema")


def test_requests_refused_together_take_one_step_together(server, client):
    server.answer = Faults(refuses=("json_schema",))
    client.concurrency = 8
    assert all(reply.structured == "json_object" for reply in ask(client, *(question(str(n)) for n in range(16))))
    assert "text" not in map(form_of, server.requests)


def test_a_stored_reply_counts_in_whatever_form_it_was_asked(server, client):
    server.answer = Faults(refuses=("json_schema", "json_object"))
    ask(client, question())
    server.answer = Faults()
    (reply,) = ask(client, question())
    assert reply.cached
    assert server.answer.asked.total() == 0


def test_json_among_words_is_read_where_no_schema_was_enforced(server, client):
    said = 'Sure! Here it is:\n```json\n{"features": ["has a long striped tail"]}\n```\nAnything else?'
    faults = Faults(refuses=("json_schema", "json_object"))

    def answer(request, before):
        refused = faults(request, before)
        return refused if refused.status == 400 else server.completion(said)

    server.answer = answer
    found = describe(parse_class_list("cat", "pets"), methods=(Description(),), client=client, samples=1)
    assert found.summary()["accepted"] == 1
    assert found.summary()["structured"] == {"text": 1}


@pytest.mark.parametrize("name", ["seed", "temperature", "frequency_penalty"])
def test_a_refused_parameter_is_left_out_and_the_reply_says_what_is_not_promised(server, client, replies, name):
    server.answer = Faults(refuses=(name,))
    client.concurrency = 1
    sampling = Sampling(temperature=0.5, frequency_penalty=0.1, seed=3)
    first, second = ask(client, question("a", sampling=sampling), question("b", sampling=sampling))
    assert [name in request for request in server.requests] == [True, False, False]
    assert replies.get(second.request_id)["left_out"] == [name]
    assert ("no_seed" in first.unpromised) == (name == "seed")
    assert ("temperature_unknown" in first.unpromised) == (name == "temperature")


def test_the_older_name_of_the_token_limit_is_replaced_where_it_is_refused(server, client):
    def answer(request, _before):
        said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
        return server.failure(400, said) if "max_tokens" in request else server.good()

    server.answer = answer
    (reply,) = ask(client, question())
    assert reply.text
    assert server.requests[-1]["max_completion_tokens"] == 300


def test_an_endpoint_that_refuses_all_forms_fails_the_request_and_is_not_asked_for_ever(server, client):
    server.answer = lambda _request, _before: server.failure(400, "response_format is not supported")
    (outcome,) = ask(client, question())
    assert outcome.reason == "http_400"
    assert list(map(form_of, server.requests)) == ["json_schema", "json_object", "text"]


@pytest.mark.parametrize("name", ["seed", "temperature of a json_schema", "'seed'"])
def test_a_class_named_like_a_parameter_can_at_worst_weaken_the_form(server, client, name):
    said = f"cannot process {name}"
    server.answer = lambda request, _before: (
        server.failure(400, said) if name in request["messages"][-1]["content"] else server.good()
    )
    found = describe(parse_class_list(f"{name}\ncat", "odd"), methods=(Description(),), client=client, samples=1)
    assert found.texts("description")["cat"]
    assert found.summary()["failed"] == {"http_400": 1}


@pytest.mark.parametrize(
    ("message", "parameter", "refused"),
    [
        ("Unsupported parameter: 'seed' is not supported", None, {"seed"}),
        ("no", "temperature", {"temperature"}),
        ("extra fields not permitted: body.seed", None, {"seed"}),
        ("This model does not support structured outputs", None, {"response_format"}),
        ("Invalid response_format type", None, {"response_format"}),
        ("the seed of a melon is no animal", None, set()),
        ("context length exceeded", None, set()),
    ],
)
def test_what_a_message_refuses(message, parameter, refused):
    assert refused_parameters(message, parameter) == refused


def test_a_later_refusal_of_what_is_left_out_already_changes_nothing():
    first = Dialect()
    second = first.without({"response_format"}, used=first)
    assert second.structured == "json_object"
    assert second.without({"response_format"}, used=first) == second


def test_a_reply_at_temperature_zero_with_seed_and_fingerprint_is_promised():
    request = question(sampling=Sampling(temperature=0.0))
    assert unpromised(request, [], fingerprint="f") == ()
    assert unpromised(request, ["seed"], fingerprint=None) == ("no_fingerprint", "no_seed")
