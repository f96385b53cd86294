import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.rehearsal import Rehearsal
from evenly.descriptions.chat.retries import RetryRule
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.describe import describe
from evenly.descriptions.estimate import estimate, nothing_to_ask
from evenly.descriptions.methods import chosen_methods
from evenly.descriptions.methods.description import Description
from evenly.descriptions.methods.synonyms import Synonyms
from tests.few_examples import few

PRICES = Prices(prompt_usd=2.0, completion_usd=8.0)
PETS = parse_class_list("cat\ndog\nfire truck", "pets")
ONE = (Description(),)


@pytest.fixture
def rehearse(server, replies):
    def run(class_list=PETS, methods=ONE, **more):
        rehearsal = Rehearsal(identity=server.endpoint.identity, model=server.endpoint.model, store=replies)
        return estimate(class_list, methods=methods, rehearsal=rehearsal, prices=PRICES, **more)

    return run


def test_nothing_is_sent_and_everything_is_counted(server, rehearse):
    (found,) = rehearse()
    assert server.requests == []
    assert (found.class_list, found.method, found.questions, found.stored) == ("pets", "description", 3, 0)
    assert (found.requests_at_least, found.requests_at_most) == (3, 12)
    assert 0 < found.prompt_tokens < found.prompt_tokens_at_most
    assert found.completion_tokens == 3 * 300
    assert found.completion_tokens_at_most == 12 * 300
    assert found.cost_usd == pytest.approx((found.prompt_tokens * 2 + 900 * 8) / 1e6)
    assert found.cost_usd_at_most == pytest.approx((found.prompt_tokens_at_most * 2 + 3600 * 8) / 1e6)


def test_what_is_stored_is_neither_asked_nor_paid_again(client, rehearse):
    describe(PETS, methods=ONE, client=client)
    (found,) = rehearse()
    assert (found.stored, found.requests_at_least, found.requests_at_most) == (3, 0, 0)
    assert found.cost_usd == found.cost_usd_at_most == 0


def test_a_list_that_is_described_asks_nothing_and_says_so_by_its_table(client, rehearse):
    methods = chosen_methods(["description", "synonyms", "questions", "attributes"])
    described = describe(PETS, methods=methods, client=client)
    assert nothing_to_ask("pets", [method.name for method in methods], described.table) == rehearse(methods=methods)


def test_an_added_class_is_expected_to_reply_as_long_as_the_others_did(client, rehearse):
    describe(PETS, methods=ONE, client=client)
    (found,) = rehearse(parse_class_list("cat\ndog\nfire truck\nbird", "pets"))
    assert (found.questions, found.stored, found.requests_at_least, found.requests_at_most) == (4, 3, 1, 4)
    assert found.completion_tokens == 20


def test_a_reply_that_was_no_use_leaves_the_samples_after_it(server, client, rehearse):
    server.answer = lambda _request, _before: server.features("nice")
    describe(PETS, methods=ONE, client=client, samples=2)
    (found,) = rehearse(samples=4)
    assert (found.stored, found.requests_at_least, found.requests_at_most) == (6, 3, 6)


def test_methods_come_in_order_and_one_that_asks_nothing_costs_nothing(rehearse):
    found = rehearse(methods=(Synonyms(), *ONE))
    assert [one.method for one in found] == ["synonyms", "description"]
    assert (found[0].questions, found[0].requests_at_most, found[0].cost_usd_at_most) == (0, 0, 0)


def test_pairs_are_asked_about_where_they_are_known(rehearse):
    methods = chosen_methods(["differential"])
    assert rehearse(methods=methods)[0].requests_at_most == 0
    assert rehearse(methods=methods, pairs=[("cat", "dog")])[0].questions == 1


def test_a_whole_run_lies_within_every_estimate(server, replies, rehearse):
    names = ["description", "prompts", "questions", "synonyms", "attributes"]
    methods = chosen_methods(names)
    before = {one.method: one for one in rehearse(methods=methods)}
    client = ChatClient(server.endpoint, store=replies, retries=RetryRule(timeout_s=5.0, attempts=1), prices=PRICES)
    found = describe(PETS, methods=methods, client=client)
    least, most = (sum(getattr(one, f"requests_at_{name}") for one in before.values()) for name in ("least", "most"))
    assert least <= found.counts.requests_sent <= most
    assert found.counts.cost_usd <= sum(one.cost_usd_at_most for one in before.values())
    assert all(one.requests_at_most == 0 for one in rehearse(methods=methods))


@few(5, most=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(good=st.lists(st.booleans(), min_size=4, max_size=4), samples=st.integers(1, 4))
def test_any_run_sends_at_least_and_at_most_what_was_said(server, rehearse, good, samples):
    server.answer = lambda request, _before: server.good() if good[request["seed"]] else server.features("nice")
    (before,) = rehearse(samples=samples)
    client = ChatClient(server.endpoint, store=Fresh(), retries=RetryRule(timeout_s=5.0))
    sent = describe(PETS, methods=ONE, client=client, samples=samples).counts.requests_sent
    assert before.requests_at_least <= sent <= before.requests_at_most


class Fresh(dict):
    def put(self, request_id, record):
        self.setdefault(request_id, record)
