import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation import CAPTIONERS
from evenly.curation.errors import ColumnsError, RuleError
from evenly.curation.recaption import CANDIDATES, ORIGINS, choose_captions, retrieved_concepts


def candidates_of(*rows: tuple[str, str, str, float | None]):
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    return pa.table(dict(zip(CANDIDATES.names, columns, strict=True)), schema=CANDIDATES)


def chosen(*rows: tuple[str, str, str, float | None], margin=0.1):
    uids = sorted({row[0] for row in rows})
    return choose_captions(pa.array(uids), candidates_of(*rows), margin=margin)


def test_retrieved_concepts_are_offered_by_name_with_their_scores():
    table = retrieved_concepts(["a", "b"], [["dog", "cat"], ["car"]], [[0.3, 0.2], [0.1]])
    assert table.schema == CANDIDATES
    assert table.to_pylist() == [
        {"uid": "a", "caption": "dog", "origin": "retrieved", "score": 0.3},
        {"uid": "a", "caption": "cat", "origin": "retrieved", "score": 0.2},
        {"uid": "b", "caption": "car", "origin": "retrieved", "score": 0.1},
    ]
    assert CAPTIONERS["retrieved_concepts"]([], [], []).num_rows == 0


@pytest.mark.parametrize(
    ("scores", "origin"),
    [
        ((0.3, 0.2, 0.35), "original"),
        ((0.3, 0.31, 0.35), "twin"),
        ((0.3, 0.2, 0.41), "retrieved"),
        ((0.3, 0.3, 0.4), "original"),
        ((0.7, 0.1, 0.8), "original"),
        ((0.2, 0.3, 0.4), "twin"),
        ((-0.3, -0.4, -0.1), "retrieved"),
    ],
)
def test_best_score_wins_but_what_was_retrieved_must_win_by_more_than_the_margin(scores, origin):
    rows = zip(("own", "other", "concept"), ("original", "twin", "retrieved"), scores, strict=True)
    found = chosen(*(("a", *row) for row in rows)).chosen.to_pylist()
    assert found[0]["caption_origin"] == origin


def test_every_pair_is_kept_with_what_it_gained():
    rows = [("a", "own", "original", 0.2), ("a", "concept", "retrieved", 0.45), ("b", "own", "original", 0.5)]
    found = chosen(*rows)
    assert found.decisions.verdict.to_pylist() == ["kept", "kept"]
    assert found.decisions.value.to_pylist() == [0.25, 0]
    assert found.chosen.to_pylist() == [
        {"uid": "a", "chosen_caption": "concept", "caption_origin": "retrieved", "caption_score": 0.45},
        {"uid": "b", "chosen_caption": "own", "caption_origin": "original", "caption_score": 0.5},
    ]


ROWS = st.lists(st.tuples(st.sampled_from(["twin", "retrieved"]), st.integers(-9, 9)), max_size=6)


@given(ROWS, st.integers(-9, 9), st.randoms(use_true_random=False))
def test_order_of_the_candidates_changes_nothing_and_the_choice_is_never_worse(offered, own, chance):
    rows = [("a", "own", "original", own / 10)]
    rows += [("a", f"{origin} {i}", origin, score / 10) for i, (origin, score) in enumerate(offered)]
    mixed = list(rows)
    chance.shuffle(mixed)
    assert chosen(*rows).chosen == chosen(*mixed).chosen
    assert chosen(*rows).decisions.value.to_pylist()[0] >= 0


def best_by_hand(rows: list[tuple[str, str, str, float]], margin: float) -> tuple[str, str, str, float, float]:
    """The choice for one pair as its rule reads: uid, caption, origin, score, and what it won over the original."""

    def rank(row):
        _, caption, origin, score = row
        handicapped = round(score - margin, 9) if origin == "retrieved" else score
        return (-handicapped, ORIGINS.index(origin), caption)

    best = min(rows, key=rank)
    original = next(score for _, _, origin, score in rows if origin == "original")
    return (*best, round(best[3] - original, 4))


OFFERED = st.tuples(
    st.sampled_from(["\u00e9", "Z", "a", "\U0001f98a"]), st.sampled_from(ORIGINS[1:]), st.integers(-99, 99)
)


@given(st.lists(st.tuples(st.integers(-99, 99), st.lists(OFFERED, max_size=5)), max_size=5), st.integers(0, 9))
def test_choices_are_those_of_the_rule_pair_by_pair(pairs, tenths):
    groups = [
        [(f"uid {pair}", "own", "original", own / 7), *((f"uid {pair}", *row, score / 7) for *row, score in offered)]
        for pair, (own, offered) in enumerate(pairs)
    ]
    choice = choose_captions(
        pa.array([rows[0][0] for rows in groups], pa.string()),
        candidates_of(*(row for rows in groups for row in rows)),
        margin=tenths / 10,
    )
    values = zip(
        *(column.to_pylist() for column in choice.chosen.columns), choice.decisions.value.to_pylist(), strict=True
    )
    assert list(values) == [best_by_hand(rows, tenths / 10) for rows in groups]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([("a", "dog", "retrieved", 0.1)], "original caption of each pair; 1 lack it, as 'a'"),
        ([("a", "dog", "original", None)], "must not be null; got 1 nulls"),
    ],
)
def test_candidates_that_cannot_be_chosen_from_are_refused(rows, text):
    with pytest.raises(ColumnsError, match=text):
        chosen(*rows)


def test_a_negative_margin_is_refused():
    with pytest.raises(RuleError, match="got -1"):
        chosen(("a", "own", "original", 0.1), margin=-1)


def test_no_pairs_give_no_captions():
    assert choose_captions(pa.array([], pa.string()), candidates_of(), margin=0).chosen.num_rows == 0
