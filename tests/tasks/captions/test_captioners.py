"""Every kind of captioner: its rule is stored without payments and comes back; one that makes no sense is refused."""

import pytest

from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.captions.recaption import RECAPTION

CHAT = {"base_url": "http://model.test/v1", "model": "eyes"}
PAID = {"budget_usd": 5.0, "prompt_usd_per_million": 1.0, "concurrency": 3}
RULES = {
    "seen": CHAT | {"prompt": "long", "samples": 2},
    "realigned": CHAT | {"rounds": 2, "texts": 3},
    "tags": {"columns": ["label"], "examples": [{"tags": ["dog"], "caption": "A dog."}], "dropout": 0.2},
    "decoded": {"model": "coca_ViT-B-32", "pretrained": "laion2b_s13b_b90k", "samples": 5},
    "retrieved": {"candidates": 4, "sentence": "template"},
}


def read(kind, **values):
    return RECAPTION.read({"captioners": [{"name": "one", "kind": kind, **values}], "choose": {"by": "score"}})


def test_every_kind_is_tried():
    assert {*RULES} == {*CAPTIONERS}


@pytest.mark.parametrize("kind", [*RULES])
def test_a_stored_rule_comes_back_and_says_nothing_of_payments(kind):
    rule = read(kind, **RULES[kind])
    assert RECAPTION.read(rule.stored()) == rule
    if kind in {"seen", "realigned", "tags"}:
        paid = read(kind, **RULES[kind], **PAID)
        assert paid != rule
        assert paid.stored() == rule.stored()


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        ("seen", {"base_url": "embedded", "model": "smollm2"}, "the embedded one does not"),
        ("realigned", {"base_url": "embedded", "model": "smollm2"}, "the embedded one does not"),
        ("realigned", CHAT | {"samples": 2}, "rounds are the samples"),
        ("seen", CHAT | {"samples": 0}, "greater than or equal to 1"),
        ("tags", {"columns": ["label"], "dropout": 2}, "less than or equal to 1"),
        ("decoded", {"model": "coca_ViT-B-32", "top_p": 0}, "greater than 0"),
        ("retrieved", {"sentence": "poem"}, "'names' or 'template'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(kind, values, text):
    with pytest.raises(Exception, match=text):
        read(kind, **values)
