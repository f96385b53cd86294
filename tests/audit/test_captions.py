"""What came of each captioner: the counts of a plain loop over rows, however the pool is cut, and pairs to look at."""

import unicodedata
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.captions import caption_in_quotes, choice_lines, read_origins
from evenly.audit.explanation import Explanation
from evenly.audit.published import PublishedBuild
from evenly.audit.report import render_report
from evenly.audit.report.captions import read_recaptioning
from evenly.audit.report.page import page_environment
from evenly.audit.safe_text import visible
from evenly.audit.why import explain
from evenly.curation.captions.choice import CANDIDATES, CHOICE_REASONS, ChoiceRule, choose_captions
from evenly.curation.captions.outcomes import DRAWN, EXTREMES, all_disagreement
from evenly.curation.draws import draw, wilson_interval
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.workspace import Workspace

N = 40
RULE = {
    "captioners": [
        {"name": "eyes", "kind": "seen"},
        {"name": "words", "kind": "tags"},
        {"name": "idle", "kind": "seen"},
    ],
    "choose": {"by": "score", "margin": 0.1},
    "judge": {"model": "embedded2"},
}
NOTES = {
    "accounts": {"eyes": {"limit_usd": 100.0, "spent_usd": 1.28, "lost_attempts": 2, "lost_usd": 0.5}},
    "grammar": {"false_alarms": 0.04, "repeat": 0.98, "swap": None},
}


def number(uid: str, entry: str) -> float:
    return round(draw(seed=0, step="test", uid=uid, entry=entry), 4)


def rows() -> list[dict]:
    """Candidates of 40 pairs: an original each, a twin's for a third, some refused, some flagged, not all judged."""
    found = []
    for place in range(N):
        uid = f"{place * 2654435761 % 2**32:08x}" + "0" * 24
        offers = [("original", None if place == 5 else "own words", ""), ("eyes", f"eyes see {place}", "")]
        offers += [("twin", "words of a twin", "")] if place % 3 == 0 else []
        offers += [("words", None, "not_json")] if place % 4 == 0 else [("words", "a call +1 555 010 9999", "")]
        for origin, caption, refused in offers:
            score = None if refused else number(uid, f"score {origin}")
            judged = None if refused or place % 10 == 0 else number(uid, f"judged {origin}")
            flags = ["contact"] if origin == "words" and not refused and place % 2 else []
            found.append(
                {"uid": uid, "caption": caption, "origin": origin, "sample": 0, "request_id": None}
                | {"refused": refused, "score": score, "judged": judged, "grammar": None, "flags": flags}
                | {"unseen": ["owl", "cat"] if place % 8 == 1 else [], "ref_clip_score": judged if place % 3 else None}
            )
    return sorted(found, key=lambda row: (row["uid"], row["origin"]))


def committed(workspace: Workspace, bits: int, candidates: list[dict]) -> PublishedBuild:
    table = pa.Table.from_pylist(candidates, CANDIDATES)
    uids = pa.array(sorted({row["uid"] for row in candidates}))
    choice = choose_captions(uids, table, ChoiceRule(margin=0.1))
    decisions = choice.decisions.to_table(uids)
    for name in ("chosen_caption", "caption_origin", "caption_score", "caption_reason"):
        decisions = decisions.append_column(name, choice.chosen[name])
    output = StepOutput(decisions=decisions, tables={"candidates": table}, notes=NOTES)
    spec = StepSpec(name="recaption", version=2, rule=RULE, inputs={})
    record = Ledger(workspace).commit(spec, output, uids=uids, started=datetime(2026, 11, 24, tzinfo=UTC), bits=bits)
    return PublishedBuild(workspace, {"build": "b-1", "steps": [{"name": "recaption", "key": record.key}]})


def chosen_of(candidates: list[dict]) -> list[tuple[dict, dict]]:
    """(original, chosen) of each pair, by the rule in a plain loop."""
    pairs: dict[str, list[dict]] = {}
    for row in candidates:
        pairs.setdefault(row["uid"], []).append(row)
    ended = []
    for offers in pairs.values():
        original = next(row for row in offers if row["origin"] == "original")
        open_rows = [row for row in offers if not row["refused"] and not row["flags"]]
        made = {"eyes", "words"}
        best = max(
            sorted(open_rows, key=lambda row: {"original": 0, "twin": 1}.get(row["origin"], 2)),
            key=lambda row: round(row["score"] - (0.1 if row["origin"] in made else 0.0), 9),
        )
        ended.append((original, best))
    return ended


