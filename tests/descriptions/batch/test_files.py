import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.batch.files import (
    BatchOutput,
    detail_line,
    input_line,
    named_lines,
    reason_word,
    split_requests,
)
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.request import ChatRequest, Message
from tests.batch_server import completion, line


def content(text="What?", **more):
    request = ChatRequest(messages=(Message(role="user", content=text),), **more)
    return request.content(identity="https://x.test/v1", model="tiny")


def read(*lines: bytes, ids=("a", "b", "c")):
    output = BatchOutput(request_ids=ids)
    output.read(b"".join(lines))
    return output


def answered(custom_id, **more):
    return line(custom_id, response={"status_code": 200, "body": completion()} | more)


def test_a_line_holds_hostile_names_as_data_on_one_line():
    sent = input_line("a", content('cat"\n{"custom_id": "b"}\u2028\ud800'), Dialect())
    assert sent.count(b"\n") == 1
    assert json.loads(sent)["body"]["messages"][0]["content"].startswith('cat"\n{"custom_id": "b"}\u2028')


def test_a_line_is_put_in_the_dialect_of_the_endpoint():
    dialect = Dialect(token_limit="max_completion_tokens", left_out=frozenset({"seed"}))  # noqa: S106
    body = json.loads(input_line("a", content(), dialect))["body"]
    assert body["max_completion_tokens"] == 300
    assert not {"seed", "max_tokens"} & set(body)


@given(
    sizes=st.lists(st.integers(0, 400), max_size=30),
    most_requests=st.integers(1, 8),
    most_bytes=st.integers(1, 3000),
)
def test_parts_keep_every_request_once_in_order_and_fit_unless_a_request_alone_does_not(
    sizes, most_requests, most_bytes
):
    requests = {f"{number:03}": content("x" * size) for number, size in enumerate(sizes)}
    parts = list(split_requests(requests, Dialect(), most_requests=most_requests, most_bytes=most_bytes))
    assert [one for part in parts for one in part] == list(requests)
    for part in parts:
        assert 1 <= len(part) <= most_requests
        length = sum(len(input_line(one, asked, Dialect())) for one, asked in part.items())
        assert length <= most_bytes or len(part) == 1


@given(junk=st.lists(st.binary(max_size=60), max_size=8), place=st.integers(0, 8))
def test_whatever_else_stands_in_a_file_a_reply_is_found_and_nothing_breaks(junk, place):
    lines = [one.replace(b"\n", b"") + b"\n" for one in junk]
    lines.insert(min(place, len(lines)), answered("a"))
    output = read(*lines)
    assert set(output.completions) == {"a"}
    assert sum(output.problems.values()) == sum(bool(one.strip()) for one in junk)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "status_code", "body", "code", "choices", "message"]), inner)
        ),
        max_leaves=12,
    )
)
def test_any_response_is_a_reply_a_failure_or_a_problem(response):
    output = read(line("a", response=response))
    assert len(output.completions) + len(output.failures) + sum(output.problems.values()) == 1


@pytest.mark.parametrize(
    ("more", "reason", "again"),
    [
        ({"response": {"status_code": 500, "body": {"error": {"message": "m"}}}}, "http_500", True),
        ({"response": {"status_code": 429, "body": {}}}, "http_429", True),
        ({"response": {"status_code": 400, "body": {"error": {"message": "m"}}}}, "http_400", False),
        ({"response": {"status_code": 404, "body": "no"}}, "http_404", False),
        ({"error": {"code": "batch_expired", "message": "m"}}, "batch_expired", True),
        ({"error": {"code": None}}, "batch_error", True),
        ({"error": "words"}, "batch_error", True),
        ({"response": None}, "batch_error", True),
        ({"response": {"status_code": True}}, "batch_error", True),
    ],
)
def test_a_failed_line_says_why_and_whether_to_ask_again(more, reason, again):
    failure = read(line("a", **more)).failures["a"]
    assert (failure.reason, failure.retriable) == (reason, again)


def test_a_refused_parameter_is_told():
    error = {"message": "Unsupported parameter: 'seed' is not supported", "param": "seed"}
    failure = read(line("a", response={"status_code": 400, "body": {"error": error}})).failures["a"]
    assert failure.refused == {"seed"}


def test_failures_and_replies_come_from_both_files_and_the_first_line_counts():
    output = BatchOutput(request_ids=("a", "b"))
    output.read(answered("a"))
    output.read(line("b", error={"code": "x"}) + line("a", error={"code": "late"}))
    assert set(output.completions) == {"a"}
    assert set(output.failures) == {"b"}
    assert output.problems == {"duplicate_custom_id": 1}


def test_the_last_line_needs_no_newline():
    assert set(read(answered("a").rstrip(b"\n")).completions) == {"a"}


def test_lines_in_a_refusal_count_from_one_and_nonsense_names_nobody():
    errors = [("bad", 1, "m"), ("bad", 3, "m"), ("bad", 0, "m"), ("bad", -1, "m"), ("bad", 9, "m"), ("bad", None, "m")]
    assert set(named_lines(errors, ["a", "b", "c"])) == {"a", "c"}


def test_what_an_endpoint_says_is_a_word_or_one_safe_line():
    assert reason_word("Token-Limit\u202e exceeded!", default="x") == "token_limit_exceeded"
    assert reason_word(["a"], default="x") == "x"
    assert detail_line("a\nb\x1b[31m\ud800" + "x" * 500).startswith("a b [31m?")
    assert len(detail_line("x" * 500)) == 200
