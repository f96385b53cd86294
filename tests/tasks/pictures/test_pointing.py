"""Boxes of a vision endpoint: a server that looks at the picture it was sent, and one that answers anything."""

import base64
import io
import json
import shutil
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evenly.descriptions.captions.asked import each_row
from evenly.descriptions.captions.pointing import PointingRule
from evenly.descriptions.chat.client import Reply
from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.errors import BudgetExceededError
from evenly.flows.cli.datasets.planning import plan_recipe
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.problems import RecipeError
from evenly.storage.web.images import PLACES
from evenly.tasks.captions.captioner import Shown
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures.pointing import ask_regions, replied_regions
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.regions.find_regions import FIND_REGIONS
from evenly.tasks.stage import run_steps
from tests.chat_server import TinyServer, tiny_server
from tests.tasks.step_contract import findings
from tests.tasks.whole_rebuild import RULES, Row, open_run, publish, write_pool

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


def section(server, **more):
    """The section of a recipe."""
    return {"method": None, "texts": "things.txt"} | {
        "endpoint": {"base_url": server.url, "model": "eyes", "max_side": 400} | more
    }


@pytest.fixture
def run(tmp_path):
    (tmp_path / "things.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return replace(open_run(tmp_path / "w", POOL), folder=tmp_path)


def rebuilt(run, server, **more):
    """The records of the steps, and the regions of all pictures."""
    steps = [(step, step.read(RULES[step.name])) for step in (COLLECT, DOWNLOAD)]
    records = run_steps(run, [*steps, (FIND_REGIONS, FIND_REGIONS.read(section(server, **more)))], InProcess(run=run))
    regions = run.ledger.table(records[-1], "regions")
    return records, regions.sort_by([(name, "ascending") for name in ("uid", "region")]).to_pylist()


def test_things_lie_where_the_model_saw_them_in_pixels_of_the_stored_picture_and_it_is_asked_once(run):
    with tiny_server() as server:
        server.answer = looking
        records, regions = rebuilt(run, server)
        assert len(server.requests) == 2
        for folder in run.workspace.features.glob("*/regions.lance"):
            shutil.rmtree(folder)
        for files in run.workspace.root.glob("ledger/**/find_regions*"):
            files.rename(files.with_suffix(".gone"))
        again = rebuilt(replace(run, bits=2), server, concurrency=1)  # from stored replies
        assert len(server.requests) == 2
    assert again[1] == regions
    assert again[0][-1].key == records[-1].key
    assert findings(run.workspace, publish(run, again[0])) == set()
    assert sorted((row["label"], row["source"], row["reason"]) for row in regions) == [
        ("blue thing", "endpoint:eyes", ""), ("blue thing", "endpoint:eyes", ""), ("red thing", "endpoint:eyes", ""),
    ]  # fmt: skip
    boxes = sorted([row[side] for side in ("x0", "y0", "x1", "y1")] for row in regions)
    wanted = [[0, 200, 800, 400], [400, 100, 800, 300], [1200, 0, 1600, 200]]
    assert np.abs(np.subtract(boxes, wanted)).max() <= 4  # a pixel of what was sent


def test_what_got_no_reply_is_said_so_and_asked_again_by_the_next_run(run, monkeypatch):
    monkeypatch.setattr("evenly.tasks.chat.endpoints.RetryRule", partial(RetryRule, attempts=1))
    with tiny_server() as server:
        server.answer = lambda *asked: TinyServer.failure(503) if len(server.requests) == 1 else looking(*asked)
        records, regions = rebuilt(run, server, concurrency=1)
        assert sorted({row["reason"] for row in regions}) == ["", "no_reply_http_503"]
        assert records[-1].notes["unanswered"] == 1
        records, regions = rebuilt(run, server, concurrency=1)
        assert (len(server.requests), len(regions)) == (3, 3)
        assert rebuilt(run, server, concurrency=1)[0][-1].key == records[-1].key


def test_a_plan_says_what_will_be_asked_and_a_recipe_what_cannot_be(run, tmp_path):
    write_pool(tmp_path / "pool", POOL)
    path = tmp_path / "eyes.yaml"

    def write(**endpoint):
        curate = {"download": {}, "regions": section(server, **endpoint)}
        recipe = {"name": "eyes", "seed": 3, "sources": [{"kind": "folder", "path": "pool"}], "curate": curate}
        path.write_text(json.dumps(recipe))

    with tiny_server() as server:
        write(prompt_usd_per_million=10)
        (row,) = plan_recipe(path, root=run.workspace.root)["captions"]
        assert (row["captioner"], row["requests"], row["pairs_are"]) == ("regions of pictures", 2, "about")
        assert 0 < row["cost_usd"] < row["cost_usd_at_most"]
        for wrong, words in (
            ({"base_url": "embedded"}, "model sees pictures"),
            ({"max_sid": 9}, "endpoint.max_sid.*Did you mean `max_side`"),
            ({"samples": 2}, "samples must be 1"),
        ):
            write(**wrong)
            with pytest.raises(RecipeError, match=words):
                read_recipe(path)
        assert server.requests == []


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
    places = pa.table({name: pa.nulls(0, pa.string()) for name in PLACES})
    shown = Shown(name="regions", pairs=pairs, places=places, facts=None, workers=1, rehearsal=chat)
    replies = ask_regions(None, PointingRule(base_url="http://127.0.0.1/v1", model="eyes"), shown, names=NAMES)
    return replied_regions(each_row(replies), [SIZE], model="eyes", names=NAMES)


def test_no_more_is_spent_than_the_budget(run):
    with tiny_server() as server:
        server.answer = looking
        prices = {"prompt_usd_per_million": 1000.0, "completion_usd_per_million": 1000.0}
        with pytest.raises(BudgetExceededError):
            rebuilt(run, server, budget_usd=0.01, **prices)
        assert server.requests == []