@pytest.mark.parametrize("bits", [0, 2])
def test_every_origin_has_the_counts_and_means_of_a_loop_over_rows(workspace, bits):
    candidates = rows()
    origins = read_origins(committed(workspace, bits, candidates))
    ended = chosen_of(candidates)
    assert [origin.name for origin in origins] == ["original", "twin", "eyes", "words", "idle"]
    assert [origin.kind for origin in origins] == ["", "", "seen", "tags", "seen"]
    for origin in origins:
        own = [row for row in candidates if row["origin"] == origin.name]
        assert origin.offered == sum(not row["refused"] for row in own)
        assert origin.refused == Counter(row["refused"] for row in own if row["refused"])
        assert origin.flags == Counter(flag for row in own for flag in row["flags"])
        assert origin.unseen == Counter(name for row in own for name in row["unseen"])
        assert origin.chosen == sum(best["origin"] == origin.name for _, best in ended)
        changed = [(before, best) for before, best in ended if best["origin"] == origin.name != "original"]
        for encoder, column in (("chooser", "score"), ("judge", "judged"), ("references", "ref_clip_score")):
            both = [pair for pair in changed if pair[0][column] is not None and pair[1][column] is not None]
            for place, counts in enumerate(origin.scores[encoder]):
                scores = [pair[place][column] for pair in both]
                assert counts.counts.sum() == len(scores)
                assert counts.mean == (pytest.approx(sum(scores) / len(scores), abs=1e-9) if scores else None)
        judged = [(before["judged"], best["judged"]) for before, best in changed if best["judged"] is not None]
        assert origin.disagreement.pairs == len(judged)
        assert origin.disagreement.fell == sum(after < before for before, after in judged)
    whole = all_disagreement(origins)
    assert 0 < whole.fell < whole.pairs
    assert whole.interval == wilson_interval(whole.fell / whole.pairs, whole.pairs)


@pytest.mark.parametrize("bits", [0, 2])
def test_the_pairs_shown_are_the_first_by_uid_and_those_with_the_largest_differences(workspace, bits):
    candidates = rows()
    eyes = next(origin for origin in read_origins(committed(workspace, bits, candidates)) if origin.name == "eyes")
    changed = [(before, best) for before, best in chosen_of(candidates) if best["origin"] == "eyes"]
    gains = {best["uid"]: round(best["score"] - before["score"], 4) for before, best in changed}
    gaps = {
        best["uid"]: gains[best["uid"]] - round(best["judged"] - before["judged"], 4)
        for before, best in changed
        if best["judged"] is not None
    }
    shown = {title: [row["uid"] for row in examples] for title, examples in eyes.examples.items()}
    assert len(changed) > DRAWN + EXTREMES
    assert shown["drawn"] == sorted(gains)[:DRAWN]
    assert shown["best"] == sorted(gains, key=lambda uid: (-gains[uid], uid))[:EXTREMES]
    assert shown["parted"] == sorted(gaps, key=lambda uid: (-gaps[uid], uid))[:EXTREMES]
    card = eyes.examples["best"][0]
    assert card["caption"].startswith("eyes see")
    assert card["original_caption"] in ("own words", None)


def test_candidates_of_an_earlier_version_are_counted_without_what_it_did_not_store(workspace):
    build = committed(workspace, 0, rows())
    record = build.step("recaption")
    table = build.ledger.table(record, "candidates", ["uid", "caption", "origin", "score"])
    kept = table.filter(pa.compute.is_valid(table["score"]))
    decisions = build.ledger.decisions(record)
    spec = StepSpec(name="recaption", version=1, rule={"captioner": "eyes"}, inputs={})
    output = StepOutput(decisions=decisions, tables={"candidates": kept})
    old = Ledger(workspace).commit(spec, output, uids=decisions["uid"].combine_chunks(), started=datetime.now(UTC))
    origins = read_origins(PublishedBuild(workspace, {"build": "b", "steps": [{"name": "recaption", "key": old.key}]}))
    assert [origin.name for origin in origins] == ["original", "twin", "eyes", "words"]
    assert sum(origin.chosen for origin in origins) == N
    assert all(not origin.refused and not origin.disagreement.pairs for origin in origins)


