"""What `why` says of the candidates of a pair: each a line, the chosen one first, and nothing in them acts."""

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.captions.candidates import caption_in_quotes, choice_lines
from evenly.audit.explanation import Explanation
from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.audit.why import explain
from evenly.curation.captions.choice import CHOICE_REASONS

EVIL = "<b>\x1b[31m\u202e\n"


def candidate(origin="seen", **changes) -> dict:
    plain = {"caption": "a red fox", "origin": origin, "sample": 0, "request_id": None, "refused": "", "score": 0.25}
    return plain | {"judged": None, "grammar": None, "flags": []} | changes


def chosen(origin="seen", caption="a red fox", reason="fits_best") -> dict:
    return {"chosen_caption": caption, "caption_origin": origin, "caption_score": 0.3, "caption_reason": reason}


def lines(choice: dict, *candidates: dict) -> list[str]:
    return [text for _, text, _ in choice_lines(choice, candidates)]


def test_the_chosen_one_comes_first_then_by_score_and_refused_ones_last():
    rows = [
        candidate("original", caption="words", score=0.1),
        candidate(caption=None, sample=2, score=None, refused="not_json", request_id="0a1b2c3d4e5f6071"),
        candidate(caption="a fox", sample=1, score=0.9, judged=0.2, grammar=0.99, flags=["person", "contact"]),
        candidate(sample=3, score=0.05, ref_clip_score=0.25, flags=["person", "unseen"], unseen=["owl", EVIL]),
        candidate(score=0.3, request_id="ab" * 32),
    ]
    reason, *shown = lines(chosen(), *rows)
    assert reason == f"seen: {CHOICE_REASONS['fits_best']} (fits_best)"
    assert shown == [
        '* seen 0      score  0.3000  "a red fox"  request abababababab',
        '  seen 1      score  0.9000  judged  0.2000  grammar  0.9900  "a fox"  flags person, contact',
        '  original 0  score  0.1000  "words"',
        f'  seen 3      score  0.0500  RefCLIPScore  0.2500  "a red fox"  flags person, unseen (owl, {visible(EVIL)})',
        "  seen 2      refused not_json  request 0a1b2c3d4e5f",
    ]


def test_the_same_words_of_two_captioners_are_told_apart_by_who_made_them():
    marks = [line[0] for line in lines(chosen("mended"), candidate(score=0.4), candidate("mended", score=0.3))[1:]]
    assert marks == ["*", " "]


def test_many_candidates_are_cut_with_their_number_and_the_chosen_one_is_there():
    rows = [candidate("twin", caption=f"words {place}", sample=place, score=0.5) for place in range(60)]
    shown = lines(chosen(), *rows, candidate(score=0.1))
    assert shown[1].startswith("* seen 0")
    assert len(shown) == 1 + 40 + 1
    assert shown[-1] == "and 21 more candidates (all of them with --json)"


def test_a_pair_without_a_caption_keeps_none():
    reason, row = lines(chosen("original", None, "nothing_offered"), candidate("original", caption=None, score=0.0))
    assert reason.startswith("original: ")
    assert row.startswith("* original 0")
    assert caption_in_quotes(None) == "none"


@given(evil=st.text(max_size=100))
def test_no_text_of_a_candidate_can_act(evil):
    row = candidate(evil, caption=evil, refused=evil, request_id=evil, flags=[evil])
    found = "".join(lines(chosen(evil, evil, evil), row, row | {"refused": ""}))
    acting = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not [one for one in found if unicodedata.category(one) in acting and one not in "\u200c\u200d"]


def explained(published, origin: str) -> Explanation:
    """A kept pair whose chosen caption is of `origin`."""
    where = f"balance_verdict = 'kept' AND caption_origin = '{origin}'"
    uid = PublishedBuild(*published).samples(["uid"], where)["uid"][0].as_py()
    return explain(*published, uid)


@pytest.mark.parametrize("origin", ["original", "retrieved"])
def test_why_shows_the_candidates_which_was_chosen_and_which_caption_was_balanced(published, origin):
    explanation = explained(published, origin)
    text = explanation.to_text()
    (pair,) = explanation.to_dict()["pairs"]
    recaption = next(step for step in pair["steps"] if step["step"] == "recaption")
    caption = recaption["columns"]["chosen_caption"]
    assert f"chosen       {origin}: " in text
    assert f"* {origin} 0" in text
    assert f'counted      concepts of the caption "{caption}"' in text
    assert pair["balanced_caption"] == caption
    assert {row["origin"] for row in recaption["rows"]["candidates"]} == {"original", "retrieved"}
    assert {"score", "judged", "grammar", "flags", "refused", "request_id"} <= recaption["rows"]["candidates"][0].keys()
    assert "caption_reason=" not in text


def test_balance_counted_the_own_caption_where_none_was_matched_again_and_none_where_a_pair_did_not_come_so_far(
    published,
):
    (pair,) = explained(published, "retrieved").pairs
    own = replace(pair, steps=[sight for sight in pair.steps if sight.step != "match_again"])
    assert own.balanced_caption == pair.identity["caption"]
    assert replace(pair, steps=pair.steps[:3]).balanced_caption is None
