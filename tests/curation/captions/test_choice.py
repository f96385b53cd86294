import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.captions.choice import CANDIDATES, CHOSEN, ChoiceRule, choose_captions
from evenly.curation.draws import draw
from evenly.curation.errors import ColumnsError, RuleError

ORIGINS = ("original", "twin", "retrieved")
REST = {"request_id": None, "refused": "", "judged": None, "grammar": None, "flags": []}


def candidates_of(*rows: tuple[str, str, str, float | None], **columns):
    """Of (uid, caption, origin, score); `columns` are further ones, a list each."""
    names = ("uid", "caption", "origin", "score")
    dicts = [REST | dict(zip(names, row, strict=True)) | {"sample": 0} for row in rows]
    for name, values in columns.items():
        dicts = [row | {name: value} for row, value in zip(dicts, values, strict=True)]
    return pa.Table.from_pylist(dicts, CANDIDATES)


def chosen(*rows: tuple[str, str, str, float | None], margin=0.1, **columns):
    uids = pa.array(sorted({row[0] for row in rows}), pa.string())
    return choose_captions(uids, candidates_of(*rows, **columns), ChoiceRule(margin=margin))


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
    columns = ["chosen_caption", "caption_origin", "caption_score", "caption_reason", "original_score"]
    assert [list(row.values()) for row in found.chosen.select(columns).to_pylist()] == [
        ["concept", "retrieved", 0.45, "fits_best", 0.2],
        ["own", "original", 0.5, "nothing_offered", 0.5],
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
        handicapped = round(score - margin if origin == "retrieved" else score, 9)
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
        ChoiceRule(margin=tenths / 10),
    )
    columns = choice.chosen.select(CHOSEN.names[:4]).columns
    values = zip(*(column.to_pylist() for column in columns), choice.decisions.value.to_pylist(), strict=True)
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
    assert choose_captions(pa.array([], pa.string()), candidates_of(), ChoiceRule()).chosen.num_rows == 0


@pytest.mark.parametrize(("rule", "origin"), [({}, "seen"), ({"forbid": ("unseen",)}, "original")])
def test_captions_that_name_what_is_unseen_are_chosen_unless_the_rule_forbids_it(rule, origin):
    rows = [("a", "a dog", "original", 0.2), ("a", "a cat", "seen", 0.4)]
    candidates = candidates_of(*rows, flags=[[], ["unseen"]], unseen=[[], ["cat"]])
    assert (
        choose_captions(pa.array(["a"]), candidates, ChoiceRule(**rule)).chosen["caption_origin"][0].as_py() == origin
    )


def test_what_was_refused_or_has_a_forbidden_flag_is_never_chosen_and_a_given_caption_may_have_flags():
    rows = [
        ("a", "own", "original", 0.1),
        ("a", "sorry", "seen", 0.9),
        ("a", "a a", "seen", 0.8),
        ("a", "b", "seen", 0.3),
    ]
    flags = [["repeats"], [], ["repeats"], []]
    refused = ["", "refusal", "", ""]
    found = chosen(*rows, flags=flags, refused=refused)
    assert found.chosen["chosen_caption"].to_pylist() == ["b"]
    allowed = choose_captions(
        pa.array(["a"]), candidates_of(*rows, flags=flags, refused=refused), ChoiceRule(margin=0.1, forbid=())
    )
    assert allowed.chosen["chosen_caption"].to_pylist() == ["a a"]


def test_a_refused_candidate_needs_no_score():
    found = chosen(("a", "own", "original", 0.1), ("a", None, "seen", None), refused=["", "timeout"])
    assert found.chosen["caption_reason"].to_pylist() == ["nothing_offered"]


@pytest.mark.parametrize(("weight", "caption"), [(0.0, "dog dog dog"), (1.0, "a dog")])
def test_by_reward_a_sentence_may_beat_a_higher_score(weight, caption):
    rows = [("a", "own", "original", 0.1), ("a", "dog dog dog", "seen", 0.35), ("a", "a dog", "seen", 0.3)]
    table = candidates_of(*rows, grammar=[0.5, 0.1, 0.9])
    found = choose_captions(pa.array(["a"]), table, ChoiceRule(by="reward", grammar=weight)).chosen
    assert found["chosen_caption"].to_pylist() == [caption]


def test_by_original_nothing_changes():
    table = candidates_of(("a", "own", "original", 0.1), ("a", "a dog", "seen", 0.9))
    found = choose_captions(pa.array(["a"]), table, ChoiceRule(by="original")).chosen
    assert found["chosen_caption"].to_pylist() == ["own"]
    assert found["caption_reason"].to_pylist() == ["kept_by_rule"]


def test_by_draw_each_captioner_gets_the_pairs_that_its_rate_says_whatever_the_scores():
    uids = [f"{number:04x}" for number in range(2000)]
    rows = [
        row
        for uid in uids
        for row in ((uid, "own", "original", 0.9), (uid, "one", "seen", 0.1), (uid, "two", "decoded", 0.2))
    ]
    rule = ChoiceRule(by="draw", rates={"seen": 0.15, "decoded": 0.25})
    found = choose_captions(pa.array(uids), candidates_of(*rows), rule, seed=7).chosen
    for row in found.to_pylist():
        drawn = draw(seed=7, step="recaption", uid=row["uid"], entry="captioner")
        origin = "decoded" if drawn < 0.25 else "seen" if drawn < 0.4 else "original"
        assert row["caption_origin"] == origin
        assert row["caption_reason"] == ("original_drawn" if origin == "original" else "drawn")
    shares = [found["caption_origin"].to_pylist().count(name) / len(uids) for name in ("seen", "decoded")]
    assert shares == pytest.approx([0.15, 0.25], abs=0.03)


def test_by_draw_a_pair_whose_captioner_offered_nothing_keeps_its_caption():
    table = candidates_of(("a", "own", "original", 0.1), ("a", None, "seen", None), refused=["", "refusal"])
    found = choose_captions(pa.array(["a"]), table, ChoiceRule(by="draw", rates={"seen": 1.0})).chosen
    assert found["chosen_caption"].to_pylist() == ["own"]
    assert found["caption_reason"].to_pylist() == ["nothing_offered"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"by": "draw"}, "`rates` goes with by draw"),
        ({"rates": {"seen": 0.5}}, "`rates` goes with by draw"),
        ({"by": "draw", "rates": {"seen": 0.6, "tags": 0.5}}, "at most 1; got 1.1"),
        ({"forbid": ("ugly",)}, "got ugly"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(values, text):
    with pytest.raises(RuleError, match=text):
        ChoiceRule(**values)