def test_a_build_that_chooses_no_captions_has_none(shared, shared_build):
    build = PublishedBuild(shared, shared_build(off=("recaption",)))
    assert read_origins(build) == []


def test_the_section_says_where_the_encoders_part_and_shows_pictures_before_and_after(published, read_all):
    build = PublishedBuild(*published)
    section = read_recaptioning(build, build.step("recaption"), read_all)
    (retrieved,) = section["captioners"]
    one = section["disagreement"]
    page = " ".join(render_report(*published, read_bytes=read_all).split())
    low, high = one.interval
    assert f"{section['changed']} of {section['pairs']} pairs have another caption" in page
    assert (
        f"Of the {one.pairs} changed pairs, {one.fell} have a lower score than before by the judge, embedded2, which "
        f"chose nothing: {100 * one.share:.1f} %, 95 % interval {100 * low:.1f} % to {100 * high:.1f} %."
    ) in page
    assert retrieved["account"] is None
    assert {card["image"] is not None for card in retrieved["cards"]["drawn"]} == {True}
    for card in retrieved["cards"]["best"]:
        assert f"evenly why {card['uid']}" in page
        assert f"original, {card['original_score']:.4f}, by the judge {card['original_judged']:.4f}" in page
    assert "by the judge, embedded2 from" in page  # the words of the plot


def test_refusals_flags_cost_and_the_score_of_grammar_stand_by_captioner(workspace, monkeypatch):
    build = committed(workspace, 0, rows())
    build.manifest |= {"encoder": {"model": "embedded"}}
    named = pa.table({"uid": sorted({row["uid"] for row in rows()}), "image_id": pa.nulls(N, pa.string())})
    monkeypatch.setattr(build, "samples", lambda _columns, _where: named)
    section = read_recaptioning(build, build.step("recaption"), lambda _: [])
    assert [one["name"] for one in section["captioners"]] == ["twin", "eyes", "words"]
    words = section["captioners"][-1]
    assert words["refused"] == [("not_json", N // 4)]
    assert words["flags"] == [("contact", 20)]
    assert section["captioners"][1]["account"] == NOTES["accounts"]["eyes"]
    assert section["grammar"] == {"false_alarms": 0.04, "kinds": {"repeat": 0.98}}
    assert section["margin"] == 0.1
    page = " ".join(page_environment().get_template("captions.html.j2").render(captions=section).split())
    assert "<dt>refused</dt><dd>not json 10</dd>" in page
    assert "<dt>flags</dt><dd>contact 20</dd>" in page
    assert (
        "<dt>cost</dt><dd>$1.2800 in all runs, of a limit of $100.00; $0.5000 of it for 2 attempts whose reply was lost"
    ) in page
    assert "catches repeat 98.0 %, and suspects 4.0 % of captions as they were written" in page
    assert "must win by 0.1000" in page


def test_without_a_judge_the_section_says_so_and_nothing_of_one(workspace, monkeypatch):
    unjudged = [row | {"judged": None} for row in rows()]
    build = committed(workspace, 0, unjudged)
    build.manifest |= {"encoder": {"model": "embedded"}}
    record = build.step("recaption")
    object.__setattr__(record, "rule", {name: value for name, value in RULE.items() if name != "judge"})
    named = pa.table({"uid": sorted({row["uid"] for row in unjudged}), "image_id": pa.nulls(N, pa.string())})
    monkeypatch.setattr(build, "samples", lambda _columns, _where: named)
    section = read_recaptioning(build, record, lambda _: [])
    page = page_environment().get_template("captions.html.j2").render(captions=section)
    assert "No second encoder judged it" in page
    assert "Where the encoders part" not in page
    assert "by the judge" not in page


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
