"""`evenly concepts` on a build and on pools, judged by a tiny server in the place of a language model."""

import csv
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.chat_server import TinyServer, tiny_server
from tests.labelled_build import Picture, publish

CAPTIONS = [
    "a crane lifts steel",
    "a crane lifts steel",
    "a crane by the lake",
    "the derrick",
    "Crane " * 101,
    'a "quoted" name',
    "NOT A/B test (one)",
    "otter",
    "carpet",
]
NAMES = {"crane": ["derrick", "Crane"], "otter": ["sea otter", "crane"], "quoted": ['"quoted" name'], "A/B test": []}


@pytest.fixture
def server():
    with tiny_server() as tiny:
        tiny.answer = answer
        yield tiny


def answer(request, _before):
    facts = json.loads(request["messages"][-1]["content"].partition("\n")[0])
    return TinyServer.completion(json.dumps({"relevant": "no" if "steel" in facts["caption"] else "yes"}))


@pytest.fixture
def concepts(evenly, workspace, tmp_path):
    """Audit the classes of NAMES and one more: (exit status, facts or errors)."""
    listing, names = tmp_path / "things.txt", tmp_path / "names.json"
    listing.write_text("\n".join([*NAMES, "--"]) + "\n")
    names.write_text(json.dumps(NAMES))

    def run(*arguments, as_json=True, synonyms=names):
        where = ("--root", workspace.root, "--synonyms", synonyms)
        status, out, err = evenly("concepts", listing, *where, *arguments, *(["--json"] if as_json else []))
        return status, err if status else json.loads(out) if as_json else out

    return run


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"text": CAPTIONS}), path)
    return ("--pool", path, "--caption", "text")


def by_class(found, *columns):
    return {row["class"]: tuple(row[name] for name in columns) for row in found["classes"]}


def test_classes_and_names_are_counted_whatever_marks_they_hold(concepts, pool):
    status, found = concepts(*pool)
    assert status == 0
    assert by_class(found, "actual_freq", "strict", "tail") == {
        "crane": (5, "crane", False),
        "otter": (1, "otter", False),
        "quoted": (1, "quoted", False),
        "A/B test": (1, "A/B test", False),
        "--": (0, "--", True),
    }
    assert [(row["name"], row["captions"]) for row in found["names"]][:3] == [
        ("crane", 4),
        ("derrick", 1),
        ("Crane", 4),
    ]
    assert [row["name"] for row in found["names"] if row["never_matches"]] == ["--"]
    assert found["refused_names"] == [["otter", "crane"]]
    assert (found["tail_by"], found["captions_searched"], found["renamed"]) == ("actual_freq", 9, 0)


def test_the_captions_of_a_build_give_the_same_counts(concepts, pool, workspace):
    publish(workspace, [Picture("crane", {"crane": 1.0}, "train", caption) for caption in CAPTIONS], features=False)
    _, in_build = concepts("--build", "some-1")
    _, in_pool = concepts(*pool)
    assert by_class(in_build, "actual_freq", "strict") == by_class(in_pool, "actual_freq", "strict")
    assert in_build["build"] == "some-1"


def test_judged_captions_extrapolate_with_an_interval_and_are_not_asked_twice(concepts, pool, server):
    asked = ("--judge", 10, "--base-url", server.url, "--model", "tiny")
    status, found = concepts(*pool, *asked)
    assert status == 0
    assert by_class(found, "judged", "yes", "relevant_total")["crane"] == (3, 2, pytest.approx(5 * 2 / 4))
    assert by_class(found, "too_long", "all_sampled")["crane"] == (1, True)
    (low, total, high) = by_class(found, "total_low", "relevant_total", "total_high")["crane"]
    assert 0 < low < total < high < 5
    assert by_class(found, "relevant_total", "tail")["--"] == (0.0, True)
    assert (found["tail_by"], found["without_estimate"]) == ("relevant_total", [])
    assert len(server.requests) == 6
    assert concepts(*pool, *asked) == (0, found)
    assert len(server.requests) == 6


def test_replies_that_say_neither_are_told(concepts, pool, server):
    asked = ("--judge", 10, "--base-url", server.url, "--model", "tiny")
    server.answer = lambda request, before: (
        TinyServer.completion("who knows") if "otter" in request["messages"][-1]["content"] else answer(request, before)
    )
    _, found = concepts(*pool, *asked)
    assert (found["tail_by"], found["without_estimate"]) == ("actual_freq", ["otter"])
    assert found["judging"]["without_answer"] == {"not_json": 1}


