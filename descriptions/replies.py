"""Reads a list of texts out of a whole reply that should be JSON, and trusts nothing about it."""

import json
import re

from descriptions.checks import is_refusal

MAX_REPLY_CHARACTERS = 20_000
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


class UnreadableReplyError(ValueError):
    """A reply that cannot be read; `reason` is one of empty, refusal, truncated, not_json, wrong_schema, too_long."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_list(reply: str, *, key: str, outcome: str = "reply", most: int = 20) -> list[str]:
    """The strings of the list under `key`, as they are. `outcome` is that of the reply (client.Reply).

    Any shape but {key: [strings]} with 1 to `most` strings raises UnreadableReplyError; a code fence around it is fine.
    """
    if outcome == "refusal" or is_refusal(reply[:200]):
        raise UnreadableReplyError("refusal")
    if not reply.strip():
        raise UnreadableReplyError("empty")
    if len(reply) > MAX_REPLY_CHARACTERS:
        raise UnreadableReplyError("too_long")
    fenced = _FENCE.match(reply)
    try:
        value = json.loads(fenced[1] if fenced else reply)
    except (ValueError, RecursionError) as error:
        raise UnreadableReplyError("truncated" if outcome == "truncated" else "not_json") from error
    texts = value.get(key) if isinstance(value, dict) else None
    if not isinstance(texts, list) or not 1 <= len(texts) <= most or not all(isinstance(text, str) for text in texts):
        raise UnreadableReplyError("wrong_schema")
    return texts


def list_schema(key: str, *, fewest: int, most: int, pattern: str | None = None) -> dict[str, object]:
    """JSON schema of {key: [strings]}, within what strict structured output allows; `pattern` is a full match."""
    item: dict[str, object] = {"type": "string"} if pattern is None else {"type": "string", "pattern": f"^{pattern}$"}
    return {
        "type": "object",
        "properties": {key: {"type": "array", "items": item, "minItems": fewest, "maxItems": most}},
        "required": [key],
        "additionalProperties": False,
    }
