"""How a reply is held to its JSON schema: by the endpoint where it can, else by words in the prompt."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from evenly.descriptions.chat.request import Message

Structured = Literal["json_schema", "json_object", "text"]
"""From strict to weak: the endpoint holds the reply to the schema, to any JSON object, or to nothing."""

WEAKER: Mapping[Structured, Structured] = {"json_schema": "json_object", "json_object": "text"}


def schema_message(schema: Mapping[str, Any]) -> Message:
    """A system message that says what JSON to answer with, for endpoints that do not take the schema."""
    rule = json.dumps(dict(schema), ensure_ascii=False, separators=(",", ":"))
    return Message(
        role="system",
        content=f"Answer with one JSON object and nothing else, no code fence and no other words. Its schema:\n{rule}",
    )


def response_format(schema: Mapping[str, Any], structured: Structured) -> dict[str, Any] | None:
    """The value of `response_format`; None for `text`."""
    if structured == "json_schema":
        return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": dict(schema)}}
    return {"type": "json_object"} if structured == "json_object" else None
