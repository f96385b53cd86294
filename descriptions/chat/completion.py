"""Chat completions read out of JSON that nobody vouches for, and the records that are stored of them."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenly.redaction import without_secrets_in

MOST_TOKENS = 10**9  # more are no count but an overflow


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A reply: text ("" if there is none), outcome (reply, refusal or truncated), tokens, and who says it answered.

    `tokens_told` is False where a number of tokens is missing or nonsense, and counts as 0.
    """

    text: str
    outcome: str
    prompt_tokens: int
    completion_tokens: int
    tokens_told: bool
    model: str
    fingerprint: str | None

    @property
    def usage(self) -> dict[str, int]:
        """Tokens as Prices.cost takes them."""
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}


def read_completion(body: object) -> Completion | None:
    """The first choice of the JSON of a chat completion, without known secrets; None for anything else.

    Halves of surrogate pairs, which JSON can hold and files cannot, become question marks.
    """
    body = without_secrets_in(body)
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(body, dict) or not isinstance(choice, dict) or not isinstance(message, dict):
        return None
    content, refusal = message.get("content"), message.get("refusal")
    if not all(isinstance(text, str | None) for text in (content, refusal)):
        return None
    finish = choice.get("finish_reason")
    prompt, reply = (_tokens(body.get("usage"), name) for name in ("prompt_tokens", "completion_tokens"))
    fingerprint = body.get("system_fingerprint")
    return Completion(
        text=storable(content or refusal or ""),
        outcome="refusal" if refusal or finish == "content_filter" else "truncated" if finish == "length" else "reply",
        prompt_tokens=prompt or 0,
        completion_tokens=reply or 0,
        tokens_told=prompt is not None and reply is not None,
        model=storable(str(body.get("model", "")))[:200],
        fingerprint=None if fingerprint is None else storable(str(fingerprint))[:200],
    )


def reply_record(
    request_id: str,
    content: Mapping[str, Any],
    completion: Completion,
    *,
    cost_usd: float,
    attempts: int,
    seconds: float,
) -> dict[str, Any]:
    """The record of a reply to the request of this content; `seconds` from sending to receipt, `time` is now in UTC."""
    return {
        "request_id": request_id,
        "request": dict(content),
        "reply": completion.text,
        "outcome": completion.outcome,
        "usage": completion.usage,
        "cost_usd": cost_usd,
        "answered_by": {"model": completion.model, "fingerprint": completion.fingerprint},
        "attempts": attempts,
        "seconds": round(seconds, 3),
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
    }


def storable(text: str) -> str:
    """The text with every lone surrogate replaced by a question mark, so that it can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _tokens(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None
