import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.chat.request import ChatRequest, Message, Sampling, content_address

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def reversed_dicts(value):
    if isinstance(value, dict):
        return {key: reversed_dicts(value[key]) for key in reversed(value)}
    return [reversed_dicts(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_the_address_does_not_depend_on_the_order_of_dicts(content):
    assert content_address(reversed_dicts(content)) == content_address(content)


def test_the_address_depends_on_the_order_of_lists():
    assert content_address({"a": [1, 2]}) != content_address({"a": [2, 1]})


BASE = ChatRequest(messages=(Message(role="user", content="What?"),), schema={"type": "object"})


@pytest.mark.parametrize(
    "other",
    [
        ChatRequest(messages=(Message(role="user", content="What!"),), schema={"type": "object"}),
        ChatRequest(messages=(Message(role="system", content="What?"),), schema={"type": "object"}),
        ChatRequest(messages=BASE.messages),
        ChatRequest(messages=BASE.messages, schema={"type": "object"}, sample=1),
        ChatRequest(messages=BASE.messages, schema={"type": "object"}, sampling=Sampling(seed=1)),
        ChatRequest(messages=BASE.messages, schema={"type": "object"}, sampling=Sampling(max_tokens=1)),
        ChatRequest(messages=BASE.messages, schema={"type": "object"}, sampling=Sampling(temperature=0.1)),
        ChatRequest(messages=BASE.messages, schema={"type": "object"}, sampling=Sampling(frequency_penalty=1.0)),
    ],
)
def test_whatever_decides_the_reply_is_in_the_address(other):
    def address(request, identity="here", model="tiny"):
        return content_address(request.content(identity=identity, model=model))

    assert address(other) != address(BASE)
    assert address(BASE, identity="there") != address(BASE)
    assert address(BASE, model="large") != address(BASE)


def test_another_sample_sends_another_seed():
    request = ChatRequest(messages=BASE.messages, sampling=Sampling(seed=5), sample=2)
    assert request.parameters()["seed"] == 7


def test_parameters_that_are_none_are_not_sent():
    request = ChatRequest(messages=BASE.messages, sampling=Sampling(temperature=None, seed=None))
    assert set(request.parameters()) == {"messages"}
