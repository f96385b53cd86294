"""Captions out of tags: which tags of a pair are told, and that a chat server is asked with examples before them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.errors import RuleError
from evenly.curation.regions.judgement import RegionRule
from evenly.tasks.captions.tags import keep_tags, tags_of
from evenly.tasks.regions.find_regions import FIND_REGIONS
from tests.chat_server import TinyServer, tiny_server
from tests.tasks.captions.test_chat_captioners import POOL, offered, recaption
from tests.tasks.whole_rebuild import open_run

TAGS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        (["fox, red fox ,, snow"], ("fox", "red fox", "snow")),
        ([["fox", "snow", "fox"], "tree"], ("fox", "snow", "tree")),
        ([None, " \n"], ()),
        ([7], ("7",)),
        (["x" * 500], ("x" * 100,)),
        (["a,b,c,d,e"], ("a", "b", "c", "d")),
    ],
)
def test_tags_are_the_parts_of_columns_each_once(values, tags):
    assert tags_of(values, most=4) == tags


@given(TAGS, st.integers(0, 5))
def test_the_first_tag_always_stays_and_nothing_is_drawn_by_luck(tags, sample):
    kept = keep_tags(tags, uid="u", sample=sample, dropout=0.5)
    assert kept == keep_tags(tags, uid="u", sample=sample, dropout=0.5)
    assert list(kept) == [tag for tag in tags if tag in kept]
    assert kept[:1] == tuple(tags[:1])
    assert keep_tags(tags, uid="u", sample=sample, dropout=0.0) == tuple(tags)
    assert keep_tags(tags, uid="u", sample=sample, dropout=1.0) == tuple(tags[:1])


@pytest.mark.usefixtures("colour_words")
def test_tags_of_the_pool_become_captions_by_analogy_to_examples(tmp_path):
    pool = [replace(row, label="fox, snow" if row.name != "d" else None) for row in POOL]
    run = open_run(tmp_path / "w", pool)
    example = {"tags": ["dog", "beach"], "caption": "A dog on a beach."}
    with tiny_server() as server:
        server.answer = lambda *_: TinyServer.completion(json.dumps({"caption": "A fox in the snow."}))
        captioner = {"name": "tags", "kind": "tags", "base_url": server.url, "model": "tiny", "columns": ["label"]}
        record = recaption(run, [captioner | {"examples": [example], "dropout": 0.3}])
        messages = server.requests[0]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert json.loads(messages[0]["content"]) == {"tags": ["dog", "beach"]}
    assert json.loads(messages[1]["content"]) == {"caption": "A dog on a beach."}
    assert json.loads(messages[2]["content"])["tags"][0] == "fox"
    rows = offered(run, record, "tags")
    assert sorted(row["refused"] for row in rows) == ["", "", "", "no_tags"]
    assert record.notes["refused"] == {"tags": {"no_tags": 1}}


@pytest.mark.usefixtures("colour_words")
def test_labels_of_regions_are_tags(tmp_path):
    boxes = [{"bbox": [0, 0, 9, 9], "category": name} for name in ("owl", "hat", "owl")]
    run = open_run(tmp_path / "w", [replace(row, label=json.dumps(boxes if row.name != "d" else [])) for row in POOL])
    regions = [(FIND_REGIONS, RegionRule(method=None, boxes="label"))]
    with tiny_server() as server:
        server.answer = lambda *_: TinyServer.completion(json.dumps({"caption": "An owl with a hat."}))
        captioner = {"name": "tags", "kind": "tags", "base_url": server.url, "model": "tiny"}
        record = recaption(run, [captioner | {"columns": ["region_labels"]}], regions)
        asked = json.loads(server.requests[0]["messages"][-1]["content"])
    assert asked["tags"] == ["hat", "owl"]
    assert sorted(row["refused"] for row in offered(run, record, "tags")) == ["", "", "", "no_tags"]


def test_a_column_that_the_pool_lacks_is_named_before_anything_is_asked(tmp_path):
    run = open_run(tmp_path / "w", POOL)
    captioner = {
        "name": "tags",
        "kind": "tags",
        "base_url": "http://127.0.0.1:9/v1",
        "model": "m",
        "columns": ["topics"],
    }
    with pytest.raises(RuleError, match=r"^`columns` of captioners must be columns of the pool; got topics. There are"):
        recaption(run, [captioner | {"columns": ["topics"]}])
