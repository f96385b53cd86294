"""The chat server with a script of faults, which bills like the meanest provider that keeps to its own prices.

It bills every prompt by its bytes, a reply that arrives by its tokens, and the longest reply there may be for whatever
goes wrong after a model may have answered. What it turns away at the door (429, 400) costs nothing.
"""

import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evenly.descriptions.chat.endpoint import Prices
from tests.chat_server import Answer, TinyServer

PRICES = Prices(prompt_usd=1.0, completion_usd=4.0)
REPLY_TOKENS = 20
HANG_S = 6.0
TEXT = json.dumps({"features": ["has a long striped tail", "has four short legs", "has thick orange fur"]})

# What each fault answers. `billed` says whether a model ran, `received` whether the whole reply arrives.
FAULTS: dict[str, tuple[Answer, bool, bool]] = {
    "good": (TinyServer.completion(TEXT), True, True),
    "wrong_schema": (TinyServer.completion('{"features": "a tail"}'), True, True),
    "not_json": (TinyServer.completion('{"features": ["has a ta'), True, True),
    "truncated": (TinyServer.completion('{"features": ["has a ta', finish_reason="length"), True, True),
    "refusal": (TinyServer.completion(None, refusal="I cannot help with that."), True, True),
    "content_filter": (TinyServer.completion("", finish_reason="content_filter"), True, True),
    "long": (TinyServer.completion("tail " * 200_000), True, True),
    "odd_type": (replace(TinyServer.completion(TEXT), headers={"content-type": "text/plain"}), True, True),
    "surrogates": (TinyServer.completion('{"features": ["has a tail \\ud83d", "has fur", "has legs"]}'), True, True),
    "rate_limit": (TinyServer.failure(429, retry_after="0.02"), False, False),
    "bad_request": (TinyServer.failure(400, "no"), False, False),
    "server_error": (TinyServer.failure(500), True, False),
    "gateway_timeout": (TinyServer.failure(504), True, False),
    "request_timeout": (TinyServer.failure(408), True, False),
    "hang": (replace(TinyServer.completion(TEXT), delay_s=HANG_S), True, False),
    "cut": (Answer(cut=True), True, False),
    "cut_body": (replace(TinyServer.completion(TEXT), sent=40), True, False),
    "half_json": (replace(TinyServer.completion(TEXT), body=TinyServer.completion(TEXT).body[:60]), True, False),
    "html": (Answer(body="<html>busy</html>", headers={"content-type": "text/html"}), True, False),
    "no_choices": (Answer(body=json.dumps({"object": "chat.completion", "choices": []})), True, False),
    "huge": (Answer(headers={"content-length": str(10**12)}), True, False),
}
LOST = sorted(name for name, (_, billed, received) in FAULTS.items() if billed and not received)
FREE = sorted(name for name, (_, billed, _) in FAULTS.items() if not billed)
RECEIVED = sorted(name for name, (_, _, received) in FAULTS.items() if received)


@dataclass
class Faults:
    """`server.answer`: the scripted faults in the order in which requests come, good answers after their end."""

    script: Iterable[str] = ()
    prices: Prices = PRICES
    refuses: tuple[str, ...] = ()  # of response_format json_schema, json_object, and names of parameters
    billed_usd: float = 0.0
    lost_usd: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.script = deque(self.script)

    def __call__(self, request: Mapping[str, Any], _before: int) -> Answer:
        with self.lock:
            if (refused := self._refused(request)) is not None:
                return TinyServer.failure(400, f"Unsupported parameter: '{refused}' is not supported by this model.")
            fault = self.script.popleft() if self.script else "good"
            answer, billed, received = FAULTS[fault]
            content = content_of(request)
            self.asked[content] += 1
            self.served[fault] += 1
            usage = {"prompt_tokens": prompt_tokens(request), "completion_tokens": REPLY_TOKENS}
            if billed and not received:
                usage["completion_tokens"] = request["max_tokens"]
                self.lost_usd += self.prices.cost(**usage)
            if billed:
                self.billed_usd += self.prices.cost(**usage)
        if not received:
            return answer
        body = json.loads(answer.body)
        return replace(answer, body=json.dumps(body | {"usage": usage}))

    def _refused(self, request: Mapping[str, Any]) -> str | None:
        form = request.get("response_format", {}).get("type")
        if form in self.refuses:
            return "response_format"
        return next((name for name in self.refuses if name in request), None)


def content_of(request: Mapping[str, Any]) -> str:
    """What a request asks, and which sample of it, in whatever form it is put."""
    return json.dumps([request["messages"][-1]["content"], request.get("seed")])


def prompt_tokens(request: Mapping[str, Any]) -> int:
    """The most tokens that a prompt can have: one for each byte of messages and schema, and what templates add."""
    messages = request["messages"]
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
    text = "".join(message["content"] for message in messages) + ("" if schema is None else json.dumps(schema))
    return len(text.encode()) + 4 * len(messages) + 60
