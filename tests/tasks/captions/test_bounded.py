"""What captioners that ask a server hold does not grow with the number of requests: counted, and not by the clock."""

import gc
import weakref

import pytest

from evenly.descriptions.captions import asked as asked_module
from evenly.descriptions.chat.request import ChatRequest
from evenly.tasks.captions import captioner as captioner_module
from evenly.tasks.captions import realigned, seen
from evenly.tasks.captions import recaption as recaption_module
from tests.batch_server import Ending
from tests.batch_server import serving as batch_serving
from tests.tasks.captions.test_batched import caption_of
from tests.tasks.captions.test_chat_captioners import POOL, offered, recaption
from tests.tasks.captions.test_chat_captioners import seen as captioner
from tests.tasks.whole_rebuild import open_run
from tests.vision_server import vision_server

pytestmark = pytest.mark.usefixtures("colour_words")
AT_ONCE = 8


class Living:
    """How many requests, and how many answers as objects, there were at most when requests were made."""

    def __init__(self, make) -> None:
        self._make, self._requests = make, []
        self.made = self.requests = self.answers = 0

    def __call__(self, *given: object, **named: object) -> ChatRequest:
        request = self._make(*given, **named)
        self._requests = [there for there in self._requests if there() is not None] + [weakref.ref(request)]
        self.made += 1
        self.requests = max(self.requests, len(self._requests))
        if not self.made % AT_ONCE:  # all that lives is looked through
            answers = sum(type(thing) is asked_module._Answer for thing in gc.get_objects())
            self.answers = max(self.answers, answers)
        return request


@pytest.fixture
def living(monkeypatch):
    """Of what both kinds ask; few answers at a time become columns."""
    living = Living(seen.about_picture)
    monkeypatch.setattr(seen, "about_picture", living)
    with_texts = Living(realigned.about_texts)
    monkeypatch.setattr(realigned, "about_texts", with_texts)
    monkeypatch.setattr(asked_module, "_AT_ONCE", AT_ONCE)
    return {"seen": living, "realigned": with_texts}


@pytest.mark.parametrize(
    ("kind", "more", "made"),
    [pytest.param("seen", {"samples": 16}, 64, marks=pytest.mark.slow), ("realigned", {"rounds": 5}, 20)],
)
def test_no_request_outlives_its_answer_and_answers_become_columns(tmp_path, living, kind, more, made):
    with vision_server(fault="malformed", every=3) as server:
        record = recaption(open_run(tmp_path / "w", POOL), [captioner(server, kind=kind, concurrency=1, **more)])
    counted = living[kind]
    assert counted.made == made
    assert counted.requests <= 3  # two under way at most, and the one that is made
    assert counted.answers < AT_ONCE + 2
    assert record.notes["offered"]["seen"] + record.notes["refused"]["seen"]["not_json"] == made


def test_how_many_rows_are_read_at_a_time_changes_nothing(tmp_path, monkeypatch):
    with vision_server(fault="hostile", every=3) as server:
        run, asked = open_run(tmp_path / "w", POOL), captioner(server, kind="realigned", rounds=3)
        whole = recaption(run, [asked])
        for path in run.workspace.root.glob("ledger/**/recaption*"):
            path.rename(path.with_suffix(".gone"))
        monkeypatch.setattr(asked_module, "_AT_ONCE", 1)
        monkeypatch.setattr(recaption_module, "_AT_ONCE", 1)
        assert recaption(run, [asked]).output_hash == whole.output_hash


def test_a_batch_captioner_has_no_more_requests_under_way_than_a_batch_may_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(captioner_module, "MOST_REQUESTS", 2)
    with batch_serving() as server:
        server.answer = caption_of
        server.endings = [Ending(polls=0) for _ in range(9)]
        eyes = {"name": "eyes", "kind": "seen", "base_url": server.url, "model": "eyes", "max_side": 128, "batch": True}
        run = open_run(tmp_path / "w", POOL)
        record = recaption(run, [eyes])
        assert [len(server.requests_of(batch)) for batch in server.batches] == [2, 2]
    assert len(offered(run, record, "eyes")) == 4
