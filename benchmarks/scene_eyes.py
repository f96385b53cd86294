"""A chat server that is shown scenes: a stand-in for a vision model, in a process of its own. It is no model.

It decodes the picture that it was sent, takes the background away, and compares the outline of each piece that is left
with those of the OpenMoji drawings that scenes are made of. It knows two things in three, sees none that touches
another, says no colour and no relation, and answers some pictures vaguely and some wrongly, by hash. So figures of it
say what the choice does with good and bad captions, and nothing about vision models.

Run: python -m benchmarks.scene_eyes, which prints its port and serves until it is killed.
"""

import base64
import functools
import hashlib
import io
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from evenly.demo.draws import DEMO_SEED, demo_draw, pick
from evenly.demo.pictures.openmoji import draw_picture
from evenly.demo.scenes.backgrounds import BACKGROUNDS, background
from evenly.demo.scenes.catalogue import KINDS, Thing, read_things

KNOWN, VAGUE, WRONG = 0.67, 0.15, 0.15
"""Shares: of things that it knows, of pictures that it answers vaguely, and wrongly."""
LEAST_COSINE = 0.7
"""Between the outlines of a piece and of a drawing, for the piece to be that thing."""
_SIDE = 24
_LEAST_PIXELS = 150
_NOISE = 40  # levels, summed over channels, by which JPEG changes a plain background


@contextmanager
def scene_eyes() -> Iterator[str]:
    """The base URL of a running server."""
    command = [sys.executable, "-m", "benchmarks.scene_eyes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def describe(picture: Image.Image, key: str) -> str:
    """What the server says of a picture; `key` decides whether it answers well."""
    names = [name for piece in pieces(picture) if (name := nearest_thing(piece))]
    drawn = demo_draw(DEMO_SEED, "eyes", key, "answer")
    things = read_things()
    if drawn < WRONG:
        names = [pick(sorted(things), DEMO_SEED, "eyes", key, name) for name in names or ["nothing"]]
    counts = Counter(names)
    if not counts:
        return "a drawing of something"
    if WRONG <= drawn < WRONG + VAGUE:
        return "a drawing of " + _listed([_vague(things[name], count) for name, count in counts.items()])
    return "a drawing of " + _listed([_counted(things[name], count) for name, count in counts.items()])


def pieces(picture: Image.Image) -> list[npt.NDArray[np.uint8]]:
    """What stands apart on the picture, as RGBA cut to what is seen, from left to right."""
    colours = np.asarray(picture.convert("RGB"))
    pixels = colours.astype(np.int16)
    height, width = pixels.shape[:2]
    masks = [np.abs(pixels - plain).sum(axis=2) > _NOISE for plain in _backgrounds(width, height)]
    mask = ndimage.binary_fill_holes(min(masks, key=np.count_nonzero))
    numbers, _ = ndimage.label(ndimage.binary_dilation(mask, iterations=2))
    found = []
    for number, place in enumerate(ndimage.find_objects(numbers), 1):
        alpha = mask[place] & (numbers[place] == number)
        if alpha.sum() >= _LEAST_PIXELS:
            cut = np.dstack([colours[place], np.where(alpha, 255, 0).astype(np.uint8)])
            rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
            found.append((place[1].start, cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]))
    return [cut for _, cut in sorted(found, key=lambda one: one[0])]


def nearest_thing(piece: npt.NDArray[np.uint8]) -> str | None:
    """The known thing whose drawing a piece is like; None where none is near or the nearest is one not known."""
    names, rows = _gallery()
    cosines = rows @ _outlined(Image.fromarray(piece))
    best = int(cosines.argmax())
    return names[best] if cosines[best] >= LEAST_COSINE and is_known(names[best]) else None


def is_known(name: str) -> bool:
    """Whether the server was told of a thing."""
    return demo_draw(DEMO_SEED, "eyes", name, "known") < KNOWN


@functools.lru_cache(maxsize=8)
def _backgrounds(width: int, height: int) -> list[npt.NDArray[np.int16]]:
    plain = [background(phrase).convert("RGB").resize((width, height)) for phrase in BACKGROUNDS]
    return [np.asarray(one).astype(np.int16) for one in plain]


@functools.cache
def _gallery() -> tuple[list[str], npt.NDArray[np.float64]]:
    """The thing of each drawing, and its outline (n, d), each as it is and mirrored."""
    names, rows = [], []
    for name, thing in read_things().items():
        for code in thing.codes:
            with Image.open(io.BytesIO(draw_picture(code, size_px=96))) as opened:
                drawing = opened.convert("RGBA")
            drawing = drawing.crop(drawing.getchannel("A").getbbox())
            for one in (drawing, drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)):
                names.append(name)
                rows.append(_outlined(one))
    return names, np.stack(rows)


def _outlined(piece: Image.Image) -> npt.NDArray[np.float64]:
    """Where a drawing is, and where it is dark, on a square of _SIDE: (d,), of length 1. Its colours do not count."""
    side = max(piece.size)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    square.paste(piece, ((side - piece.width) // 2, (side - piece.height) // 2))
    values = np.asarray(square.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64) / 255
    dark = (1 - values[..., :3] @ np.array([0.299, 0.587, 0.114])) * values[..., 3]
    parts = [part - part.mean() for part in (values[..., 3], np.where(dark > 0.7, 1.0, 0.0))]
    row = np.concatenate([part.ravel() / max(np.linalg.norm(part), 1e-9) for part in parts])
    return np.asarray(row / max(np.linalg.norm(row), 1e-9))


def _counted(thing: Thing, count: int) -> str:
    article = "an" if thing.name[0] in "aeiou" else "a"
    return f"{article} {thing.name}" if count == 1 else f"{count} {thing.plural}"


def _vague(thing: Thing, count: int) -> str:
    if not thing.kinds:
        return "something"
    kind = thing.kinds[0]
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" if count == 1 else f"some {KINDS[kind][0]}"


def _listed(phrases: list[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        parts = [part for message in request["messages"] for part in message["content"] if isinstance(part, dict)]
        (url,) = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        data = base64.b64decode(url.partition(",")[2], validate=True)
        with _SEEING, Image.open(io.BytesIO(data)) as picture:
            caption = describe(picture, hashlib.sha256(data).hexdigest())
        message = {"role": "assistant", "content": json.dumps({"caption": caption}), "refusal": None}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": request["model"], "usage": usage}
        reply = json.dumps(answer | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_arguments: object) -> None:
        pass


_SEEING = threading.Lock()
"""One picture at a time: all of it is processor time, and what is kept is filled once."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
