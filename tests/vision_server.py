"""A chat server in a process of its own that decodes the picture it was sent and answers by what is in it.

It stands for a vision model: it names the strongest channel of the mean colour, or draws on `faults`, by which every
n-th request is answered with something else. It counts what it was asked, and says so at /counts.
"""

import base64
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("red", "green", "blue")
ANSWERS = {
    "malformed": "{caption: a fox",
    "empty": json.dumps({"caption": " \u200b "}),
    "refusing": json.dumps({"caption": "I'm sorry, I cannot help with that picture."}),
    "long": json.dumps({"caption": "very " * 2000 + "long"}),
    "wrong_schema": json.dumps({"captions": ["a fox"]}),
    "hostile": json.dumps({"caption": "a red <script>alert(1)</script> fox \x1b[31m\u202e call +1 555 010 9999"}),
    "nothing": "",
}


@dataclass(frozen=True)
class VisionServer:
    """Where a running server is."""

    url: str
    process: subprocess.Popen[str]

    def counts(self) -> dict[str, Any]:
        """requests, different ones, pictures by size, and the most bytes of one."""
        with urllib.request.urlopen(self.url.replace("/v1", "/counts")) as reply:  # noqa: S310 - loopback
            return json.load(reply)


@contextmanager
def vision_server(
    *, fault: str = "", every: int = 1, most: int = 10**9, delay_s: float = 0.0
) -> Iterator[VisionServer]:
    """A server that answers every `every`-th different request with `fault`, if one is named, `most` times in all."""
    environment = os.environ | {"FAULT": fault, "EVERY": str(every), "MOST": str(most), "DELAY": str(delay_s)}
    command = [sys.executable, "-P", str(Path(__file__))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline())
            yield VisionServer(url=f"http://127.0.0.1:{port}/v1", process=process)
        finally:
            process.kill()


def named_colour(url: str) -> tuple[str, tuple[int, int]]:
    """The name of a picture's colour, and its size; `url` is a data URL."""
    head, _, data = url.partition(",")
    if not head.startswith("data:image/"):
        raise ValueError(f"no picture: {head[:40]}")
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    mean = np.asarray(picture.convert("RGB")).reshape(-1, 3).mean(axis=0)
    return NAMES[int(mean.argmax())], picture.size


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        sizes = {f"{width}x{height}": count for (width, height), count in server.sizes.items()}
        counts = {"requests": server.requests, "different": len(server.seen), "sizes": sizes, "twice": server.twice()}
        self._send(200, counts)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = json.loads(body)
        pictures = [
            part["image_url"]["url"]
            for message in request["messages"]
            if isinstance(message["content"], list)
            for part in message["content"]
            if part["type"] == "image_url"
        ]
        texts = [
            message["content"] if isinstance(message["content"], str) else message["content"][-1]["text"]
            for message in request["messages"]
        ]
        server = self.server
        with server.lock:
            server.requests += 1
            server.seen[body] += 1
            number = len(server.seen)
        colour = "grey"
        for url in pictures:
            colour, size = named_colour(url)
            with server.lock:
                server.sizes[size] += 1
        time.sleep(server.delay_s)
        content = json.dumps({"caption": f"a {colour} thing"})
        if "texts" in texts[-1]:
            content = json.dumps({"caption": f"a {colour} {json.loads(texts[-1])['texts'][0].split()[-1]}"})
        finish = "stop"
        if server.fault and number % server.every == 0 and server.faulty():
            if server.fault == "busy":
                self._send(503, {"error": {"message": "busy"}})
                return
            if server.fault == "cut":
                self.connection.close()
                self.close_connection = True
                return
            if server.fault == "html":
                self._send(200, "<html>")
                return
            finish = "length" if server.fault == "truncated" else "stop"
            content = ANSWERS.get(server.fault, content)
        message = {"role": "assistant", "content": content, "refusal": None}
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "system_fingerprint": "f1",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320},
        }
        self._send(200, answer)

    def _send(self, status, answer):
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object):
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.requests = 0
        self.seen: Counter[bytes] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.fault, self.every = os.environ["FAULT"], int(os.environ["EVERY"])
        self.left = int(os.environ["MOST"])
        self.delay_s = float(os.environ["DELAY"])

    def faulty(self) -> bool:
        """Whether one more answer may be bad."""
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def twice(self) -> int:
        """How many requests came more than once."""
        return sum(count > 1 for count in self.seen.values())


if __name__ == "__main__":
    server = _Server()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
