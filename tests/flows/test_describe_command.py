"""`evenly describe` beside a build or a pool: confusable pairs only, and how often captions hold each name."""

import itertools
import json

import pytest

from tests.chat_server import TinyServer, tiny_server
from tests.labelled_build import Picture, WordEncoder, publish

CLASSES = ["cat", "dog", "oak tree", "ship", "spoon"]
DIFFERENCES = {
    "differences": [
        {"attribute": "tail", "first": "has a long striped tail", "second": "has a short white tail"},
        {"attribute": "ears", "first": "has round black ears", "second": "has pointed brown ears"},
    ]
}


@pytest.fixture
def server():
    with tiny_server() as tiny:
        tiny.answer = lambda _request, _before: TinyServer.completion(json.dumps(DIFFERENCES))
        yield tiny


@pytest.fixture
def describe(evenly, server, workspace, tmp_path, monkeypatch):
    """Describe these classes: (exit status, facts or errors)."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())

    def run(classes, *arguments, as_json=True):
        path = tmp_path / "things.txt"
        path.write_text("\n".join(classes) + "\n")
        where = ("--root", workspace.root, "--base-url", server.url, "--model", "tiny")
        status, out, err = evenly("describe", path, *where, *arguments, *(["--json"] if as_json else []))
        return status, err if status else json.loads(out) if as_json else out

    return run


def asked(server):
    """The pairs of class names that were asked about since the last time."""
    found = [json.loads(one["messages"][0]["content"].partition("\n")[0]) for one in server.requests]
    server.requests.clear()
    return [(one["first"]["class"], one["second"]["class"]) for one in found]


def pictures(*pairs, part="train"):
    return [Picture(a, {a: 1.0, b: 0.9}, part) for a, b in pairs]


def test_only_the_pairs_that_train_and_val_pictures_confuse_are_asked_about(describe, server, workspace):
    publish(workspace, pictures(("cat", "dog"), ("ship", "oak tree")))
    status, found = describe(CLASSES, "--method", "differential", "--build", "some-1", "--pairs-top", 2)
    assert status == 0
    assert (found["pairs_asked"], found["pairs_possible"]) == (len(set(asked(server))), 10)
    assert found["pairs_asked"] <= 2
    texts = {(row["class"], row["other"]) for row in found["descriptions"] if row["verdict"] == "accepted"}
    assert texts <= {("cat", "dog"), ("dog", "cat"), ("ship", "oak tree"), ("oak tree", "ship")}
    gaps = [row["class"] for row in found["descriptions"] if row["reason"] == "no_pair"]
    assert "spoon" in gaps


def test_a_plan_of_what_is_described_reads_no_reply(describe, monkeypatch):
    options = ("--method", "differential,synonyms", "--pairs-top", 5)
    described = describe(CLASSES, *options)[1]
    monkeypatch.setattr("evenly.descriptions.chat.rehearsal.Rehearsal.ask", None)
    rows = {row["method"]: row for row in describe(CLASSES, *options, "--plan")[1]["descriptions"]}
    assert rows["differential"]["questions"] == rows["differential"]["stored"] == described["requests_sent"]
    assert rows["differential"]["requests_at_most"] == rows["synonyms"]["questions"] == 0


def test_the_split_of_a_recipe_keeps_its_test_pictures_out(describe, server, workspace, tmp_path):
    split = publish(workspace, [*pictures(("cat", "dog")), *pictures(*[("ship", "spoon")] * 5, part="test")])
    workspace_builds = workspace.root / "builds" / "aliases"
    workspace_builds.mkdir(parents=True, exist_ok=True)
    (workspace_builds / "some-latest.json").write_text(json.dumps({"build": "some-1"}))
    recipe = tmp_path / "some.yaml"
    recipe.write_text(
        f"{{name: some, seed: 7, sources: [{{kind: csv, path: p.csv}}], curate: {{download: {{}}}}, "
        f"labels: {{file: l.csv, split: {split}}}}}"
    )
    options = ("--method", "differential", "--pairs-top", 2, "--pairs-cover", 1)
    assert describe(CLASSES, *options, "--build", recipe)[1]["pairs_asked"] == 1
    assert asked(server) == [("cat", "dog")]


@pytest.mark.slow
def test_an_added_class_asks_about_its_own_pairs_only(describe, server):
    options = ("--method", "differential", "--pairs-top", 5, "--pairs-cover", 1)
    assert describe(CLASSES[:4], *options)[0] == 0
    first = asked(server)
    assert set(first) == set(itertools.combinations(sorted(CLASSES[:4]), 2))
    status, found = describe(CLASSES, *options)
    second = asked(server)
    assert status == 0
    assert set(second) == set(itertools.combinations(sorted(CLASSES), 2)) - set(first)
    assert found["requests_sent"] == len(second)
    again = describe(CLASSES, *options)[1]
    assert asked(server) == []
    assert (again["requests_sent"], again["pairs_asked"]) == (0, 10)


def test_people_read_how_many_pairs_of_how_many_there_are(describe):
    status, out = describe(CLASSES, "--method", "differential", "--pairs-top", 2, as_json=False)
    assert status == 0
    assert "of 10 pairs of classes to tell apart, the most frequent of" in " ".join(out.split())


def test_a_plan_counts_the_pairs_and_sends_nothing(describe, server):
    options = ("--method", "description,differential", "--pairs-top", 3)
    rows = {row["method"]: row for row in describe(CLASSES, *options, "--plan")[1]["descriptions"]}
    assert server.requests == []
    found = describe(CLASSES, *options)[1]
    assert rows["differential"]["questions"] == rows["differential"]["pairs_asked"] == found["pairs_asked"]
    assert rows["differential"]["pairs_possible"] == 10
    assert (rows["description"]["pairs_asked"], rows["description"]["pairs_possible"]) == (0, 0)


def test_synonyms_come_with_their_number_in_a_pool(describe, tmp_path):
    pool = tmp_path / "pool.csv"
    pool.write_text('text\nA car and an AUTOMOBILE\n"an automobile, old"\nautomobiles\nwhale\n')
    status, found = describe(["car", "whale"], "--method", "synonyms", "--pool", pool, "--caption", "text")
    assert status == 0, found
    counts = {(row["class"], row["name"]): row["captions"] for row in found["names"]}
    assert (counts["car", "car"], counts["car", "automobile"], counts["whale", "whale"]) == (1, 2, 1)
    accepted = {row["text"] for row in found["descriptions"] if row["verdict"] == "accepted"}
    assert accepted == {name for of, name in counts if name != of}
    assert found["captions_searched"] == 4
    car = next(row for row in found["most_frequent"] if row["class"] == "car")
    assert car == {"class": "car", "captions": 2, "strict": "automobile", "relaxed": "automobile"}
    out = describe(["car", "whale"], "--method", "synonyms", "--pool", pool, "--caption", "text", as_json=False)[1]
    assert "captions of 4 that hold a name" in out


def test_a_build_brings_its_own_captions_unless_a_pool_is_named(describe, workspace, tmp_path):
    publish(workspace, [Picture("car", {"car": 1.0}, "train", caption) for caption in ("a car", "an automobile", "x")])
    found = describe(["car", "whale"], "--method", "synonyms", "--build", "some-1")[1]
    assert found["captions_searched"] == 3
    (tmp_path / "pool.csv").write_text("caption\na car\n")
    beside = ("--build", "some-1", "--pool", tmp_path / "pool.csv")
    assert describe(["car", "whale"], "--method", "synonyms", *beside)[1]["captions_searched"] == 1
    assert "names" not in describe(["car", "whale"], "--method", "synonyms")[1]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--method", "synonyms", "--pool", "pool.txt"), 2, "`--pool` must end in .parquet, .csv or .jsonl"),
        (("--method", "synonyms", "--pool", "missing.csv"), 2, "`path` must match at least one file"),
        (("--method", "differential", "--build", "nothing"), 1, "no build matches `nothing`"),
        (("--method", "differential", "--build", "some-1", "--submit"), 2, "`--submit` must come without --build"),
        (("--method", "differential,poem"), 2, "got `poem`"),
        (("--method", "differential", "--pairs-top", "1"), 2, "pairs-top"),
    ],
)
def test_what_cannot_be_is_one_clear_line(describe, arguments, status, words):
    found = describe(CLASSES, *arguments)
    assert found[0] == status
    assert words in " ".join(found[1].split())


def test_a_build_without_features_says_what_it_lacks(describe, workspace):
    publish(workspace, pictures(("cat", "dog")), features=False)
    status, err = describe(CLASSES, "--method", "differential", "--build", "some-1")
    assert status == 1
    assert "must have features, to tell which classes are taken for each other" in " ".join(err.split())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/api", "must answer until the end"),
        ("{server}/nothing", "must take the event of a class list"),
    ],
)
def test_a_list_that_no_server_has_taken_is_not_called_submitted(describe, server, url, words):
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with temporary_settings({PREFECT_API_URL: url.format(server=server.url), PREFECT_CLIENT_MAX_RETRIES: 0}):
        status, err = describe(CLASSES, "--method", "description", "--submit")
    assert status == 1
    assert words in " ".join(err.split())
