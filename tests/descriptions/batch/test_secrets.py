"""What an endpoint of batches echoes of the key: no error, no record, no line and no journal holds it."""

import asyncio
import json
import traceback

import pytest

from evenly.descriptions.batch.submission import BatchPace
from evenly.descriptions.chat.request import ChatRequest, Message
from evenly.storage.chat.requests import Batches, Requests
from tests.batch_server import Ending, Fault, batch_client, completion, serving
from tests.echoes import KEY, files_with, leaks

FAST = BatchPace(first_s=0.01, longest_s=0.02, listed_after_s=0.0)
ID_KEY = "sk-live-9f27c0ffee51deb00b"
"""A key that could be the id of a batch."""
ECHO = {"message": f"you sent Bearer {KEY}", "code": KEY, "param": KEY}
REFUSED = {"status_code": 400, "body": {"error": ECHO}}
SCRIPTS = {
    "content": {"answer": lambda _body: completion(json.dumps({"features": [KEY]}), model=KEY)},
    "failed": {"endings": [Ending(status="failed", polls=0, errors=[{**ECHO, "line": 1}])] * 9},
    "failed_whole": {"endings": [Ending(status="failed", polls=0, errors=[ECHO])] * 9},
    "status": {"endings": [Ending(polls=0, more={"status": KEY})] * 9},
    "line": {"endings": [Ending(polls=0, failures={0: {"error": ECHO}})] * 9},
    "body": {"endings": [Ending(polls=0, failures={0: {"response": REFUSED}})] * 9},
    "id": {"endings": [Ending(polls=0, more={"id": ID_KEY})] * 9},
    "files": {"endings": [Ending(polls=0, more={"output_file_id": KEY, "error_file_id": KEY})] * 9},
    **{
        f"{call}_{status}": {"faults": [Fault(at=call, status=status, error=ECHO)] * 9}
        for call in ("upload", "create", "retrieve", "content")
        for status in (400, 401, 402, 404, 429, 500)
    },
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_batch_endpoint_repeats_is_told_and_stored_without_the_key(name, workspace, monkeypatch):
    key = ID_KEY if name == "id" else KEY
    monkeypatch.setenv("OPENAI_API_KEY", key)
    for module in ("endpoint", "client"):
        monkeypatch.setattr(f"evenly.descriptions.batch.{module}.pause_s", lambda **_options: 0.0)
    lines = []
    with serving() as server:
        server.endings = [Ending(polls=0)] * 9
        for field, value in SCRIPTS[name].items():
            setattr(server, field, value)
        options = {"quiet_s": 0.02, "pace": FAST, "timeout_s": 5.0, "attempts": 2, "class_list": "pets"}
        client = batch_client(server.endpoint, Requests(workspace), Batches(workspace), say=lines.append, **options)

        async def once():
            async with client:
                question = ChatRequest(messages=(Message(role="user", content="What?"),))
                return await asyncio.wait_for(asyncio.gather(client.ask(question), return_exceptions=True), 3)

        try:
            (answer,) = asyncio.run(once())
        except TimeoutError as error:  # of a status that no batch has: it is looked at until someone stops it
            answer = error
        assert server.keys == {f"Bearer {key}"}
    shown = "".join(traceback.format_exception(answer)) if isinstance(answer, Exception) else repr(answer)
    assert leaks(f"{shown}\n{lines}", key) == [*files_with(workspace.root, key)] == []
