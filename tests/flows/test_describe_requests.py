"""`evenly describe` against a server that counts: what is asked, asked again, and told of what nothing came of."""

import json

import pytest

from evenly.descriptions.methods.description import Description
from tests.chat_server import TinyServer, tiny_server


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("evenly.descriptions.chat.retries.FIRST_PAUSE_S", 0.002)
    with tiny_server() as tiny:
        yield tiny


@pytest.fixture
def describe(evenly, server, tmp_path):
    """Describe these classes: (exit status, facts or output, errors)."""

    def run(*classes, more=(), as_json=True):
        path = tmp_path / "pets.txt"
        path.write_text("\n".join(classes) + "\n")
        endpoint = ("--method", "description", "--base-url", server.url, "--model", "tiny")
        json_wanted = ["--json"] if as_json else []
        status, out, err = evenly("describe", path, "--root", tmp_path / "w", *endpoint, *more, *json_wanted)
        return status, json.loads(out) if as_json and not status else out, err

    return run


def class_of(request):
    return json.loads(request["messages"][0]["content"].partition("\n")[0])["class"]


def asked(server):
    """The classes that were asked about since the last time."""
    names = sorted(map(class_of, server.requests))
    server.requests.clear()
    return names


def test_a_second_run_asks_nothing_and_three_more_classes_only_for_themselves(describe, server):
    facts = describe("cat", "dog")[1]
    assert asked(server) == ["cat", "dog"]
    assert (facts["classes"], facts["accepted"], facts["requests_sent"], facts["cache_hits"]) == (2, 8, 2, 0)
    assert facts["class_list"] == "pets"
    again = describe("cat", "dog")[1]
    assert (again["requests_sent"], again["attempts"], again["cache_hits"], again["cost_usd"]) == (0, 0, 2, 0)
    assert again["descriptions"] == facts["descriptions"]
    more = describe("newt", "cat", "wolf", "dog", "snail")[1]
    assert asked(server) == ["newt", "snail", "wolf"]
    assert (more["requests_sent"], more["cache_hits"]) == (3, 2)


@pytest.mark.slow
def test_another_wording_asks_again_though_the_list_is_the_same(describe, server, monkeypatch):
    describe("cat")
    asked(server)
    monkeypatch.setattr(Description, "instruction", Description.instruction + " Be brief.")
    assert describe("cat")[1]["requests_sent"] == 1
    assert asked(server) == ["cat"]
    assert describe("cat")[1]["requests_sent"] == 0


@pytest.mark.slow
def test_what_the_endpoint_left_unanswered_is_told_and_asked_again_alone(describe, server):
    server.answer = lambda request, _before: server.failure(500) if class_of(request) == "dog" else server.good()
    status, facts, err = describe("cat", "dog", "hen")
    assert status == 0, err
    assert facts["unanswered"] == {"http_500": 4}
    assert facts["failed"] == {"http_500": 4}
    assert facts["undescribed"] == [["dog", "description", {"http_500": 4}]]
    assert "requests without an answer: 4 (http_500 4). Run again" in describe("cat", "dog", "hen", as_json=False)[1]
    asked(server)
    server.answer = lambda _request, _before: server.good()
    facts = describe("cat", "dog", "hen")[1]
    assert asked(server) == ["dog"]
    assert (facts["accepted"], facts["unanswered"], facts["undescribed"]) == (12, {}, [])
    assert describe("cat", "dog", "hen")[1]["requests_sent"] == 0
    assert asked(server) == []


@pytest.mark.slow
def test_what_the_endpoint_refuses_is_told_and_not_asked_again(describe, server):
    server.answer = lambda request, _before: server.failure(400) if class_of(request) == "dog" else server.good()
    facts = describe("cat", "dog")[1]
    assert facts["unanswered"] == {}
    assert facts["undescribed"] == [["dog", "description", {"http_400": 4}]]
    asked(server)
    assert describe("cat", "dog")[1]["requests_sent"] == 0
    assert asked(server) == []


def test_a_class_of_which_only_rejected_texts_came_is_told_with_the_reasons(describe, server):
    nice = TinyServer.features("nice", "lovely")
    server.answer = lambda request, _before: nice if class_of(request) == "dog" else server.good()
    status, facts, _ = describe("cat", "dog")
    assert status == 0
    assert facts["undescribed"] == [["dog", "description", facts["rejected"]]]
    assert sum(facts["rejected"].values()) > 0
    out = " ".join(describe("cat", "dog", as_json=False)[1].split())
    assert "pets: 4 texts accepted for 2 classes" in out
    assert "without a text" in out
    assert "0 requests sent" in out


def test_a_budget_that_ends_is_one_clear_line_and_more_money_goes_on(describe, server):
    prices = ("--prompt-usd-per-million", "1", "--completion-usd-per-million", "4")
    (plan,) = describe("cat", "dog", "hen", more=(*prices, "--plan"))[1]["descriptions"]
    assert asked(server) == []
    enough_for_one = plan["cost_usd_at_most"] / plan["requests_at_most"] * 1.01
    status, _, err = describe("cat", "dog", "hen", more=(*prices, "--budget-usd", enough_for_one))
    assert status == 1
    assert "raise --budget-usd" in err
    first = asked(server)
    facts = describe("cat", "dog", "hen", more=(*prices, "--budget-usd", "1"))[1]
    assert 0 < len(first) < 3
    assert sorted(first + asked(server)) == ["cat", "dog", "hen"]
    assert facts["account"]["spent_usd"] == pytest.approx(3 * 90e-6)
    assert facts["account"]["lost_attempts"] == 0
