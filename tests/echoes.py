"""A chat endpoint that answers with the credentials it was sent, in each way that servers and gateways do it."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from tests.chat_server import Answer, TinyServer

KEY = "sk-live/9f+27=c0ffee\"'51deb00b"
"""Every way of quoting shows in it."""
STATUSES = (400, 401, 402, 403, 404, 408, 409, 422, 429, 500, 502, 503)


def forms(key: str = KEY) -> dict[str, str]:
    """What an echo makes of a key."""
    return {
        "plain": key,
        "url": quote(key, safe=""),
        "json": json.dumps(key)[1:-1],
        "json_in_json": json.dumps(json.dumps(key))[3:-3],
        "repr": repr(key)[1:-1],
        "basic": base64.b64encode(f"api:{key}".encode()).decode()[8:-4],
        "html": key.replace('"', "&quot;").replace("'", "&#x27;"),
    }


def leaks(text: str, key: str = KEY) -> list[str]:
    """The forms of the key that stand in a text."""
    return [name for name, form in forms(key).items() if form in text]


def files_with(folder: Path, key: str = KEY) -> Iterator[str]:
    """The files below a folder that hold a form of the key, as they are or once they are decompressed."""
    import zlib

    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        texts = [content]
        if content[:2] == b"\x1f\x8b":
            texts.append(zlib.decompressobj(31).decompress(content))
        if content[:6] == b"ARROW1":
            import pyarrow as pa

            with pa.memory_map(str(path)) as source:
                texts.append(repr(pa.ipc.open_file(source).read_all().to_pylist()).encode())
        for name, form in forms(key).items():
            if any(form.encode() in text for text in texts):
                yield f"{path}: {name}"


def error_answers(status: int) -> dict[str, Callable[[str], Answer]]:
    """By name: what is answered with an error's status to who sends this Authorization header."""
    codes = {402: "insufficient_quota", 429: "insufficient_quota"}

    def said(sent: str) -> str:
        basic = base64.b64encode(f"api:{sent.removeprefix('Bearer ')}".encode()).decode()
        return f"Incorrect API key provided: {sent} (Basic {basic}; ?key={quote(sent[7:], safe='')})"

    return {
        "message": lambda sent: TinyServer.failure(status, said(sent), code=codes.get(status)),
        "code": lambda sent: TinyServer.failure(status, "no", code=sent),
        "text": lambda sent: Answer(status=status, body=f"<p>Authorization: {said(sent)}", headers=_HTML),
        "whole_request": lambda sent: Answer(
            status=status, body=json.dumps({"headers": {"authorization": sent}, "error": json.dumps({"k": sent})})
        ),
        "cut": lambda sent: TinyServer.failure(status, f"{'x' * 190} {sent}"),
    }


_HTML = {"content-type": "text/html"}
GOOD_ANSWERS: dict[str, Callable[[str], Answer]] = {
    "content": lambda sent: TinyServer.features(f"has a {sent[7:]} long tail", "has four short legs"),
    "text": lambda sent: TinyServer.completion(f"you sent {sent}"),
    "model": lambda sent: Answer(body=TinyServer.good().body.replace("tiny-2026", json.dumps(sent)[1:-1])),
    "broken": lambda sent: Answer(body='{"choices": [' + sent),
    "list": lambda sent: Answer(body=json.dumps([sent])),
    "redirect": lambda sent: Answer(status=302, headers={"location": f"nowhere://{quote(sent, safe='')}@x/?k={sent}"}),
    "redirect_on": lambda sent: Answer(status=307, headers={"location": f"/v1/{quote(sent, safe='')}"}),
}
