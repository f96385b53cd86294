"""Search in builds of pictures as numbers: the definition is to score every pair and sort."""

import numpy as np
import pytest

from evenly.features import to_unit_rows
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.tables import lance_commits, lance_rows
from evenly.tasks.run import Run
from evenly.tasks.search import search
from evenly.tasks.search.pairs import Condition, Query, Selection
from evenly.tasks.search.search import search_build
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, publish, uid_of

PAIRS = [
    Pair("a bird", "red bird", source=None),
    Pair("another", "red bird", reason="near_duplicate", verdict="merged"),
    Pair("a ship", "blue ship", reason="balance_draw", step="balance"),
    Pair("blue", "blue bird", width=700),
    Pair("no picture", "", reason="empty_caption", step="collect"),
    Pair("early", "red ship", reason="too_small"),
]


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    for name in ("_load", "embedded_text_tower"):
        monkeypatch.setattr(f"evenly.tasks.encoders.{name}", lambda *_: WordEncoder())


def numbers(result):
    return [int(row["uid"], 16) for row in result.rows]


def find(workspace, manifest, *texts, rows="all", where=(), top=20, index=None, within="pictures", **terms):
    selection = Selection(rows=rows, where=[Condition.read(text) for text in where])
    run, query = Run(workspace=workspace, seed=7), Query(texts=texts, **terms)
    return search_build(run, manifest, query, selection=selection, top=top, index=index, within=within)


def test_dropped_pairs_are_searched_too_and_say_why_they_went(workspace):
    manifest = publish(workspace, PAIRS, encoded=["red bird", "blue ship", "blue bird"])
    result = find(workspace, manifest, "red bird")
    assert numbers(result)[:2] == [0, 1]
    kept, merged = result.rows[:2]
    assert (kept["verdict"], kept["step"], kept["reason"], kept["rank"], kept["score"]) == ("kept", "", "", 1, 1.0)
    judged = [merged[name] for name in ("verdict", "step", "reason", "into", "value")]
    assert judged == ["merged", "filter", "near_duplicate", uid_of(0), 0.5]
    assert (result.pairs, result.matched, result.searched) == (6, 6, 4)
    assert (result.without_picture, result.without_features) == (1, 1)
    assert len(result.rows) == 4


@pytest.mark.parametrize(
    ("rows", "where", "expected"),
    [
        ("kept", [], {0, 3}),
        ("dropped", [], {1, 2, 5}),
        ("all", ["verdict=dropped"], {2, 5}),
        ("all", ["reason=near_duplicate", "reason=too_small"], {1, 5}),
        ("all", ["step=balance"], {2}),
        ("all", ["width>=700"], {3}),
        ("dropped", ["source="], set()),
        ("kept", ["source="], {0}),
    ],
)
def test_only_rows_that_are_selected_come_back(workspace, rows, where, expected):
    result = find(workspace, publish(workspace, PAIRS), "red bird", rows=rows, where=where)
    assert set(numbers(result)) == expected
    assert result.searched == len(expected)


