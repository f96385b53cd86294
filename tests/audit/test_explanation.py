"""The text of an explanation: what is said of each kind of end, what is cut, and that nothing in it can act."""

import json
import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.explanation import Explanation, PairHistory, Replay, StepSight

EVIL = "<b>\x1b[31m\u202e\n"
RUN = {
    "key": "k" * 64,
    "started": "2026-11-24T03:00:00+00:00",
    "ended": "",
    "flow_run_id": None,
    "code": {"git_sha": None},
}


def sight(step="align", **changes) -> StepSight:
    plain = StepSight(
        step=step, version=1, verdict="kept", reason="", value=None, rule={}, notes={}, model=None, seed=None,
        columns={}, rows={}, twin=None, run=RUN,
    )  # fmt: skip
    return replace(plain, **changes)


def explained(*sights: StepSight, **changes) -> Explanation:
    pair = PairHistory(
        uid="a" * 32, outcome="kept", step="", reason="", identity={"url": "http://p.test"}, image=None, arrivals=(),
        steps=sights, merged=0, merged_examples=(),
    )  # fmt: skip
    return Explanation(build="b-1", asked="a", pairs=[replace(pair, **changes)])


def text(*sights: StepSight, **changes) -> str:
    return explained(*sights, **changes).to_text()


def twin(**changes) -> dict:
    ended = {"step": "", "reason": ""}
    return {"uid": "b" * 32, "url": "http://twin.test", "caption": "a twin", "ended": ended, "path": []} | changes


@pytest.mark.parametrize(
    ("outcome", "where", "words"),
    [
        ("kept", ("", ""), f"{'a' * 32}  kept in build b-1"),
        ("dropped", ("align", "low_score"), "dropped at align (low_score) in build b-1"),
        ("failed", ("download", "http_404"), "failed at download (http_404) in build b-1"),
        ("merged", ("deduplicate_exact", "same_bytes"), "merged at deduplicate_exact (same_bytes) in build b-1"),
    ],
)
def test_the_first_line_says_how_it_ended_and_where(outcome, where, words):
    assert words in text(outcome=outcome, step=where[0], reason=where[1]).splitlines()[0]


def test_a_row_without_a_uid_has_words_for_it():
    arrival = {"source": "web", "row": 3, "verdict": "dropped", "reason": "no_url", "file_name": None}
    found = text(uid="", outcome="dropped", step="collect", reason="no_url", arrivals=[arrival])
    assert found.startswith("a row without uid  dropped at collect (no_url)")
    assert "source web  row 3  dropped (no_url)" in found
    assert "file_name" not in found


def test_a_kept_step_says_what_decided_only_where_it_looked_at_a_number():
    assert "rule" not in text(sight(decided_by={"t": 3}))
    assert re.search(r"rule +t 3\n", text(sight(decided_by={"t": 3}, value=0.5)))
    assert re.search(r"rule +a\.b 3, c x\n", text(sight(decided_by={"a": {"b": 3}, "c": "x"}, verdict="dropped")))


def test_a_whole_rule_stands_in_the_verbose_text_and_a_long_part_is_cut_in_the_other():
    whole = {"filter": {"patterns": ["x" * 3000], "other": 1}}
    dropped = explained(sight(rule=whole, decided_by={"filter": whole["filter"]}, verdict="dropped", version=2))
    assert "... (whole with --verbose)" in dropped.to_text()
    assert len(dropped.to_text()) < 1000
    assert f"version 2 {json.dumps(whole)}" in dropped.to_text(verbose=True)


def test_a_long_value_of_a_column_is_cut_but_in_the_verbose_text():
    things = [{"bbox": [0, 0, 9, 9], "category": EVIL}] * 500
    found = explained(sight(columns={"things": things, "http_status": 404}))
    assert re.search(r"found +things=\[.{159}\.\.\. \(whole with --verbose\)  http_status=404\n", found.to_text())
    assert found.to_text(verbose=True).count("bbox") == 500
    of_pool = explained(identity={"caption": "robin " * 99, "things": json.dumps(things)})
    assert re.search(r"  things +\[.{159}\.\.\. \(whole with --verbose\)\n?", of_pool.to_text())
    assert of_pool.to_text().count("robin") == 99
    assert of_pool.to_text(verbose=True).count("bbox") == 500


def test_numbers_are_short_and_large_ones_have_an_exponent():
    found = text(sight(value=1.5e9, notes={"threshold": 0.25, "t": 3}))
    assert "value 1.5e+09  threshold 0.25  t 3" in found


def test_what_a_step_noted_of_all_its_pairs_is_not_said_of_one():
    notes = {"alone": 130, "drawn": 417, "expected": 12.5, "search": "exact", "recall": None, "threshold": None}
    assert not set(notes) & set(text(sight(value=0.5, notes=notes)).split())
    assert "t 3" not in text(sight(value=0.5, notes={"t": 3, "language": "en"}))  # a pair may be of another
    assert explained(sight(notes=notes)).to_dict()["pairs"][0]["steps"][0]["notes"] == notes


def test_seed_model_and_columns_stand_below_and_empty_ones_do_not():
    found = text(sight(seed=7, model=EVIL, columns={"http_status": 404, "evidence": "", "label": None}))
    assert re.search(r"seed +7\n", found)
    assert "model" in found
    assert "found        http_status=404  label=None" in found
    assert "evidence" not in found


