"""Lists of texts read out of a whole reply that should be JSON, of which nothing is trusted."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evenly.descriptions.texts.checks import is_refusal

MAX_REPLY_CHARACTERS = 20_000
_DECODER = json.JSONDecoder()
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
    return _strings(read_object(reply, outcome=outcome).get(key), fewest=1, most=most)


def read_lists(reply: str, *, keys: Sequence[str], outcome: str = "reply", most: int = 20) -> dict[str, list[str]]:
    """The strings of the lists under `keys`, in this order; those that are not there or empty are left out.

    Other keys do not count. No string at all, more than `most` under a key, or another shape: UnreadableReplyError.
    """
    value = read_object(reply, outcome=outcome)
    lists = {key: _strings(value[key], fewest=0, most=most) for key in keys if key in value}
    if not any(lists.values()):
        raise UnreadableReplyError("wrong_schema")
    return {key: strings for key, strings in lists.items() if strings}


def read_records(
    reply: str, *, key: str, fields: Sequence[str], outcome: str = "reply", most: int = 20
) -> list[tuple[str, ...]]:
    """The strings under `fields` of each object in the list under `key`.

    Any shape but {key: [{field: string}]} with 1 to `most` objects raises UnreadableReplyError; more fields are fine.
    """
    objects = read_object(reply, outcome=outcome).get(key)
    if not isinstance(objects, list) or not 1 <= len(objects) <= most:
        raise UnreadableReplyError("wrong_schema")
    rows = [[entry.get(name) for name in fields] if isinstance(entry, dict) else [] for entry in objects]
    return [tuple(_strings(row, fewest=len(fields), most=len(fields))) for row in rows]


def read_object(reply: str, *, outcome: str = "reply") -> dict[str, Any]:
    """The JSON object that a reply is, perhaps in a code fence; all else raises UnreadableReplyError."""
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
    if not isinstance(value, dict):
        raise UnreadableReplyError("wrong_schema")
    return value


def only_object(reply: str) -> str:
    """The one JSON object in a reply, where code fences or words stand around it; else the reply as it is.

    For endpoints that were only asked for JSON in words. Two objects beside each other are one too many, since nobody
    can tell which was meant. Empty ones do not count.
    """
    objects: list[str] = []
    start = reply.find("{") if len(reply) <= MAX_REPLY_CHARACTERS else -1
    while start >= 0:
        try:
            value, end = _DECODER.raw_decode(reply, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if value:
                objects.append(reply[start:end])
        start = reply.find("{", end)
    return objects[0] if len(objects) == 1 else reply


def list_schema(key: str, *, fewest: int, most: int, pattern: str | None = None) -> dict[str, object]:
    """JSON schema of {key: [strings]}, within what strict structured output allows; `pattern` is a full match."""
    return object_schema({key: strings_schema(fewest=fewest, most=most, pattern=pattern)})


def strings_schema(*, fewest: int, most: int, pattern: str | None = None) -> dict[str, object]:
    """JSON schema of a list of strings, each a full match of `pattern`."""
    item: dict[str, object] = {"type": "string"} if pattern is None else {"type": "string", "pattern": f"^{pattern}$"}
    return {"type": "array", "items": item, "minItems": fewest, "maxItems": most}


def object_schema(properties: Mapping[str, object]) -> dict[str, object]:
    """JSON schema of an object with these properties, all of them and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _strings(value: object, *, fewest: int, most: int) -> list[str]:
    if not isinstance(value, list) or not fewest <= len(value) <= most:
        raise UnreadableReplyError("wrong_schema")
    strings = [text for text in value if isinstance(text, str)]
    if len(strings) != len(value):
        raise UnreadableReplyError("wrong_schema")
    return strings
