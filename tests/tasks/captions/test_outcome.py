"""What the log of a run says of each captioner, and at which level."""

import json
import logging
from dataclasses import replace

import pytest

from evenly.tasks.captions.outcome import captioner_rows, say_captioners
from evenly.tasks.progress import Progress
from evenly.tasks.server import builds
from evenly.tasks.server.artifacts import Artifact
from tests.tasks.captions.test_chat_captioners import POOL, recaption, seen
from tests.tasks.whole_rebuild import open_run
from tests.vision_server import vision_server

NOTES = {
    "offered": {"seen": 80, "tags": 3},
    "refused": {"seen": {"http_503": 5, "not_json": 15}, "tags": {"no_tags": 1}},
    "chosen": {"original": 60, "seen": 1200},
    "accounts": {"seen": {"limit_usd": None, "spent_usd": 1.5}},
}


@pytest.fixture
def lines(monkeypatch) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    monkeypatch.setattr("evenly.tasks.progress.log_line", lambda text, level: found.append((level, text)) or True)
    return found


def test_each_captioner_is_a_row_with_its_reasons_and_cost():
    seen_row, tags_row = captioner_rows(NOTES)
    assert seen_row == {
        "captioner": "seen",
        "offered": 80,
        "refused": 20,
        "reasons": "http_503 5, not_json 15",
        "chosen": 1200,
        "cost_usd": 1.5,
    }
    assert (tags_row["chosen"], tags_row["cost_usd"]) == (0, None)
    assert captioner_rows({"threshold": 0.2}) == []


def test_more_than_a_fifth_refused_is_a_warning(lines):
    say_captioners(Progress(), NOTES)
    assert lines == [
        (logging.INFO, "captions seen: 80 offered, 20 refused (http_503 5, not_json 15), 1,200 chosen"),
        (logging.WARNING, "captions tags: 3 offered, 1 refused (no_tags 1), 0 chosen"),
    ]


@pytest.mark.usefixtures("colour_words")
@pytest.mark.parametrize(("every", "level"), [(1, logging.WARNING), (9, logging.INFO)])
def test_a_run_says_it_when_its_captions_are_chosen(tmp_path, lines, every, level):
    run = open_run(tmp_path / "w", POOL)
    with vision_server(fault="malformed", every=every) as server:
        recaption(replace(run, progress=Progress()), [seen(server)])
    refused = "4 refused (not_json 4)" if every == 1 else "0 refused"
    assert [(one, text.split(",")[1].strip()) for one, text in lines if text.startswith("captions seen")] == [
        (level, refused)
    ]


def test_a_server_is_left_a_table_of_captioners_beside_the_funnel(rebuilt, monkeypatch):
    left: list[Artifact] = []
    monkeypatch.setattr(builds, "is_watched", lambda: True)
    monkeypatch.setattr(builds, "name_run", lambda *_: None)
    monkeypatch.setattr(builds, "emit", lambda *_: None)
    monkeypatch.setattr(builds, "leave_artifacts", left.extend)
    builds.show_build(rebuilt.run, builds.published(rebuilt.run, rebuilt.manifest, previous=None, max_change=None))
    (table,) = [json.loads(artifact.data) for artifact in left if artifact.key == "whole-captions"]
    notes = rebuilt.record("recaption").notes
    assert table == [
        {"captioner": "retrieved", "offered": notes["offered"]["retrieved"], "refused": 0, "reasons": ""}
        | {"chosen": notes["chosen"].get("retrieved", 0), "cost_usd": None}
    ]
