import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.chat.budget import Budget, likely_prompt_tokens, most_prompt_tokens
from evenly.descriptions.chat.endpoint import Prices
from evenly.descriptions.chat.request import ChatRequest, Message, Sampling
from evenly.descriptions.errors import BudgetExceededError
from evenly.descriptions.texts.replies import list_schema

PRICES = Prices(prompt_usd=1.0, completion_usd=2.0)


def question(text="What?", max_tokens=100, **more):
    return ChatRequest(messages=(Message(role="user", content=text),), sampling=Sampling(max_tokens=max_tokens), **more)


@pytest.fixture
def budget(book):
    return Budget(0.01, PRICES, book)


def test_the_maximum_is_that_of_all_bytes_and_of_the_longest_reply(budget):
    request = question("What?", schema=list_schema("features", fewest=1, most=3))
    expected = (most_prompt_tokens(request) * 1.0 + 100 * 2.0) / 1e6
    assert budget.maximum(request) == pytest.approx(expected)
    assert budget.reserve(request, "a") == pytest.approx(expected)


@given(st.text(max_size=300), st.text(max_size=50))
def test_no_more_tokens_than_bytes_and_never_fewer_than_the_estimate(text, other):
    request = ChatRequest(messages=(Message(role="system", content=other), Message(role="user", content=text)))
    most = most_prompt_tokens(request)
    assert most > len((text + other).encode()) >= 0
    assert likely_prompt_tokens(request) <= most


def test_a_ligature_that_normalises_to_eighteen_letters_is_counted_as_them():
    assert most_prompt_tokens(question("\ufdfa")) - most_prompt_tokens(question("")) == 33


def test_a_schema_counts_in_whatever_form_it_goes_out():
    schema = list_schema("features", fewest=1, most=3)
    assert most_prompt_tokens(question(schema=schema)) > most_prompt_tokens(question()) + 150


def test_a_settled_reply_costs_its_tokens_and_makes_room(budget, book):
    budget.reserve(question(max_tokens=4_000), "a")
    with pytest.raises(BudgetExceededError):
        budget.reserve(question(max_tokens=4_000), "b")
    budget.settle("a", {"prompt_tokens": 100, "completion_tokens": 10})
    assert book.total() == pytest.approx(120e-6)
    budget.reserve(question(max_tokens=4_000), "b")
    budget.release("b")
    assert book.total() == pytest.approx(120e-6)
    assert book.lost() == []


def test_a_reply_without_usage_counts_at_its_maximum_and_is_not_lost(budget):
    most = budget.reserve(question(), "a")
    budget.settle("a", None)
    assert budget.summary() == {"limit_usd": 0.01, "spent_usd": most, "lost_attempts": 0, "lost_usd": 0}


def test_a_lost_attempt_stays_at_its_maximum_and_is_told_also_by_the_next_run(budget, book):
    most = budget.reserve(question(), "a")
    assert budget.summary()["lost_attempts"] == 0
    assert budget.lose("a") == most
    for one in (budget, Budget(0.01, PRICES, book)):
        assert one.summary() == {"limit_usd": 0.01, "spent_usd": most, "lost_attempts": 1, "lost_usd": most}


def test_a_budget_that_is_spent_says_how_much_of_what_and_what_to_do(budget):
    budget.reserve(question(), "a")
    budget.settle("a", {"prompt_tokens": 1_000, "completion_tokens": 1_000})
    budget.reserve(question(max_tokens=2_000), "b")
    budget.lose("b")
    with pytest.raises(BudgetExceededError) as caught:
        budget.reserve(question(max_tokens=2_000), "c")
    text = str(caught.value)
    assert "$0.003000 is spent" in text
    assert f"${caught.value.reserved_usd:.6f} reserved" in text
    assert "got $0.010000" in text
    assert "--budget-usd" in text
    assert "\n" not in text


def test_no_limit_only_keeps_the_book(book):
    budget = Budget(None, PRICES, book)
    budget.reserve(question(max_tokens=10_000_000), "a")
    assert budget.summary()["limit_usd"] is None
    assert book.total() > 20
