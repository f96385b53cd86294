"""What an endpoint echoes of the key: no error, no record and no log holds it."""

import asyncio
import json
import traceback

import pytest

from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.errors import DescriptionsError
from tests.echoes import GOOD_ANSWERS, KEY, STATUSES, error_answers, leaks

ERRORS = [(status, name) for status in STATUSES for name in error_answers(status)]


@pytest.fixture
def ask(server, replies, monkeypatch):
    """What is raised for a request, with all that led to it, and its stored record, as one text."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(answer):
        server.answer = lambda _request, _before: answer(server.headers[-1]["authorization"])
        client = ChatClient(server.endpoint, store=replies, retries=RetryRule(attempts=1, timeout_s=5.0))

        async def once():
            async with client:
                return await client.ask(ChatRequest(messages=(Message(role="user", content="What?"),)))

        try:
            shown = repr(asyncio.run(once()))
        except DescriptionsError as error:
            shown = "".join(traceback.format_exception(error))
        assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
        return f"{shown}\n{json.dumps(replies.records)}\n{list(replies.records.values())}"

    return run


@pytest.mark.parametrize(("status", "name"), ERRORS)
def test_an_error_that_repeats_the_key_is_told_without_it(ask, status, name):
    assert leaks(ask(error_answers(status)[name])) == []


@pytest.mark.parametrize("name", GOOD_ANSWERS)
def test_a_reply_that_repeats_the_key_is_stored_without_it(ask, name):
    assert leaks(ask(GOOD_ANSWERS[name])) == []


def test_a_reply_without_the_key_says_what_stood_there_and_is_replayed(ask, replies):
    ask(GOOD_ANSWERS["content"])
    (record,) = replies.records.values()
    assert json.loads(record["reply"])["features"][0] == "has a <OPENAI_API_KEY> long tail"
    assert "<OPENAI_API_KEY> long tail" in ask(lambda _sent: pytest.fail("it was asked again"))
