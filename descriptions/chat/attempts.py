"""Attempts at a chat endpoint, through the `openai` package: one call, the answer, and the open connection."""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from evenly.descriptions.bodies import MOST_BYTES, LongBodyError, read_within
from evenly.descriptions.chat.completion import Completion, read_completion
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.endpoint import Endpoint
from evenly.descriptions.chat.pacing import Pacing
from evenly.descriptions.chat.picture import load_pictures
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.chat.retries import Failure, judge_failure
from evenly.descriptions.texts.replies import MAX_REPLY_CHARACTERS

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI, OpenAIError


@dataclass(kw_only=True)
class ChatEndpoint:
    """Chat completions of `endpoint`. Use it in `async with`."""

    endpoint: Endpoint
    timeout_s: float = 60.0
    _client: "AsyncOpenAI | None" = None

    async def __aenter__(self) -> Self:
        self._client = open_client(self.endpoint, timeout_s=self.timeout_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def post(self, request: ChatRequest, dialect: Dialect) -> Completion | Failure:
        """One attempt. A text too long to be read is cut where that can be told."""
        from openai import OpenAIError

        if self._client is None:
            raise RuntimeError("a ChatEndpoint must be entered before it is used. Write `async with`.")
        arguments = dialect.arguments(request, model=self.endpoint.model)
        model = arguments.pop("model")
        if request.pictures:
            pictures = {picture.name: picture for picture in request.pictures}
            arguments["messages"] = await asyncio.to_thread(load_pictures, arguments["messages"], pictures)
        try:
            async with asyncio.timeout(self.timeout_s):  # the client's own limit starts again with every byte
                # As arguments, schema and messages would be searched for names to convert, which takes its time.
                create = self._client.chat.completions.with_raw_response.create
                raw = await create(model=model, messages=[], extra_body=arguments)
            completion = read_completion(json.loads(raw.content))
        except (OpenAIError, TimeoutError) as error:
            return self._judge(error)
        except LongBodyError as error:
            return self._judge(error)
        except (ValueError, RecursionError):
            return self._judge(ValueError())
        if completion is None:
            return self._judge(ValueError())
        return replace(completion, text=completion.text[: MAX_REPLY_CHARACTERS + 1])

    def _judge(self, error: "OpenAIError | TimeoutError | ValueError") -> Failure:
        return judge_failure(error, base_url=self.endpoint.base_url, model=self.endpoint.model)


def open_client(
    endpoint: Endpoint, *, timeout_s: float, limit_of: "Callable[[httpx.Request], int]" = lambda _: MOST_BYTES
) -> "AsyncOpenAI":
    """A client of the package that tries nothing again by itself, and asks no proxy for what is on this machine.

    A body longer than `limit_of` its request, once unpacked, raises LongBodyError.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    hooks = {"response": [read_within(limit_of)]}
    http_client = DefaultAsyncHttpxClient(trust_env=not endpoint.loopback, event_hooks=hooks)
    return AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        timeout=timeout_s,
        max_retries=0,
        http_client=http_client,
    )


@dataclass(kw_only=True)
class Attempt:
    """One try of a request: when the first began, and how it is put, which is settled when it leaves.

    `nonce` tells it from others of the request.
    """

    request_id: str
    request: ChatRequest
    dialect: Dialect
    started: float
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def id(self) -> str:
        """The name of the attempt in the book, and in the record of its reply: see Budget.settle_stored."""
        return f"{self.request_id}:{self.nonce}"


@dataclass(kw_only=True)
class Connection:
    """The open connection of one event loop. `in_flight` holds requests that are being asked, by id."""

    endpoint: ChatEndpoint
    pacing: Pacing
    dialect: Dialect
    in_flight: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    replied: bool = False
    failures_in_a_row: int = 0

    def learns(self, failure: Failure, attempt: Attempt) -> bool:
        """Whether the request can be put in another way after what the endpoint refused."""
        self.dialect = self.dialect.without(failure.refused, used=attempt.dialect)
        if not failure.refused:
            return False
        sent, resent = (dialect.arguments(attempt.request, model="") for dialect in (attempt.dialect, self.dialect))
        return sent != resent
