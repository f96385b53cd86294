"""A request to a chat model, and the address of its content."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evenly.descriptions.chat.picture import ChatPicture, picture_parts


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation: text, and the pictures that it is about."""

    role: Literal["system", "user", "assistant"]
    content: str
    pictures: tuple[ChatPicture, ...] = ()

    def stored(self) -> dict[str, Any]:
        """The message as the address of a request has it, in JSON."""
        stored: dict[str, Any] = {"role": self.role, "content": self.content}
        return stored | ({"pictures": [picture.content() for picture in self.pictures]} if self.pictures else {})

    @staticmethod
    def of_stored(stored: Mapping[str, Any]) -> "Message":
        """The message of which `stored` gave this."""
        pictures = tuple(ChatPicture.of_content(picture) for picture in stored.get("pictures", ()))
        return Message(role=stored["role"], content=stored["content"], pictures=pictures)

    def sent(self) -> dict[str, Any]:
        """The message as an OpenAI chat completion takes it, with pictures by name."""
        content = picture_parts(self.content, self.pictures) if self.pictures else self.content
        return {"role": self.role, "content": content}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The parameters by which a reply is drawn. None leaves one out of the request, for endpoints that refuse it."""

    temperature: float | None = 0.7
    frequency_penalty: float | None = None
    max_tokens: int = 300
    seed: int | None = 0


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """Messages, the JSON schema the reply must follow (None: free text), sampling, and which of several samples it is.

    Equal requests have equal replies for us: to draw again, ask for another `sample`. The seed that is sent is
    `sampling.seed + sample`.
    """

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    sample: int = 0

    @property
    def pictures(self) -> tuple[ChatPicture, ...]:
        """The pictures of all messages."""
        return tuple(picture for message in self.messages for picture in message.pictures)

    def content(self, *, identity: str, model: str) -> dict[str, Any]:
        """All that decides the reply, as JSON-able values; `identity` and `model` say who is asked."""
        return {
            "endpoint": identity,
            "model": model,
            "messages": [message.stored() for message in self.messages],
            "schema": self.schema,
            "sampling": {
                "temperature": self.sampling.temperature,
                "frequency_penalty": self.sampling.frequency_penalty,
                "max_tokens": self.sampling.max_tokens,
                "seed": self.sampling.seed,
            },
            "sample": self.sample,
        }

    @staticmethod
    def of_content(content: Mapping[str, Any]) -> "ChatRequest":
        """The request whose `content` this is."""
        return ChatRequest(
            messages=tuple(map(Message.of_stored, content["messages"])),
            schema=content["schema"],
            sampling=Sampling(**content["sampling"]),
            sample=content["sample"],
        )

    def parameters(self) -> dict[str, Any]:
        """Keyword arguments of an OpenAI chat completion, without the model and the name of the token limit."""
        seed = None if self.sampling.seed is None else self.sampling.seed + self.sample
        optional = {
            "temperature": self.sampling.temperature,
            "frequency_penalty": self.sampling.frequency_penalty,
            "seed": seed,
        }
        parameters: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
        parameters["messages"] = [message.sent() for message in self.messages]
        if self.schema is not None:
            schema = {"name": "reply", "strict": True, "schema": dict(self.schema)}
            parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
        return parameters


def content_address(content: Mapping[str, Any]) -> str:
    """Sha256 hex of the canonical JSON: keys sorted, so the order of a dict does not count; that of a list does."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
