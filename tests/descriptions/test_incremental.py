"""What a changed class list costs: the requests of what is new, counted at the server, and nothing else."""

import json

import pytest

from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.describe import describe
from evenly.descriptions.methods.description import Description
from evenly.descriptions.methods.differential import Differential
from evenly.descriptions.methods.prompts import Prompts

LOOKS = {
    "features": ["has a long striped tail", "has four short legs", "has thick orange fur"],
    "sentences": ["A photo shows round green eyes and thick orange fur."],
    "differences": [
        {"attribute": "tail", "first": "has a long striped tail", "second": "has a short brown tail"},
        {"attribute": "legs", "first": "has four short legs", "second": "has two long legs"},
    ],
}
METHODS = (Description(), Prompts(), Differential())
PETS = "cat\ndog\nhen\nfrog\n"
PAIRS = (("cat", "dog"), ("hen", "frog"))


@pytest.fixture
def asked(server, replies):
    """Describe a list with a new client on one store: what was asked, as (method's key, classes), sorted."""

    def answer(request, _before):
        (key,) = request["response_format"]["json_schema"]["schema"]["properties"]
        return server.completion(json.dumps({key: LOOKS[key]}))

    server.answer = answer

    def run(text, *, name="pets", methods=METHODS, pairs=PAIRS):
        server.requests.clear()
        client = ChatClient(server.endpoint, store=replies, concurrency=4)
        found = describe(parse_class_list(text, name), methods=methods, client=client, pairs=pairs)
        assert found.counts.requests_sent == len(server.requests)
        return sorted(map(about, server.requests))

    return run


def about(request):
    (key,) = request["response_format"]["json_schema"]["schema"]["properties"]
    facts = json.loads(request["messages"][0]["content"].partition("\n")[0])
    names = [facts["class"]] if "class" in facts else [facts["first"]["class"], facts["second"]["class"]]
    return key, *sorted(names)


def test_a_new_list_asks_once_for_each_class_method_and_pair(asked):
    names = PETS.split()
    wanted = {(key, name) for key in ("features", "sentences") for name in names}
    wanted |= {("differences", "cat", "dog"), ("differences", "frog", "hen")}
    assert wanted == set(asked(PETS))


def test_a_second_run_asks_nothing(asked):
    assert asked(PETS)
    assert asked(PETS) == []


def test_three_added_classes_ask_for_themselves_and_their_pairs_only(asked):
    asked(PETS)
    more = (*PAIRS, ("cat", "wolf"), ("wolf", "newt"))
    found = asked("wolf\n" + PETS + "newt\nsnail\n", pairs=more)
    assert set(found) == {
        *((key, name) for key in ("features", "sentences") for name in ("wolf", "newt", "snail")),
        ("differences", "cat", "wolf"),
        ("differences", "newt", "wolf"),
    }
    assert asked("wolf\n" + PETS + "newt\nsnail\n", pairs=more) == []


@pytest.mark.parametrize(
    ("text", "name", "pairs"),
    [
        ("frog\nhen\ndog\ncat\n", "pets", PAIRS),
        (PETS, "renamed", PAIRS),
        (PETS.replace("\n", "\r\n"), "pets", PAIRS),
        (PETS, "pets", (("frog", "hen"), ("dog", "cat"))),
        ("cat\ndog\n", "fewer", PAIRS[:1]),
    ],
    ids=["another order", "another name", "other line ends", "pairs the other way round", "classes taken out"],
)
def test_what_changes_no_question_asks_nothing(asked, text, name, pairs):
    asked(PETS)
    assert asked(text, name=name, pairs=pairs) == []


def reworded(method):
    """The same method with other words in its question."""
    words = {"instruction": method.instruction + " Be brief.", "__module__": method.__module__}
    return type(type(method).__name__, (type(method),), words)()


@pytest.mark.parametrize("changed", range(len(METHODS)), ids=[method.name for method in METHODS])
def test_another_wording_of_a_method_asks_its_questions_only(asked, changed):
    first = asked(PETS)
    methods = [reworded(method) if place == changed else method for place, method in enumerate(METHODS)]
    key = ("features", "sentences", "differences")[changed]
    assert asked(PETS, methods=methods) == [one for one in first if one[0] == key]


def test_another_gloss_asks_again_for_its_class_and_pair_only(asked):
    asked(PETS)
    found = asked(PETS.replace("cat", "cat\ta small tame feline"))
    assert set(found) == {("features", "cat"), ("sentences", "cat"), ("differences", "cat", "dog")}
