import pytest

from evenly.descriptions.batch.intents import BatchState, Intent, batch_states, create_intent, intent_id, open_states
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.storage.chat.requests import Batches

ENDPOINT = Endpoint(base_url="https://x.test/v1", model="m")
REQUESTS = {
    one: ChatRequest(messages=(Message(role="user", content=one),)).content(identity=ENDPOINT.identity, model="m")
    for one in ("b", "a", "c")
}


def make(store, requests=REQUESTS, endpoint=ENDPOINT):
    return create_intent(store, requests, endpoint=endpoint, class_list="pets", prices=Prices(prompt_usd=1.0))


def test_an_intent_is_named_by_what_is_asked_of_whom_in_any_order():
    name = intent_id(["a", "b"], endpoint=ENDPOINT)
    assert name == intent_id(["b", "a"], endpoint=ENDPOINT)
    others = [
        intent_id(["a"], endpoint=ENDPOINT),
        intent_id(["a", "b"], endpoint=Endpoint(base_url="https://y.test/v1", model="m")),
        intent_id(["a", "b"], endpoint=Endpoint(base_url="https://x.test/v1", model="n")),
        intent_id(["a", "b"], endpoint=ENDPOINT, earlier=1),
    ]
    assert len({name, *others}) == 5
    assert len(name) == 64


def test_an_intent_survives_as_it_was(workspace):
    state = make(Batches(workspace))
    assert list(batch_states(Batches(workspace))) == [state]
    assert state.request_ids == ("b", "a", "c")
    assert Batches(workspace).requests(state.intent.id) == REQUESTS


def test_the_same_requests_again_are_another_intent(workspace):
    store = Batches(workspace)
    first, second = make(store), make(store)
    assert first.intent.id == intent_id(REQUESTS, endpoint=ENDPOINT)
    assert second.intent.id == intent_id(REQUESTS, endpoint=ENDPOINT, earlier=1)


def test_only_what_has_not_ended_at_this_endpoint_is_open(workspace):
    store = Batches(workspace)
    kept = make(store)
    for requests, end in (({"a": REQUESTS["a"]}, "collected"), ({"b": REQUESTS["b"]}, "dropped")):
        store.append(make(store, requests).intent.id, {"kind": end, "time": kept.intent.time})
    make(store, endpoint=Endpoint(base_url="https://y.test/v1", model="m"))
    assert open_states(store, ENDPOINT) == [kept]


@pytest.fixture
def state():
    intent = Intent(
        id="0" * 64,
        class_list="pets",
        base_url=ENDPOINT.base_url,
        endpoint=ENDPOINT.identity,
        model="m",
        prices=Prices(),
        request_ids=("a", "b", "c"),
        time="2026-01-01T00:00:00.000+00:00",
    )
    return BatchState(intent=intent)


def test_events_tell_what_has_become_of_it(state):
    assert (state.status, state.batch_id, state.ended) == ("not submitted", None, False)
    state = state.after({"kind": "narrowed", "left_out": ["b"]}).after({"kind": "narrowed", "left_out": ["c"]})
    assert state.request_ids == ("a",)
    dialect = {"token_limit": "max_tokens", "structured": "text", "left_out": ["seed"]}
    state = state.after({"kind": "uploaded", "dialect": dialect})
    assert state.dialect == Dialect(structured="text", left_out=frozenset({"seed"}))
    state = state.after({"kind": "created", "batch_id": "x", "time": "2026-01-01T00:00:01.000+00:00"})
    assert (state.status, state.batch_id) == ("submitted", "x")
    assert state.submitted_at.second == 1
    state = state.after({"kind": "polled", "status": "in_progress", "counts": {"completed": 1}})
    assert (state.status, state.counts) == ("in_progress", {"completed": 1})
    assert state.after({"kind": "collected"}).ended
    assert state.after({"kind": "dropped"}).status == "dropped"
