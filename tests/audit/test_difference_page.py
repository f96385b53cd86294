"""The page of two builds: causes, funnels, metrics and examples; hostile texts are shown, and nothing is loaded."""

import re

import pytest

from evenly.audit.diff import diff_builds
from evenly.audit.moves.metrics import Metric
from evenly.audit.published import PublishedBuild
from evenly.audit.report.difference import difference_page
from tests.audit.conftest import SCRIPT


def gone(image_ids):
    raise FileNotFoundError(image_ids)


@pytest.fixture
def page(shared_build, shared, read_all):
    def make(read_bytes=read_all, **facts):
        manifests = (shared_build(), shared_build(min_words=4, keep_top=0.5))
        difference = diff_builds(shared, *manifests)
        vars(difference).update(facts)
        return difference, difference_page(difference, *(PublishedBuild(shared, one) for one in manifests), read_bytes)

    return make


def test_the_page_shows_each_cause_both_funnels_and_examples_with_their_pictures(page):
    difference, text = page()
    for change in (*difference.entered, *difference.left):
        assert change.cause_title in text
        assert all(row["uid"] in text for row in change.examples)
    assert "caption_length.min_words 2 -&gt; 4" in text
    assert all(step["step"].replace("_", " ") in text for step in difference.steps if step["kept_after"] is not None)
    assert text.count("data:image/webp;base64,") >= len({change.step for change in difference.left})
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)


def test_nothing_from_the_web_acts_in_it_and_pictures_that_are_gone_are_left_out(page):
    metric = Metric(
        kind="adapters", subject=SCRIPT, name=SCRIPT, measure="accuracy", older=[0.1, None, None], newer=None
    )
    _, text = page(gone, metrics=[metric])
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "picture not held" in text
    assert "data:image" not in text
