"""Answers of the demo's web to each URL, as data: a table that the pool's maker writes and the server reads."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

AGENT = "evenly"
"""The product token that the demo's robots.txt files name; the downloader's user agent must start with it."""

GONE_HOST = "gone.invalid"
"""A host name that does not resolve: it is in no connect map."""

CLOSED_HOST = "closed.test"
"""A host that refuses connections."""

ROBOTS = {
    "pictures.test": "User-agent: *\nDisallow: /admin/\n",
    "blog.test": "User-agent: *\nDisallow:\n",
    "cdn.test": "User-agent: otherbot\nDisallow: /\n",
    "reserved.test": "User-agent: *\nDisallow: /members/\n",
    "selective.test": f"User-agent: {AGENT}\nDisallow: /\n\nUser-agent: *\nAllow: /\n",
}
"""The robots.txt of each host that has one; the others answer 404 to it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One URL's answer.

    file: what to send, relative to the web's folder; text: what to send where there is no file.
    headers: besides Content-Type, Content-Length and Connection. kept: share of the file's bytes that is sent, as if
    the file were cut short on the server. padded_to: zero bytes follow up to this length. sized: False sends no
    Content-Length. delay_s: pause before each quarter of the body. busy: the first request gets 429 with Retry-After.
    """

    status: int = 200
    media_type: str = "image/png"
    headers: tuple[tuple[str, str], ...] = ()
    file: str = ""
    text: str = ""
    kept: float = 1.0
    padded_to: int = 0
    sized: bool = True
    delay_s: float = 0.0
    busy: bool = False


def answer_table(answers: dict[str, Answer]) -> pa.Table:
    """One row per URL, sorted by URL; headers as JSON."""
    rows = [{"url": url, **asdict(answer), "headers": json.dumps(answer.headers)} for url, answer in answers.items()]
    rows.sort(key=lambda row: str(row["url"]))
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def read_answers(table: pa.Table) -> dict[str, Answer]:
    """The inverse of `answer_table`."""
    return {row.pop("url"): _answer(row) for row in table.to_pylist()}


def _answer(row: dict[str, Any]) -> Answer:
    headers = tuple((name, value) for name, value in json.loads(row.pop("headers")))
    return Answer(headers=headers, **row)


_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("status", pa.int64()),
        ("media_type", pa.string()),
        ("headers", pa.string()),
        ("file", pa.string()),
        ("text", pa.string()),
        ("kept", pa.float64()),
        ("padded_to", pa.int64()),
        ("sized", pa.bool_()),
        ("delay_s", pa.float64()),
        ("busy", pa.bool_()),
    ]
)