def test_the_answer_does_not_depend_on_batches_and_ties_go_by_uid(workspace, tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    names = [f"thing{number % 13} thing{number % 7}" for number in range(60)]
    pairs = [Pair("c", names[int(random.integers(60))]) for _ in range(200)]
    whole = find(workspace, publish(workspace, pairs), "thing3 thing5", top=25)
    scores = [row["score"] for row in whole.rows]
    assert len(set(scores)) < len(scores)
    assert [(-row["score"], row["uid"]) for row in whole.rows] == sorted((-r["score"], r["uid"]) for r in whole.rows)
    monkeypatch.setattr(search, "PAIRS_AT_ONCE", 17)
    monkeypatch.setattr(lance_commits, "ROWS_PER_FILE", 16)
    monkeypatch.setattr(lance_rows, "ROWS_PER_FILE", 16)
    other = type(workspace).at(tmp_path / "other")
    parts = find(other, publish(other, pairs), "thing3 thing5", top=25)
    assert parts == whole
    everything = find(other, {**publish_again(other)}, "thing3 thing5", top=1000)
    assert everything.rows[:25] == whole.rows
    assert len(everything.rows) == 200


@pytest.mark.parametrize("rows", ["all", "kept", "dropped"])
@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_of_many_pairs_the_features_are_read_once_and_the_answer_is_the_same(workspace, monkeypatch, rows, at_once):
    random = np.random.default_rng(4)
    names = ["", *(f"thing{number % 5} thing{number % 3}" for number in range(15))]
    pairs = [
        Pair("c", names[int(random.integers(16))], reason="draw" if random.random() < 0.3 else "") for _ in range(90)
    ]
    encoded = sorted(set(names[1:]))[:11]
    manifest = publish(workspace, pairs, encoded=encoded)
    terms = {"rows": rows, "where": ["verdict!=failed"]}
    whole = [find(workspace, manifest, "thing3 thing1", top=top, **terms) for top in (1, 4, 200)]
    assert whole[0].without_features
    assert whole[0].without_picture or rows == "dropped"
    read = spy(monkeypatch, FeatureStore, "each")
    monkeypatch.setattr(search, "PAIRS_AT_ONCE", at_once)
    parts = [find(workspace, manifest, "thing3 thing1", top=top, **terms) for top in (1, 4, 200)]
    assert parts == whole
    assert len(read) == 3
    assert not workspace.exchange.exists()


def test_many_pairs_without_any_features_are_counted(workspace, monkeypatch):
    monkeypatch.setattr(search, "PAIRS_AT_ONCE", 2)
    result = find(workspace, publish(workspace, PAIRS, encoded=[]), "red")
    assert (result.rows, result.searched, result.without_picture, result.without_features) == ([], 0, 1, 5)


def spy(monkeypatch, owner, name):
    """The calls of a method, which is called all the same."""
    calls, method = [], getattr(owner, name)

    def noted(*arguments):
        calls.append(arguments)
        return method(*arguments)

    monkeypatch.setattr(owner, name, noted)
    return calls


def publish_again(workspace):
    from evenly.storage.builds import Builds

    return Builds(workspace).read("some-1")


@pytest.mark.parametrize("at_once", [1, 100])
def test_captions_are_searched_where_that_is_asked_for(workspace, monkeypatch, at_once):
    monkeypatch.setattr(search, "PAIRS_AT_ONCE", at_once)
    manifest = publish(workspace, PAIRS)
    rows, norms = to_unit_rows(WordEncoder().encode_texts(["a bird", "a ship", "no picture"]))
    ids = [text_id(text) for text in ("a bird", "a ship", "no picture")]
    FeatureStore(workspace, WordEncoder.identity, "texts").append(ids, rows.astype(np.float16), norms)
    result = find(workspace, manifest, "a ship", within="captions")
    assert (result.rows[0]["caption"], result.rows[0]["score"]) == ("a ship", 1.0)
    assert (result.searched, result.without_caption, result.without_features) == (3, 0, 3)
    assert result.without_picture is None
    assert "3 went before their caption was encoded" in result.notes
    with pytest.raises(InputError, match="`in` must be pictures, captions or regions; got `texts`"):
        find(workspace, manifest, "a ship", within="texts")
    with pytest.raises(InputError, match="`index` must be left out where captions are searched; got `binary`"):
        find(workspace, manifest, "a ship", within="captions", index="binary")


def test_a_build_without_features_says_what_to_do(workspace):
    manifest = {**publish(workspace, PAIRS), "encoder": None}
    for within in ("pictures", "captions"):
        with pytest.raises(InputError, match="got `some-1`, which holds captions alone, or whose recipe says"):
            find(workspace, manifest, "a ship", within=within)


def test_several_terms_are_searched_together_and_minus_ones_avoided(workspace):
    manifest = publish(workspace, PAIRS)
    assert numbers(find(workspace, manifest, "red bird", minus=["red"], top=1)) == [3]
    assert numbers(find(workspace, manifest, "red", "ship", top=1)) == [5]
    assert numbers(find(workspace, manifest, "blue", uids=[uid_of(5)], top=1)) == [2]


def test_a_pair_is_its_own_nearest_and_needs_no_model(workspace, monkeypatch):
    manifest = publish(workspace, PAIRS)
    monkeypatch.setattr("evenly.tasks.encoders._load", None)
    result = find(workspace, manifest, uids=[uid_of(2)], top=1)
    assert [(row["uid"], row["score"]) for row in result.rows] == [(uid_of(2), 1.0)]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, "`search` must get a text, a picture or a uid; got none"),
        ({"minus": ["red"]}, "`search` must get a text, a picture or a uid; got none"),
        ({"texts": [" "]}, "`texts` must hold words"),
        ({"uids": ["f" * 32]}, "`uid` must be of a pair that build `some-1` saw; got `f"),
        ({"uids": ["x' or true --"]}, "`uid` must be of a pair that build `some-1` saw"),
        ({"uids": [uid_of(4)]}, "`uid` must be of a pair with a picture"),
        ({"uids": [uid_of(5)]}, "`uid` must be of pairs whose pictures have features"),
    ],
)
def test_a_query_of_nothing_known_is_refused(workspace, terms, message):
    manifest = publish(workspace, PAIRS, encoded=["red bird"])
    with pytest.raises(InputError, match=message):
        search_build(Run(workspace=workspace, seed=7), manifest, Query(**terms))


def test_an_unknown_column_names_those_near_it(workspace):
    with pytest.raises(InputError, match=r"`where` must name a column .* got `sorce`\. Near it: source"):
        find(workspace, publish(workspace, PAIRS), "red", where=["sorce=web"])


def test_nothing_that_is_searched_gives_no_rows(workspace):
    result = find(workspace, publish(workspace, PAIRS, encoded=[]), "red")
    assert (result.rows, result.searched, result.without_features) == ([], 0, 5)
