"""Boxes of a vision endpoint: a server that looks at the picture it was sent, and one that answers anything."""

import base64
import io
import json
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evenly.descriptions.captions.pointing import PointingRule
from evenly.descriptions.chat.client import Reply
from evenly.descriptions.errors import BudgetExceededError
from evenly.storage.web.images import find_places
from evenly.tasks.captions.captioner import Shown
from evenly.tasks.pictures.pointing import ask_regions, replied_regions
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.stage import run_step
from tests.chat_server import TinyServer, tiny_server
from tests.tasks.whole_rebuild import RULES, Row, open_run

NAMES = ("red thing", "blue thing")
CHANNELS = dict(zip(NAMES, (0, 2), strict=True))
SIZE = (1600, 400)


def drawn(*blocks):
    picture, stream = Image.new("RGB", SIZE), io.BytesIO()
    for colour, box in blocks:
        picture.paste(colour, box)
    picture.save(stream, "PNG")
    return stream.getvalue()


POOL = (
    Row("a", "a", drawn(((255, 0, 0), (400, 100, 800, 300)), ((0, 0, 255), (1200, 0, 1600, 200)))),
    Row("b", "b", drawn(((0, 0, 255), (0, 200, 800, 400)))),
)


def looking(request, _before):
    """The answer of a model that sees colours: the box of each, in thousandths of the picture that it is sent."""
    asked = json.loads(request["messages"][1]["content"][1]["text"])["things"]
    data = request["messages"][1]["content"][0]["image_url"]["url"].partition(",")[2]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
    assert pixels.shape == (100, 400, 3)
    things = []
    for name in asked:
        y, x = np.nonzero(pixels[:, :, CHANNELS[name]] > 128)
        if len(y):
            box = [y.min() * 10, x.min() * 2.5, (y.max() + 1) * 10, (x.max() + 1) * 2.5]
            things.append({"label": name, "box_2d": [round(side) for side in box]})
    return TinyServer.completion(json.dumps({"things": things}))


@pytest.fixture
def run(tmp_path):
    return open_run(tmp_path / "w", POOL)


def pointed(run, server, **more):
    records = ()
    for step in (COLLECT, DOWNLOAD):
        records = (*records, run_step(run, step, records, step.read(RULES[step.name])))
    pairs = run.ledger.alive(records, ["image_id", "file_name"]).sort_by("file_name")
    places = find_places(run.workspace.downloads, pairs["image_id"].to_pylist()).sort_by("image_id")
    shown = Shown(name="regions", pairs=pairs, places=places, facts=None, workers=1)
    rule = PointingRule(base_url=server.url, model="eyes", max_side=400, **more)
    replies = ask_regions(run, rule, shown, NAMES)
    return replied_regions(replies, [SIZE] * len(POOL), model=rule.model, names=NAMES)


def test_things_lie_where_the_model_saw_them_in_pixels_of_the_stored_picture(run):
    with tiny_server() as server:
        server.answer = looking
        regions = pointed(run, server)
        assert len(server.requests) == 2
        assert pointed(run, server).rows() == regions.rows()
        assert len(server.requests) == 2  # each is asked once
    assert regions.picture.tolist() == [0, 0, 1]
    assert regions.labels.tolist() == ["red thing", "blue thing", "blue thing"]
    wanted = [[400, 100, 800, 300], [1200, 0, 1600, 200], [0, 200, 800, 400]]
    assert np.abs(regions.boxes - wanted).max() <= 4  # a pixel of what was sent
    assert set(regions.sources) == {"endpoint:eyes"}
    assert not any(regions.reasons)


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        ("", ["empty"]), ("{things", ["not_json"]), ('{"things": {}}', ["wrong_schema"]), ("[]", ["wrong_schema"]),
        ('{"things": [' + "[1], " * 9_000 + "[]]}", ["too_long"]), ("I'm sorry, I cannot help with that.", ["refusal"]),
        ('{"things": []}', []), ('{"things": ["cup", null]}', ["not_a_region"] * 2),
        ('{"things": [{"label": "dog", "box_2d": [0, 0, 9, 9]}]}', ["another_name"]),
        ('{"things": [{"label": "red thing", "box_2d": [0, 0, 9]}]}', ["not_a_box"]),
        ('{"things": [{"label": "red thing", "bbox": [0, 0, 9, 9]}]}', ["not_a_box"]),
        ('{"things": [{"label": "red thing", "box_2d": [5, 0, 5, NaN]}]}', ["not_a_box"]),
        ('{"things": [{"label": "red thing", "box_2d": [0, 1000, 9, 1100]}]}', ["outside"]),
        ('{"things": [{"label": "' + "x" * 999 + '", "box_2d": [0, 0, 9, 9]}]}', ["bad_text"]),
    ],
)  # fmt: skip
def test_whatever_is_answered_is_regions_or_a_reason(content, reasons):
    assert answered(content).reasons.tolist() == reasons


def test_a_reply_that_is_cut_is_refused():
    assert answered('{"things": []}', outcome="truncated").reasons.tolist() == ["truncated"]


@dataclass
class Answering:
    """A chat client that has one answer."""

    reply: Reply

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error) -> None:
        return None

    def request_id(self, _request):
        return "0" * 64

    async def ask(self, _request):
        return self.reply


def answered(content, outcome="reply"):
    """The regions in one answer about one picture."""
    chat = Answering(Reply(request_id="", text=content, outcome=outcome, cached=False))
    pairs = pa.table({"uid": ["0" * 32], "image_id": ["0" * 64]})
    shown = Shown(name="regions", pairs=pairs, places=pairs.slice(0, 0), facts=None, workers=1, rehearsal=chat)
    replies = ask_regions(None, PointingRule(base_url="http://127.0.0.1/v1", model="eyes"), shown, NAMES)
    return replied_regions(replies, [SIZE], model="eyes", names=NAMES)


def test_no_more_is_spent_than_the_budget(run):
    with tiny_server() as server:
        server.answer = looking
        prices = {"prompt_usd_per_million": 1000.0, "completion_usd_per_million": 1000.0}
        with pytest.raises(BudgetExceededError):
            pointed(run, server, budget_usd=0.01, **prices)
        assert server.requests == []
