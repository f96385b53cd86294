"""The benchmark that holds captioners against the truth: its measures, its stand-in for a vision model, its cheat."""

import base64
import io
import json
import urllib.request
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.caption_facts import demo_facts, scene_facts
from benchmarks.caption_measures import Change, Held, change_auc, f1_gain, measure_changes, ratio_interval
from benchmarks.caption_unseen import NamedObject, measure_unseen
from benchmarks.greedy_captions import GREEDY
from benchmarks.scene_eyes import describe, is_known, nearest_thing, pieces, scene_eyes
from evenly.demo.draws import DEMO_SEED
from evenly.demo.scenes.catalogue import read_things
from evenly.demo.scenes.drawing import draw_scene
from evenly.demo.scenes.folder import make_scene_folder
from evenly.demo.scenes.plans import plan_scene
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, MATCH_CONCEPTS
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.stage import run_step
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import BLUE, COLOURS, GREEN, RED, ColourWords, Row, open_run, run_steps

RIGHT, VAGUE, WRONG = (
    Held(named=1, wrong=0, missed=0, has_error=False),
    Held(named=0, wrong=0, missed=1, has_error=False),
    Held(named=0, wrong=1, missed=1, has_error=True),
)


def change(given, chosen, *, group="g", scores=(0.1, 0.2), judged=(0.1, 0.1)) -> Change:
    return Change(group=group, is_changed=given != chosen, given=given, chosen=chosen, scores=scores, judged=judged)


def test_a_caption_is_repaired_only_by_one_that_names_rightly_and_worse_if_it_errs_or_names_less():
    assert change(WRONG, RIGHT).is_repaired
    assert not change(WRONG, VAGUE).is_repaired
    assert not change(VAGUE, RIGHT).is_repaired
    assert change(RIGHT, WRONG).is_worse
    assert change(RIGHT, VAGUE).is_worse
    assert change(VAGUE, WRONG).is_worse
    assert not change(WRONG, WRONG).is_worse


def test_measures_are_of_all_pictures_and_differences_of_scores_of_the_changed_ones():
    changes = [change(WRONG, RIGHT, group="a"), change(RIGHT, RIGHT, group="b"), change(VAGUE, WRONG, group="c")]
    one = measure_changes(changes)
    assert (one.n, one.changed, one.erred) == (3, 2, 1)
    assert [side.estimate for side in one.precision] == [0.5, 2 / 3]
    assert [side.estimate for side in one.recall] == [1 / 3, 2 / 3]
    assert one.f1_gain.estimate == pytest.approx(f1_gain(changes)) == pytest.approx(4 / 6 - 2 / 5)
    assert one.f1_gain.low < one.f1_gain.estimate < one.f1_gain.high
    assert (one.repaired.estimate, one.worse.estimate) == (1.0, 0.5)
    assert (one.score_auc.estimate, one.judge_auc.estimate) == (1.0, 0.5)
    assert one.score_gain.estimate == pytest.approx(0.1)
    assert one.judge_gain == pytest.approx((0.0, 0.0, 0.0))