def test_a_twin_is_told_with_its_fate_and_the_way_to_it_where_that_is_longer_than_an_edge():
    edge = {"from": "a", "to": "c", "kind": "perceptual", "distance": 2.0}
    found = text(sight(verdict="merged", reason="near", twin=twin(path=[edge])))
    assert f"merged into  {'b' * 32}  kept  http://twin.test" in found
    assert "edge" not in found
    ended = {"step": "align", "reason": "low_score"}
    found = text(
        sight(verdict="merged", reason="near", twin=twin(ended=ended, path=[edge, edge | {"from": "c", "to": "b"}]))
    )
    assert "ended at align (low_score)" in found
    assert "c - b  perceptual 2" in found


def test_a_twin_that_is_no_longer_known_is_told_without_its_texts():
    assert "None" in text(sight(verdict="merged", reason="near", twin=twin(url=None, caption=None)))


def test_a_row_of_a_table_is_shown_without_what_it_lacks():
    rows = {"draws": [{"entry": "robin", "p": 1.0, "draw": None, "capped": False}]}
    assert "entry robin  p 1  capped False\n" in text(sight(rows=rows))


def test_rows_of_a_table_are_cut_at_twelve_and_counted():
    rows = {"draws": [{"entry": f"concept {number}", "p": 0.5} for number in range(15)]}
    found = text(sight(rows=rows))
    assert found.count("entry concept") == 12
    assert "and 3 more rows (all of them with --json)" in found
    assert "more rows" not in text(sight(rows={"draws": rows["draws"][:12]}))


def test_the_run_is_told_at_the_first_step_and_where_it_changes():
    other = RUN | {"flow_run_id": "1234", "code": {"git_sha": "f" * 40, "dirty": True}}
    patched = RUN | {"code": {"git_sha": "0" * 40}}
    assert text(sight("a"), sight("b", run=patched), sight("c", run=patched)).count("  code ") == 2
    found = text(sight("a"), sight("b"), sight("c", run=other), sight("d", run=other))
    assert [line.split()[0] for line in found.splitlines() if " run " in f" {line} " and "code" in line].count(
        "run"
    ) == 2
    assert "code no commit" in found
    assert f"code {'f' * 12} (changed)  flow run 1234" in found


@pytest.mark.parametrize(("agrees", "words"), [(True, ", agrees: x"), (False, ", DIFFERS: x"), (None, "observed: x")])
def test_a_replay_says_whether_it_agrees(agrees, words):
    label = "observed" if agrees is None else "recomputed"
    found = text(sight(replay=Replay(label=label, agrees=agrees, detail="x")))
    assert words in found


@pytest.mark.parametrize(("answers", "agrees"), [([], True), ([None, True], True), ([True, False, None], False)])
def test_an_explanation_agrees_unless_one_replay_differs(answers, agrees):
    replays = [Replay(label="recomputed", agrees=answer, detail="") for answer in answers]
    assert explained(sight(), *(sight(replay=replay) for replay in replays)).agrees is agrees


def test_pairs_that_stand_for_others_list_the_first_of_them():
    example = {"uid": "c" * 32, "reason": "same_bytes", "url": "http://c.test"}
    found = text(merged=3, merged_examples=[example])
    assert "stands for  3 merged pairs" in found
    assert f"{'c' * 32}  same_bytes  http://c.test" in found
    assert "and 2 more" in found
    assert "more" not in text(merged=1, merged_examples=[example])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"image_id": "i1", "file": None}, "i1  (its bytes are not held here)"),
        ({"image_id": "i1", "file": "/w/a.tar", "offset": 512, "size": 90}, "i1  /w/a.tar at 512, 90 bytes"),
    ],
)
def test_a_picture_is_told_with_where_its_bytes_lie(image, words):
    assert words in text(image=image)


def test_a_chosen_caption_is_told_beside_the_own_where_it_is_another():
    own = {"caption": "a fox"}
    assert "new caption a red fox" in text(sight(columns={"chosen_caption": "a red fox"}), identity=own)
    assert "new caption" not in text(sight(columns={"chosen_caption": "a fox"}), identity=own)


@given(evil=st.text(max_size=20), number=st.floats(allow_nan=True))
def test_no_text_of_any_field_can_act_and_json_holds_it_as_it_was(evil, number):
    shown = sight(
        verdict="merged", reason=evil, value=number, rule={"r": evil}, notes={"threshold": evil}, model=evil,
        columns={"c": evil}, rows={"t": [{"x": evil}]}, twin=twin(url=evil, caption=evil),
        replay=Replay(label="recomputed", agrees=False, detail=evil),
    )  # fmt: skip
    arrival = {"source": evil, "file_name": evil, "row": 1, "verdict": "kept", "reason": evil}
    pair = {"identity": {"caption": evil, "url": evil}, "arrivals": [arrival], "reason": evil, "step": "s"}
    found = text(shown, **pair)
    acting = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not [
        one for one in found.replace("\n", "") if unicodedata.category(one) in acting and one not in "\u200c\u200d"
    ]
    assert json.loads(json.dumps(explained(shown, **pair).to_dict()))["pairs"][0]["identity"]["caption"] == evil
