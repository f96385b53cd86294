"""The files and batches of an endpoint, through the `openai` package: every call tried again where that can help.

What the endpoint says of a batch is read out of JSON that nobody vouches for.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from evenly.descriptions.batch.files import MOST_BYTES as MOST_FILE_BYTES
from evenly.descriptions.batch.files import URL, detail_line, reason_word
from evenly.descriptions.batch.intents import METADATA_KEY
from evenly.descriptions.bodies import MOST_BYTES, LongBodyError
from evenly.descriptions.chat.attempts import open_client
from evenly.descriptions.chat.completion import MOST_TOKENS
from evenly.descriptions.chat.endpoint import Endpoint
from evenly.descriptions.chat.retries import Failure, judge_failure, pause_s, retry_after
from evenly.descriptions.errors import EndpointError
from evenly.redaction import without_secrets

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI, OpenAIError

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_ID = re.compile(r"[A-Za-z0-9][\w.:=+-]{0,999}", re.ASCII)
_MOST_ERRORS = 50_000
PAGE = 100
MOST_PAGES = 1_000
_FILE_TIMES = 20

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RemoteBatch:
    """A batch as its endpoint tells it: `counts` holds completed, failed and total where they are told.

    `errors`: (code, line in the input file from 1 or None, message) of a batch that failed as a whole.
    """

    id: str
    status: str
    file_ids: tuple[str, ...]
    counts: Mapping[str, int]
    errors: tuple[tuple[str, int | None, str], ...]
    retry_after_s: float | None = None


class RefusedError(EndpointError):
    """The endpoint answered that it will not do what it was asked, and did not do it; `reason` is as in Failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.reason = failure.reason