def test_what_an_endpoint_left_unanswered_is_asked_again_by_the_next_run(concepts, pool, server):
    asked = ("--judge", 10, "--base-url", server.url, "--model", "tiny")
    server.answer = lambda request, before: (
        TinyServer.failure(503, retry_after="500")
        if '"caption": "otter"' in request["messages"][-1]["content"]
        else answer(request, before)
    )
    _, first = concepts(*pool, *asked)
    assert (first["judging"]["unanswered"], first["without_estimate"]) == ({"http_503": 1}, ["otter"])
    server.answer = answer
    sent = len(server.requests)
    _, second = concepts(*pool, *asked)
    assert (len(server.requests) - sent, second["without_estimate"]) == (1, [])
    assert concepts(*pool, *asked)[1]["steps"] == second["steps"]
    assert len(server.requests) == sent + 1


def test_a_judge_that_tells_nothing_apart_does_not_decide_the_tail(concepts, tmp_path, server):
    path = tmp_path / "many.csv"
    path.write_text("\n".join(["caption", *(f"crane {number}" for number in range(25)), "otter", "quoted"]) + "\n")
    asked = ("--pool", path, "--judge", 30, "--base-url", server.url, "--model", "tiny")
    server.answer = lambda _request, _before: TinyServer.completion('{"relevant": "no"}')
    _, found = concepts(*asked)
    assert (found["one_answer"], found["tail_by"]) == (True, "actual_freq")
    assert by_class(found, "relevant_total", "tail")["crane"] == (0.0, False)


def test_a_budget_that_is_too_small_stops_before_it_is_passed(concepts, pool, server):
    paid = ("--budget-usd", "0.0000001", "--prompt-usd-per-million", 1, "--completion-usd-per-million", 1)
    status, error = concepts(*pool, "--judge", 10, "--base-url", server.url, "--model", "tiny", *paid)
    assert (status, server.requests) == (1, [])
    assert "`budget_usd` must hold the most that the next request may cost" in error


def test_tables_and_plot_hold_what_is_printed(concepts, pool, tmp_path):
    status, out = concepts(*pool, "--out", tmp_path / "t.csv", "--plot", tmp_path / "t.svg", as_json=False)
    assert status == 0
    assert "tail, lowest_fifth by actual_freq: --" in out
    with (tmp_path / "t.csv").open() as file:
        assert {row["class"]: row["actual_freq"] for row in csv.DictReader(file)}["crane"] == "5"
    concepts(*pool, "--out", tmp_path / "t.parquet")
    assert len(pd.read_parquet(tmp_path / "t-names.parquet")) == 9
    assert (tmp_path / "t.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "`concepts` must get `--build` or `--pool`"),
        (("--out", "t.json"), "`--out` must end in .csv or .parquet"),
        (("--plot", "t.png"), "`--plot` must end in .svg"),
        (("--prefix", "--"), "`--prefix` must hold a letter or digit"),
        (("--tail", "longest"), "`--tail` must be one of lowest_fifth, published"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(concepts, pool, arguments, message):
    status, error = concepts(*(pool if arguments else ()), *arguments)
    assert (status, len(error.splitlines())) == (2, 1)
    assert message in error


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1]", "`--synonyms` must hold {class: [names]}"),
        ("a.json", '{"whale": ["orca"]}', "`--synonyms` must be of classes of the list; got 'whale'"),
        ("a.json", '{"crane": "derrick"}', "`--synonyms` must give 'crane' a list of names"),
        ("a.txt", "crane derrick", "`--synonyms` must hold class, tab, name in each line"),
        ("missing", None, "descriptions of"),
    ],
)
def test_files_of_other_names_are_checked(concepts, pool, name, text, message):
    path = pool[1].with_name(name)
    if text is not None:
        path.write_text(text)
    status, error = concepts(*pool, synonyms=path)
    assert status in {1, 2}
    assert message in error


def test_names_come_from_lines_and_from_wordnet(concepts, pool, tmp_path):
    (tmp_path / "a.tsv").write_text("crane\tderrick\n\notter\tsea otter\n")
    assert by_class(concepts(*pool, synonyms=tmp_path / "a.tsv")[1], "actual_freq")["crane"] == (5,)
    _, found = concepts(*pool, synonyms="wordnet")
    assert found["synonyms"] == "WordNet"
