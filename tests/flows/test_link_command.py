"""`evenly link` on a build whose pairs say which record they are of."""

import json

import pytest

from evenly.storage.ledger import Ledger
from tests.labelled_build import Picture, WordEncoder, publish


@pytest.fixture
def link(evenly, workspace, monkeypatch):
    """Link a build of twenty records of three pairs each, and some pairs of no known record."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    pictures = [
        Picture(f"record {n}", {f"thing {n}": 1.0, f"view {view}": 0.15}, "train", f"thing {n} seen {view}")
        for n in range(20)
        for view in "abc"
    ]
    publish(workspace, [*pictures, Picture("", {"noise": 1.0}, ""), Picture("", {"more noise": 1.0}, "")])

    def run(*arguments, as_json=True):
        more = ["--json"] if as_json else []
        status, out, err = evenly("link", "--root", workspace.root, "--build", "some-1", *arguments, *more)
        return status, err if status else json.loads(out) if as_json else out

    return run


def test_a_threshold_is_chosen_on_half_of_the_records_and_judged_on_the_others(link, workspace, tmp_path):
    status, found = link("--truth", "label", "--weight", "0.636", "--weight", "1", "--out", tmp_path / "links")
    assert status == 0
    assert (found["pairs"], found["truth_records"], found["without_features"]) == (60, 20, 0)
    assert found["pairs_chooses"] + found["pairs_judged"] == 60
    best = max(row["ari"] for row in found["curve"])
    assert found["chosen_ari"] == best
    assert {row["weight"] for row in found["curve"]} == {0.636, 1.0}
    assert found["low"] <= found["ari"] <= found["high"]
    assert found["recipe"].startswith("deduplicate: {linked: {weight: ")
    (record,) = Ledger(workspace).records("link_records")
    rows = Ledger(workspace).table(record, "records").to_pylist()
    parts = {}
    for row in rows:
        parts.setdefault(row["truth"], set()).add(row["part"])
    assert all(len(some) == 1 for some in parts.values())
    assert len({row["part"] for row in rows}) == 2
    assert {path.name for path in (tmp_path / "links").iterdir()} == {"curve.csv", "records.csv"}
    out = link("--truth", "label", as_json=False)[1]
    assert "in a recipe: deduplicate: {linked: {weight: 0.636, min_cosine: " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--truth", "colour"), "`truth` must be a column of the sample table; got `colour`"),
        (("--truth", "uid"), "`truth` must name at least 2 records, one of them twice"),
        (("--truth", "label", "--weight", "2"), "`--weight` must be 0 to 1; got 2.0"),
    ],
)
def test_what_cannot_be_linked_is_a_usage_error(link, arguments, words):
    status, err = link(*arguments)
    assert status == 2
    assert words in err
