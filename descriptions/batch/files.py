"""The files of a batch: lines of requests that go in, and lines of replies that come out, which nobody vouches for.

Differs from what one may expect of the format: replies come in any order, failed requests may stand in the output file
as well as in the error file, and both may be cut.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeGuard

from evenly.descriptions.bodies import MOST_BYTES as MOST_LINE_BYTES
from evenly.descriptions.chat.completion import Completion, read_completion, storable
from evenly.descriptions.chat.dialect import Dialect, refused_parameters
from evenly.descriptions.chat.picture import ChatPicture, load_pictures
from evenly.descriptions.chat.request import ChatRequest
from evenly.descriptions.chat.retries import may_have_run
from evenly.descriptions.texts.replies import MAX_REPLY_CHARACTERS
from evenly.redaction import without_secrets

# Limits of the Batch API: https://platform.openai.com/docs/api-reference/batch/create
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000

URL: Final = "/v1/chat/completions"
_ASKED_IN_VAIN = range(400, 500)
_PASSING = {408, 409, 425, 429}
_REFUSING = {400, 422}
NO_PICTURES: Mapping[str, ChatPicture] = {}


@dataclass(frozen=True, kw_only=True)
class RequestFailure:
    """Why a request of a batch has no reply; `retriable` is False where asking again is of no use.

    `ran` says whether it may have been answered and the answer lost, in which case it has cost money; `whole_batch`
    whether the batch was refused as a whole, for no request in particular. `refused` are the parameters that the
    endpoint does not take.
    """

    reason: str
    detail: str
    retriable: bool = True
    ran: bool = False
    whole_batch: bool = False
    refused: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class BatchOutput:
    """The contents of the files of one batch, line by line; the first line about a request counts.

    `problems` counts lines of no use: malformed_line, truncated_line, long_line, unknown_custom_id,
    duplicate_custom_id, no_completion.
    """

    request_ids: Collection[str]
    completions: dict[str, Completion] = field(default_factory=dict)
    failures: dict[str, RequestFailure] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)

    def read(self, content: bytes) -> None:
        """Add the lines of a file, one by one: all at once would be the file again."""
        start = 0
        while start < len(content):
            end = content.find(b"\n", start)
            self._add(content[start : end if end >= 0 else None], "malformed_line" if end >= 0 else "truncated_line")
            start = end + 1 if end >= 0 else len(content)

    def _add(self, line: bytes, unreadable: str) -> None:
        if not line.strip():
            return
        value = _json_object(line) if len(line) <= MOST_LINE_BYTES else None
        custom_id = None if value is None else value.get("custom_id")
        if value is None:
            self.problems["long_line" if len(line) > MOST_LINE_BYTES else unreadable] += 1
        elif not isinstance(custom_id, str) or custom_id not in self.request_ids:
            self.problems["unknown_custom_id"] += 1
        elif custom_id in self.completions or custom_id in self.failures:
            self.problems["duplicate_custom_id"] += 1
        else:
            self._take(custom_id, value)

    def _take(self, request_id: str, value: Mapping[str, Any]) -> None:
        response = value.get("response")
        status = response.get("status_code") if isinstance(response, dict) else None
        body = response.get("body") if isinstance(response, dict) else None
        if value.get("error") or not _is_status(status) or status >= 400:
            self.failures[request_id] = _failure(value.get("error"), status, body)
        elif (completion := read_completion(body)) is None:
            self.problems["no_completion"] += 1
        else:
            self.completions[request_id] = replace(completion, text=completion.text[: MAX_REPLY_CHARACTERS + 1])


def input_line(
    request_id: str, content: Mapping[str, Any], dialect: Dialect, pictures: Mapping[str, ChatPicture] = NO_PICTURES
) -> bytes:
    """The line that asks for a request of this content, with its newline; `pictures` are those it may name."""
    body = dialect.arguments(ChatRequest.of_content(content), model=content["model"])
    body["messages"] = load_pictures(body["messages"], pictures)
    line = {"custom_id": request_id, "method": "POST", "url": URL, "body": body}
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def split_requests(
    requests: Mapping[str, Mapping[str, Any]],
    dialect: Dialect,
    pictures: Mapping[str, ChatPicture] = NO_PICTURES,
    *,
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> Iterator[dict[str, Mapping[str, Any]]]:
    """Requests (id -> content) in parts that each fit one file, in order."""
    part: dict[str, Mapping[str, Any]] = {}
    size = 0
    for request_id, content in requests.items():
        length = len(input_line(request_id, content, dialect, pictures))
        if part and (len(part) == most_requests or size + length > most_bytes):
            yield part
            part, size = {}, 0
        part[request_id] = content
        size += length
    if part:
        yield part


def reason_word(value: object, *, default: str) -> str:
    """A snake_case word of at most 40 letters made of an endpoint's error code."""
    text = without_secrets(str(value)) if isinstance(value, str | int) else ""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40] or default


def detail_line(value: object) -> str:
    """An endpoint's words on one line of at most 200 characters without controls and known secrets."""
    text = storable(without_secrets(str(value))) if isinstance(value, str | int) else ""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:200]


def named_lines(errors: Sequence[tuple[str, int | None, str]], request_ids: Sequence[str]) -> dict[str, RequestFailure]:
    """The requests that a batch was refused for, by the line numbers (from 1) in its errors: (code, line, message)."""
    return {
        request_ids[line - 1]: RequestFailure(reason=code, detail=message, retriable=False)
        for code, line, message in errors
        if line is not None and 1 <= line <= len(request_ids)
    }


def _failure(error: object, status: object, body: object) -> RequestFailure:
    """The failure of a request by a line: in `error`, or in the body of a response with an error's status."""
    inner = body.get("error") if isinstance(body, dict) else None
    details = next((part for part in (error, inner) if isinstance(part, dict)), {})
    detail = detail_line(details.get("message"))
    if _is_status(status) and status >= 400:
        parameter = details.get("param")
        refused = refused_parameters(detail, parameter if isinstance(parameter, str) else None)
        in_vain = status in _ASKED_IN_VAIN and status not in _PASSING
        return RequestFailure(
            reason=f"http_{min(status, 999)}",
            detail=detail,
            retriable=not in_vain,
            ran=may_have_run(status),
            refused=refused if status in _REFUSING else frozenset(),
        )
    reason = reason_word(details.get("code"), default="batch_error")
    return RequestFailure(reason=reason, detail=detail, ran=not error and not _is_status(status))


def _is_status(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