@dataclass(kw_only=True)
class BatchEndpoint:
    """Files and batches of `endpoint`. Use it in `async with`.

    A call is tried `attempts` times, each `timeout_s` long, 20 times that for whole files. What cannot be had raises
    EndpointError; RefusedError where trying again is of no use.
    """

    endpoint: Endpoint
    timeout_s: float = 60.0
    attempts: int = 6
    longest_wait_s: float = 120.0
    _client: "AsyncOpenAI | None" = None
    answered: bool = False

    async def __aenter__(self) -> Self:
        self._client = open_client(self.endpoint, timeout_s=self.timeout_s, limit_of=_limit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def upload(self, name: str, content: bytes) -> str:
        """Upload the requests of a batch as a file; its id."""

        async def call() -> str:
            raw = await self._open.files.with_raw_response.create(
                file=(name, content, "application/jsonl"), purpose="batch"
            )
            file_id = _json_of(raw.content).get("id")
            if not isinstance(file_id, str) or not is_id(file_id):
                raise ValueError
            return file_id

        return await self._tried(call, key=name, timeout_s=self.timeout_s * _FILE_TIMES)

    async def create(self, file_id: str, intent_id: str, *, listed_after_s: float = 0.0) -> RemoteBatch:
        """Make a batch of an uploaded file, with the intent's id in its metadata.

        An attempt without a clear answer may have made one: before the next, it is looked for, `listed_after_s` later.
        """

        async def look() -> RemoteBatch | None:
            await asyncio.sleep(listed_after_s)
            return await self.find(intent_id)

        async def call() -> RemoteBatch:
            raw = await self._open.batches.with_raw_response.create(
                input_file_id=file_id, endpoint=URL, completion_window="24h", metadata={METADATA_KEY: intent_id}
            )
            return read_batch(_json_of(raw.content))

        return await self._tried(call, key=intent_id, look=look)

    async def find(self, intent_id: str) -> RemoteBatch | None:
        """The batch with this intent in its metadata, by the endpoint's list, page by page; None without one."""
        after: str | None = None
        cursors: set[str] = set()
        while len(cursors) < MOST_PAGES:
            page = await self._page(after)
            data = page.get("data")
            batches = [entry for entry in (data if isinstance(data, list) else ()) if isinstance(entry, dict)]
            for batch in batches:
                metadata = batch.get("metadata")
                if isinstance(metadata, dict) and metadata.get(METADATA_KEY) == intent_id:
                    return _listed(batch)
            after = batches[-1].get("id") if batches else None
            if not page.get("has_more") or not isinstance(after, str) or not is_id(after) or after in cursors:
                return None
            cursors.add(after)
        return None

    async def retrieve(self, batch_id: str) -> RemoteBatch:
        """The endpoint's record of a batch."""

        async def call() -> RemoteBatch:
            raw = await self._open.batches.with_raw_response.retrieve(batch_id)
            return read_batch(_json_of(raw.content), retry_after_s=retry_after(raw.headers.get("retry-after")))

        return await self._tried(call, key=batch_id)

    async def cancel(self, batch_id: str) -> RemoteBatch:
        """Ask for the end of a batch; what the endpoint says of it now."""

        async def call() -> RemoteBatch:
            return read_batch(_json_of((await self._open.batches.with_raw_response.cancel(batch_id)).content))

        return await self._tried(call, key=batch_id)

    async def content(self, file_id: str) -> bytes:
        """The bytes of a file."""

        async def call() -> bytes:
            return (await self._open.files.content(file_id)).content

        return await self._tried(call, key=file_id, timeout_s=self.timeout_s * _FILE_TIMES)

    async def _page(self, after: str | None) -> Mapping[str, Any]:
        async def call() -> Mapping[str, Any]:
            batches = self._open.batches.with_raw_response
            raw = await (batches.list(limit=PAGE) if after is None else batches.list(limit=PAGE, after=after))
            return _json_of(raw.content)

        return await self._tried(call, key=after or "list")

    @property
    def _open(self) -> "AsyncOpenAI":
        if self._client is None:
            raise RuntimeError("a BatchEndpoint must be entered before it is used. Write `async with`.")
        return self._client

    async def _tried(
        self,
        call: Callable[[], Awaitable[Result]],
        *,
        key: str,
        timeout_s: float | None = None,
        look: Callable[[], Awaitable[Result | None]] | None = None,
    ) -> Result:
        """The result of `call`, tried again after failures that may pass; `look` may find it done before it is.

        `key` scatters the pauses.
        """
        from openai import OpenAIError

        attempt = 0
        while True:
            try:
                async with asyncio.timeout(timeout_s or self.timeout_s):
                    result = await call()
            except (OpenAIError, TimeoutError, ValueError) as error:
                failure = self._judge(error)
            else:
                self.answered = True
                return result
            attempt += 1
            pause = pause_s(attempt=attempt, request_id=key, retry_after_s=failure.retry_after_s)
            if failure.remedy != "retry":
                raise RefusedError(failure)
            if failure.reason == "refused_connection" and not self.answered:
                raise EndpointError(failure.detail, passing=failure.passing)
            if attempt >= self.attempts or pause > self.longest_wait_s:
                raise EndpointError(
                    f"the endpoint must answer; {attempt} attempts in a row brought nothing, the last: "
                    f"{failure.detail}. Run again later: batches go on at the endpoint and are found again.",
                    passing=failure.passing,
                )
            await asyncio.sleep(pause)
            if look is not None and (existing := await look()) is not None:
                return existing

    def _judge(self, error: "OpenAIError | TimeoutError | ValueError") -> Failure:
        failure = judge_failure(error, base_url=self.endpoint.base_url, model=self.endpoint.model)
        place = self.endpoint.base_url
        long = str(error) if isinstance(error, LongBodyError) else "something else than a file or batch"
        details = {
            "bad_body": f"{place} answered with {long}",
            "http_404": f"the endpoint must offer the Batch API and know the file or batch; {place} does not find it "
            "(status 404). Describe without --batch, or close the batch with `evenly batches cancel`.",
        }
        return replace(failure, detail=details.get(failure.reason, failure.detail))


def _limit(request: "httpx.Request") -> int:
    """Bytes of the answer to a request: a file of replies is as long as a file of requests may be."""
    return MOST_FILE_BYTES if request.method == "GET" and request.url.path.endswith("/content") else MOST_BYTES


def read_batch(value: Mapping[str, Any], *, retry_after_s: float | None = None) -> RemoteBatch:
    """The batch in an answer; ValueError where there is none."""
    batch_id, status = value.get("id"), value.get("status")
    if not isinstance(batch_id, str) or not is_id(batch_id) or not isinstance(status, str):
        raise ValueError("no batch")
    files = (value.get("output_file_id"), value.get("error_file_id"))
    counts = value.get("request_counts")
    errors = value.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else None
    return RemoteBatch(
        id=batch_id,
        status=reason_word(status, default="unknown"),
        file_ids=tuple(file_id for file_id in files if isinstance(file_id, str) and is_id(file_id)),
        counts=_counts(counts if isinstance(counts, dict) else {}),
        errors=tuple(_error(entry) for entry in (data if isinstance(data, list) else [])[:_MOST_ERRORS]),
        retry_after_s=retry_after_s,
    )


def is_id(text: str) -> bool:
    """Whether a text may be the id of a file or batch: it becomes part of an address, and is printed."""
    return _ID.fullmatch(text) is not None and without_secrets(text) == text


def _counts(value: Mapping[str, Any]) -> dict[str, int]:
    numbers = {name: value.get(name) for name in ("completed", "failed", "total")}
    return {
        name: count
        for name, count in numbers.items()
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST_TOKENS
    }


def _error(value: object) -> tuple[str, int | None, str]:
    error = value if isinstance(value, dict) else {}
    line = error.get("line")
    code = reason_word(error.get("code"), default="batch_error")
    is_number = isinstance(line, int) and not isinstance(line, bool)
    return code, line if is_number else None, detail_line(error.get("message"))


def _listed(value: Mapping[str, Any]) -> RemoteBatch:
    try:
        return read_batch(value)
    except ValueError as error:
        raise EndpointError(
            "the endpoint must list batches with id and status; it lists one of ours without. "
            "Run again later: the batch is not submitted a second time."
        ) from error


def _json_of(content: bytes) -> Mapping[str, Any]:
    """The JSON object in the body of an answer; ValueError for anything else."""
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError from error
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - a body of another shape is like one that is no JSON
    return value
