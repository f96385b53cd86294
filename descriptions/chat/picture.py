"""Pictures beside the messages of a request: named in records, and made into bytes when they are sent."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from evenly.descriptions.errors import RequestFailedError

# What hosted models count of a picture at most: those of OpenAI by tiles of 512 pixels, the dearest of them so many.
_TOKENS_PER_PICTURE, _TOKENS_PER_TILE, _TILE = 2_833, 5_667, 512
_PATCH = 28  # pixels of a side that most open models make one token of


class UnreadablePictureError(RequestFailedError):
    """A picture could not be made into the bytes that are sent."""


@dataclass(frozen=True, kw_only=True)
class ChatPicture:
    """A picture by what it is made of, which stands for it in the address of a request.

    image_id: sha256 of the original's bytes, 64 hex digits. max_side: pixels of its longer side at most, to which it is
    scaled down. load: makes the bytes that are sent, of `media_type`; None where the request comes out of a record.
    """

    image_id: str
    max_side: int
    media_type: Literal["image/jpeg", "image/png"] = "image/jpeg"
    load: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The name that stands in a message for the picture's data."""
        return f"{self.media_type};max_side={self.max_side};image_id={self.image_id}"

    @property
    def most_tokens(self) -> int:
        """A bound on the tokens that hosts bill for it."""
        return _TOKENS_PER_PICTURE + _TOKENS_PER_TILE * (-(-self.max_side // _TILE)) ** 2

    @property
    def likely_tokens(self) -> int:
        """An estimate: a token for every patch of 28 by 28 pixels."""
        return (-(-self.max_side // _PATCH)) ** 2

    def content(self) -> dict[str, Any]:
        """The identity of the picture's bytes, as JSON has it."""
        return {"image_id": self.image_id, "max_side": self.max_side, "media_type": self.media_type}

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Self:
        """The picture whose `content` this is, without its bytes."""
        return cls(**content)

    def data_url(self) -> str:
        """The picture's bytes in a `data:` URL. Raises UnreadablePictureError where they cannot be made."""
        if self.load is None:
            raise UnreadablePictureError("no_picture", f"picture {self.image_id} is not at hand", passing=False)
        return f"data:{self.media_type};base64,{base64.b64encode(self.load()).decode('ascii')}"


def picture_parts(text: str, pictures: Sequence[ChatPicture]) -> list[dict[str, Any]]:
    """The parts of a message of OpenAI's form: its pictures by name, then its text."""
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": picture.name}} for picture in pictures]
    return [*parts, {"type": "text", "text": text}]


def load_pictures(messages: Sequence[Mapping[str, Any]], pictures: Mapping[str, ChatPicture]) -> list[dict[str, Any]]:
    """The messages with the data of their pictures in the place of names; `pictures` by name."""
    return [dict(message) | {"content": _loaded(message["content"], pictures)} for message in messages]


def _loaded(content: str | Sequence[Mapping[str, Any]], pictures: Mapping[str, ChatPicture]) -> object:
    if isinstance(content, str):
        return content
    return [
        {"type": "image_url", "image_url": {"url": pictures[part["image_url"]["url"]].data_url()}}
        if part["type"] == "image_url"
        else part
        for part in content
    ]
