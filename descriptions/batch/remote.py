"""What an endpoint says of a batch, read out of JSON that nobody vouches for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenly.descriptions.batch.files import detail_line, reason_word
from evenly.descriptions.chat.completion import MOST_TOKENS

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_ID = re.compile(r"[A-Za-z0-9][\w.:=+-]{0,999}", re.ASCII)
_MOST_ERRORS = 50_000


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
        file_ids=tuple(one for one in files if isinstance(one, str) and is_id(one)),
        counts=_counts(counts if isinstance(counts, dict) else {}),
        errors=tuple(_error(one) for one in (data if isinstance(data, list) else [])[:_MOST_ERRORS]),
        retry_after_s=retry_after_s,
    )


def is_id(text: str) -> bool:
    """Whether a text may be the id of a file or batch: it becomes part of an address, and is printed."""
    return _ID.fullmatch(text) is not None


def _counts(value: Mapping[str, Any]) -> dict[str, int]:
    told = {name: value.get(name) for name in ("completed", "failed", "total")}
    return {
        name: count
        for name, count in told.items()
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST_TOKENS
    }


def _error(value: object) -> tuple[str, int | None, str]:
    error = value if isinstance(value, dict) else {}
    line = error.get("line")
    code = reason_word(error.get("code"), default="batch_error")
    whole = isinstance(line, int) and not isinstance(line, bool)
    return code, line if whole else None, detail_line(error.get("message"))
