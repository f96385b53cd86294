"""A server that keeps what it is told, a recipe of few captions, and a webhook on loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings


@pytest.fixture
def watched() -> Iterator[None]:
    """A server that keeps what it is told, as one of the user's does."""
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        yield


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., str]:
    """Writes a recipe of 40 captions, which keeps those of so many words or more; its path."""
    captions = [" ".join(["word"] * (1 + row % 4)) + f" {row}" for row in range(40)]
    pq.write_table(pa.table({"text": captions}), tmp_path / "pool.parquet")
    path = tmp_path / "tiny.yaml"

    def write(min_words: int, **fields: object) -> str:
        content: dict[str, Any] = {
            "name": "tiny_words",
            "seed": 5,
            "guard": {"max_change": 0.1},
            "sources": [{"kind": "parquet", "path": str(tmp_path / "pool.parquet"), "url": None, "caption": "text"}],
            "curate": {"text": {"caption_length": {"min_words": min_words}}},
        }
        path.write_text(yaml.safe_dump(content | fields))
        return str(path)

    return write


def save_webhook(name: str, url: str) -> str:
    """A notification block of the server that posts subject and body to a URL; its name."""
    template = {"title": "{{subject}}", "text": "{{body}}"}
    CustomWebhookNotificationBlock(name=name, url=url, json_data=template).save(name, overwrite=True)
    return f"custom-webhook/{name}"


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a web server that answers all with a status, and what was posted to it."""
    posted: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token-of-the-team", posted
        server.shutdown()
