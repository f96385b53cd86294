"""Dialects: the form of request that an endpoint takes, learnt from refusals.

A reply is held to its JSON schema by the endpoint where it can do that, else by words in the prompt. The record of a
reply says which dialect was used.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from evenly.descriptions.chat.request import ChatRequest, Message

Structured = Literal["json_schema", "json_object", "text"]
"""From strict to weak: the endpoint holds the reply to the schema, to any JSON object, or to nothing."""

WEAKER: Mapping[Structured, Structured] = {"json_schema": "json_object", "json_object": "text"}


def schema_message(schema: Mapping[str, Any]) -> Message:
    """A system message with the JSON to answer with, for endpoints that do not take the schema."""
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


OPTIONAL = ("seed", "temperature", "frequency_penalty")
_FORMAT = re.compile(r"response[_ ]format|json_schema|json_object|structured[_ ]outputs?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The form in which requests are put to an endpoint. It is no part of the address of a request.

    `structured` is how a reply is held to its schema, `left_out` the sampling parameters that the endpoint refuses.
    """

    token_limit: str = "max_tokens"  # noqa: S105 - a name, no secret
    structured: Structured = "json_schema"
    left_out: frozenset[str] = frozenset()

    def arguments(self, request: ChatRequest, *, model: str) -> dict[str, Any]:
        """Keyword arguments of an OpenAI chat completion, with pictures by name: picture.load_pictures."""
        arguments = request.parameters() | {"model": model, self.token_limit: request.sampling.max_tokens}
        for name in self.left_out:
            arguments.pop(name, None)
        if request.schema is not None and self.structured != "json_schema":
            del arguments["response_format"]
            if (form := response_format(request.schema, self.structured)) is not None:
                arguments["response_format"] = form
            arguments["messages"] = [schema_message(request.schema).sent(), *arguments["messages"]]
        return arguments

    def without(self, refused: Collection[str], *, used: "Dialect") -> "Dialect":
        """The dialect that is left after a request in `used` was refused for these parameters.

        Requests in flight together are refused together: one step is taken for all of them.
        """
        changed = replace(self, left_out=self.left_out | {name for name in OPTIONAL if name in refused})
        if "response_format" in refused and self.structured == used.structured:
            changed = replace(changed, structured=WEAKER.get(self.structured, self.structured))
        if "max_tokens" in refused and used.token_limit in refused:
            changed = replace(changed, token_limit="max_completion_tokens")  # noqa: S106 - a name, no secret
        return changed

    def facts(self, request: ChatRequest) -> dict[str, Any]:
        """The fields of a reply's record: `structured` (None for free text) and `left_out`, sorted."""
        parameters = request.parameters()
        return {
            "structured": None if request.schema is None else self.structured,
            "left_out": sorted(name for name in self.left_out if name in parameters),
        }


def refused_parameters(message: str, parameter: str | None) -> frozenset[str]:
    """The parameters that an answer of status 400 or 422 refuses: the one that it names as such, or all it quotes.

    A message may repeat what was asked, so that a word alone, such as seed, does not count.
    """
    named = {name for name in (*OPTIONAL, "max_tokens") if name == parameter or _quotes(message, name)}
    if _FORMAT.search(parameter or "") or _FORMAT.search(message):
        named.add("response_format")
    return frozenset(named)


def unpromised(request: ChatRequest, left_out: Collection[str], *, fingerprint: str | None) -> tuple[str, ...]:
    """Reasons why a reply cannot be drawn again exactly; sorted.

    no_seed: none was sent. temperature_above_0, temperature_unknown: the endpoint draws. no_fingerprint: it does not
    say which weights and software answered, so that a change of them goes unseen.
    """
    sampling = request.sampling
    reasons = set()
    if sampling.seed is None or "seed" in left_out:
        reasons.add("no_seed")
    if sampling.temperature is None or "temperature" in left_out:
        reasons.add("temperature_unknown")
    elif sampling.temperature > 0:
        reasons.add("temperature_above_0")
    if not fingerprint:
        reasons.add("no_fingerprint")
    return tuple(sorted(reasons))


def _quotes(message: str, name: str) -> bool:
    return re.search(rf"['\"`]{name}['\"`]|\b(?:parameter|argument|field|body)s?[ .:]+{name}\b", message) is not None