def test_an_auc_is_the_share_of_pairs_whose_chosen_caption_scores_higher_and_its_resamples_are_of_groups():
    generator = np.random.default_rng(3)
    pairs = generator.random((12, 2)).round(1)
    changes = [change(WRONG, RIGHT, group=str(n // 3), scores=tuple(pair)) for n, pair in enumerate(pairs.tolist())]
    given, chosen = pairs.T
    wins = [(b > a) + (b == a) / 2 for a in given for b in chosen]
    interval = change_auc(changes, "scores")
    assert interval.estimate == pytest.approx(np.mean(wins))
    assert interval.low < interval.estimate < interval.high
    alone = change_auc([replace(one, group="g") for one in changes], "scores")
    assert (alone.estimate, np.isnan(alone.low)) == (interval.estimate, True)


def test_an_unseen_object_is_measured_by_the_share_of_pictures_that_are_nearer_and_by_its_flag():
    plain = {"is_tested": True, "origin": "seen", "is_recognised": True}
    objects = [
        NamedObject(group=str(n // 2), is_there=is_there, nearer=nearer, is_flagged=nearer > 0.5, **plain)
        for n, (is_there, nearer) in enumerate([(True, 0.1), (True, 0.6), (False, 0.6), (False, 0.9), (False, 0.2)])
    ]
    measures = measure_unseen(objects)
    assert (measures.there, measures.absent) == (2, 3)
    assert measures.auc.estimate == pytest.approx((1 + 0.5 + 1 + 1 + 1 + 0) / 6)
    estimates = [one.estimate for one in (measures.precision, measures.recall, measures.false_alarms)]
    assert estimates == pytest.approx([2 / 3, 2 / 3, 1 / 2])
    assert measures.auc.low < measures.auc.estimate < measures.auc.high


def test_a_ratio_of_sums_that_is_the_same_in_each_group_has_no_spread():
    assert ratio_interval(np.array([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0]]), ["a", "b", "c"]) == (0.5, 0.5, 0.5)


def single(*, is_wanted: bool) -> tuple[str, Image.Image]:
    """The name of the thing in the first scene of a single one that the stand-in knows, or does not, and the scene."""
    plans = (plan_scene(number, DEMO_SEED) for number in range(400))
    plan = next(
        plan
        for plan in plans
        if [group.count for group in plan.groups] == [1] and is_known(plan.groups[0].name) is is_wanted
    )
    with Image.open(io.BytesIO(draw_scene(plan).png)) as opened:
        return plan.groups[0].name, opened.convert("RGB")


def test_the_stand_in_sees_what_stands_apart_and_names_what_it_knows():
    name, scene = single(is_wanted=True)
    (piece,) = pieces(scene)
    assert nearest_thing(piece) == name
    said = {describe(scene, str(key)) for key in range(30)}
    (kind,) = read_things()[name].kinds[:1] or ("something",)
    others = [other for other in read_things() if other != name]
    rest = {caption for caption in said if name not in caption}
    assert rest < said
    assert any(kind in caption for caption in rest)
    assert any(f" {other}" in caption for caption in rest for other in others)


def test_the_stand_in_does_not_name_what_it_was_not_told_of():
    _, scene = single(is_wanted=False)
    assert nearest_thing(pieces(scene)[0]) is None


@pytest.mark.slow
def test_the_stand_in_is_a_server_that_decodes_what_it_is_sent():
    _, scene = single(is_wanted=True)
    stream = io.BytesIO()
    scene.save(stream, "JPEG", quality=92)
    url = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Describe it."}]
    body = json.dumps({"model": "eyes", "messages": [{"role": "user", "content": content}]}).encode()
    with scene_eyes() as base, urllib.request.urlopen(f"{base}/chat/completions", body) as reply:  # noqa: S310 - loopback
        message = json.load(reply)["choices"][0]["message"]
    assert json.loads(message["content"])["caption"].startswith("a drawing of ")


def test_a_scene_s_caption_is_held_against_its_truth_and_test_scenes_choose_nothing(tmp_path):
    make_scene_folder(tmp_path / "s", count=40)
    rows = pq.read_table(tmp_path / "s" / "truth.parquet").to_pylist()
    for row in rows:
        facts = scene_facts(row)
        assert facts.is_tested == (row["part"] == "test")
        right = facts.held(row["short_caption"])
        assert (right.named, right.wrong, right.missed, right.has_error) == (len(row["things"]), 0, 0, False)
        assert all(facts.held(wrong["caption"]).has_error for wrong in row["wrong_captions"])


def test_a_picture_of_the_demo_is_named_by_its_words_and_another_s_words_are_an_error():
    codes = {"https://a.test/1": "1F980", "https://a.test/2": "1F418", "https://a.test/3": "1F473-1F3FF"}
    facts = demo_facts(pa.table({"url": [*codes], "code": [*codes.values()]}))
    crab = facts["https://a.test/1"]
    assert crab.held("two crabs on a plain background") == RIGHT
    assert crab.held("an elephant") == WRONG
    assert crab.held("a small picture") == VAGUE
    assert crab.held("a crab and an elephant").has_error
    assert facts["https://a.test/3"].held("a person wearing turban") == RIGHT


class AllColours(ColourWords):
    """An encoder for which a text is the mean of all colours that it names."""

    def encode_texts(self, texts):
        return super().encode_texts([text.replace(",", "") for text in texts])


class FirstColour(ColourWords):
    """Another encoder: a text is the first colour that it names, and further off with each other one."""

    identity = "first colour"
    device_name = "a machine"

    def encode_texts(self, texts):
        named = [[word for word in text.replace(",", "").split() if word in COLOURS] or ["grey"] for text in texts]
        rows = super().encode_texts([colours[0] for colours in named])
        return rows + np.array([[0, 60 * (len(colours) - 1), 0] for colours in named], np.float32)


def test_a_captioner_that_raises_the_score_alone_wins_by_it_and_the_second_encoder_shows_that_it_says_no_more(
    tmp_path, monkeypatch
):
    """Purple pictures, of which red and blue together have the colour, and neither is seen."""
    encoders = {"embedded": AllColours(), "embedded2": FirstColour()}
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda choice, _cache: encoders[choice.model])
    monkeypatch.setitem(CAPTIONERS, "greedy", GREEDY)
    colours = {"a red thing": RED, "a blue thing": BLUE, "a green thing": GREEN}
    pool = [Row(text.split()[1], text, picture(colour, pattern=n)) for n, (text, colour) in enumerate(colours.items())]
    pool += [Row(f"p{n}", "a red thing", picture((200, 60, 190), pattern=10 + n)) for n in range(6)]
    run = open_run(tmp_path / "w", pool)
    records = run_steps(run, (COLLECT, MATCH_CONCEPTS, COUNT_CONCEPTS, DOWNLOAD, EMBED_IMAGES))
    captioner = {"name": "greedy", "kind": "greedy", "words": 4, "nearest": 6}
    rule = {"captioners": [captioner], "choose": {"by": "score"}, "judge": {"model": "embedded2"}}
    record = run_step(run, RECAPTION, records, RECAPTION.read(rule))
    assert record.notes["rewritten"] >= 6
    assert record.notes["clipscore_after"] > record.notes["clipscore_before"]
    assert record.notes["judged_after"] < record.notes["judged_before"]
    offered = run.ledger.table(record, "candidates", where=pc.field("origin") == "greedy").to_pylist()
    last = {row["uid"]: row for row in sorted(offered, key=lambda row: row["sample"])}
    first = {row["uid"]: row for row in offered if row["sample"] == 0}
    assert any("red" in row["caption"] and "blue" in row["caption"] for row in last.values())
    assert all(row["score"] >= first[uid]["score"] for uid, row in last.items())
