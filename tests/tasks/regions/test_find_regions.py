"""Regions of pictures as a step: real files, a tiny random vision transformer, the real stores and ledger."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evenly
from evenly.audit.card import read_card
from evenly.audit.checks.stored import check_stored
from evenly.audit.published import PublishedBuild
from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.concepts.judgement import label_entries
from evenly.curation.concepts.matching import MatchRule
from evenly.curation.errors import RuleError
from evenly.curation.regions.judgement import REGIONS, RegionRule
from evenly.curation.values.judgement import CHECK_VALUES, judge_value
from evenly.curation.values.rule import NamedBounds, ValuesRule
from evenly.features import to_unit_rows
from evenly.features.dense import towers
from evenly.features.dense.methods import REGION_METHODS
from evenly.features.dense.methods.score_maps import ScoreMaps
from evenly.features.errors import OnnxModelError
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.heads import Heads
from evenly.flows.cli.errors import UsageError
from evenly.storage.artifacts.kinds import learned_regions_of
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore, RowStore, TextStore, text_id
from evenly.storage.removal.clean import Wanted, clean_workspace
from evenly.storage.removal.purge import purge
from evenly.storage.removal.traces import Traces
from evenly.storage.tables.lance_rows import MADE_AGAIN, each_fragment, newest_version
from evenly.storage.web.images import read_images
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures.encoded import store_images
from evenly.tasks.pictures.sent_rows import PicturePlaces
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.balance import BALANCE
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.concepts import MATCH_AGAIN, MATCH_CONCEPTS
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.filters import CHECK_IMAGES
from evenly.tasks.refining.pairs import dealt_parts
from evenly.tasks.regions.find_regions import FIND_REGIONS
from evenly.tasks.regions.learning import learned_search, pictures_of_train
from evenly.tasks.regions.search import RegionSearch
from evenly.tasks.regions.tables import region_rows, stored_regions
from evenly.tasks.run import EncoderChoice, Run
from evenly.tasks.stage import run_steps
from evenly.tasks.step import check_ready, ledger_step
from tests.features.conftest import tiny, tiny_checkpoint  # noqa: F401 - fixtures
from tests.features.dense.drawn_detector import write_detector
from tests.picture_pool import picture
from tests.tasks.step_contract import findings, rewrite
from tests.tasks.whole_rebuild import BLUE, GREEN, RED, RULES, Row, open_run, publish

BOXES = [[0, 0, 32, 24], [90, 90, 99, 99]]
COLUMNS = ("region_count", "region_score", "region_labels", "region_area")


@pytest.fixture(autouse=True)
def passes(monkeypatch, tiny):  # noqa: F811
    """The number of pictures of each pass of the encoder for cells."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: tiny)
    counts, raw = [], towers._TowerDense.raw
    monkeypatch.setattr(
        towers._TowerDense, "raw", lambda tower, images, *rest: counts.append(len(images)) or raw(tower, images, *rest)
    )
    return counts


def opened(root, *, pictures=6, **options) -> Run:
    """A run over a folder of pictures with boxes, and a list of two things."""
    rows = [Row(f"p{n}", f"picture {n}", picture((RED, GREEN, BLUE)[n % 3], pattern=n)) for n in range(pictures)]
    for name in ("val", "pool"):
        shutil.rmtree(root / name, ignore_errors=True)
    run = open_run(root, rows)
    (root / "things.txt").write_text("fox\nowl\n")
    listing = root / "pool" / "metadata.jsonl"
    lines = [json.dumps(json.loads(line) | {"boxes": BOXES}) for line in listing.read_text().splitlines()]
    listing.write_text("\n".join(lines) + "\n")
    return Run(**vars(run) | options)


def found(run, **rule):
    """The records of the steps, the last one that of the regions."""
    steps = [(step, step.read(RULES[step.name])) for step in (COLLECT, DOWNLOAD, CHECK_IMAGES)]
    chosen = {"texts": "{root}/things.txt", "options": {"min_score": 0.5, "scale": 20.0}} | rule
    return list(run_steps(run, [*steps, (FIND_REGIONS, RegionRule(**chosen))], InProcess(run=run)))


def tables(run, record):
    return run.ledger.table(record, "regions").sort_by(
        [("uid", "ascending"), ("region", "ascending")]
    ), run.ledger.decisions(record)


def test_each_pair_has_its_regions_and_columns_that_sum_them(tmp_path):
    run = opened(tmp_path / "w")
    table, decisions = tables(run, found(run)[-1])
    assert table.schema.remove_metadata() == REGIONS
    assert {*table["label"].to_pylist()} <= {"fox", "owl"}
    counting = table.filter(pc.equal(table["reason"], "")).to_pylist()
    for row in decisions.to_pylist():
        own = [region for region in counting if region["uid"] == row["uid"]]
        assert (row["verdict"], row["region_count"], row["value"]) == ("kept", len(own), len(own))
        assert row["region_labels"] == sorted({region["label"] for region in own})
        assert row["region_score"] == max((region["score"] for region in own), default=None)
        assert 0 <= row["region_area"] <= 1
        assert (row["region_area"] > 0) == bool(own)


def test_a_build_is_judged_again_by_its_regions_and_one_that_is_missing_is_seen(tmp_path):
    run = opened(tmp_path / "w")
    records = found(run, method=None, texts=None, boxes="boxes")
    manifest = publish(run, records)
    assert findings(run.workspace, manifest) == set()
    rewrite(run.ledger, records[-1], "regions", lambda table: table.slice(1))
    assert "find_regions" in findings(run.workspace, manifest)


def test_only_new_pictures_are_looked_at_and_partitions_change_nothing(tmp_path, passes):
    run = opened(tmp_path / "w", pictures=5)
    found(run)
    run = opened(tmp_path / "w")
    whole = tables(run, found(run)[-1])
    assert passes == [5, 1]
    parted = opened(tmp_path / "parted", bits=3)
    assert all(map(pa.Table.equals, whole, tables(parted, found(parted)[-1])))


def test_stored_cells_give_the_same_regions_and_are_not_made_again(tmp_path, passes):
    made, stored = opened(tmp_path / "made"), opened(tmp_path / "stored")
    records = [found(run, dense=dense)[-1] for run, dense in ((made, "made"), (stored, "stored"))]
    assert records[0].key == records[1].key
    assert all(map(pa.Table.equals, tables(made, records[0]), tables(stored, records[1])))
    del passes[:]
    found(stored, dense="stored", options={"scale": 50.0})
    assert passes == []


def test_the_rows_of_pictures_are_those_that_the_encoder_gives_without_cells(tmp_path, tiny):  # noqa: F811
    run = opened(tmp_path / "w")
    decisions = tables(run, found(run)[-1])[1]
    shown = run.ledger.decisions(found(run)[1], ["image_id"])["image_id"].to_pylist()
    stored, norms = FeatureStore(run.workspace, tiny.identity, "images").read(shown)
    files = list(read_images(run.workspace.downloads, shown))
    rows, lengths = to_unit_rows(tiny.encode_images(files))
    assert len(shown) == decisions.num_rows
    assert np.array_equal(stored, rows)
    assert np.array_equal(norms, lengths)


def test_boxes_of_a_column_are_taken_as_they_are_and_one_outside_has_a_reason(tmp_path, passes):
    run = opened(tmp_path / "w")
    table, decisions = tables(run, found(run, method=None, texts=None, boxes="boxes")[-1])
    assert table["reason"].to_pylist() == ["", "outside"] * 6
    assert {*table["source"].to_pylist()} == {"column:boxes"}
    assert (
        decisions.select(COLUMNS).to_pylist()
        == [{"region_count": 1, "region_score": None, "region_labels": [], "region_area": 0.25}] * 6
    )
    assert passes == []


def test_attributes_of_boxes_are_columns_only_where_they_are_wanted(tmp_path, monkeypatch):
    box = {"box": [0, 0, 32, 24], "label": "fox"}
    labelled = [box | {"attributes": {"red": True, "wet": False}}, box | {"attributes": ["old"]}, box]
    monkeypatch.setattr("tests.tasks.regions.test_find_regions.BOXES", labelled)
    run = opened(tmp_path / "w", pictures=3)
    rule = {"method": None, "texts": None, "boxes": "boxes"}
    assert tables(run, found(run, **rule)[-1])[0].schema.remove_metadata() == REGIONS
    records = found(run, attributes=True, **rule)
    table, decisions = tables(run, records[-1])
    assert table["attributes"].to_pylist() == [["red"], ["old"], []] * 3
    assert table["attribute_scores"].to_pylist() == [[1.0], [1.0], []] * 3
    assert decisions["region_attributes"].to_pylist() == [["old fox", "red fox"]] * 3
    assert findings(run.workspace, publish(run, records)) == set()


@pytest.mark.parametrize("is_form", [True, False])
def test_boxes_of_a_detector_are_regions_and_another_file_of_it_is_another_search(tmp_path, passes, is_form):
    run = opened(tmp_path / "w", pictures=3)
    file = write_detector(tmp_path / "w" / "d.onnx")
    if is_form:
        (tmp_path / "w" / "d.json").write_text('{"file": "d.onnx", "name": "d", "min_score": 0.3}')
    rule = {"method": None, "texts": None, "detector": f"{{root}}/d.{'json' if is_form else 'onnx'}"}
    first = found(run, **rule)[-1]
    table, decisions = tables(run, first)
    assert {*table["source"].to_pylist()} == {"detector:d"}
    assert {*table["label"].to_pylist()} == {"red", "blue"}
    assert sum(decisions["region_count"].to_pylist()) == sum(not reason for reason in table["reason"].to_pylist()) > 0
    assert found(run, **rule)[-1].key == first.key
    write_detector(file, "columns")
    assert found(run, **rule)[-1].key != first.key
    assert passes == []


@pytest.mark.parametrize("masked", [True, False])
def test_boxes_of_a_column_are_named_by_their_crops(tmp_path, masked):
    options = {"weight": 1.0, "masked": masked, "scale": 20.0}
    run = opened(tmp_path / "w", pictures=3)
    table, _ = tables(run, found(run, method="masked_crops", boxes="boxes", options=options)[-1])
    assert table["reason"].to_pylist() == ["", "outside"] * 3
    assert table["source"].to_pylist() == ["masked_crops", "column:boxes"] * 3
    assert {*table["label"].to_pylist()[::2]} <= {"fox", "owl"}
    assert all(score > 0.5 for score in table["score"].to_pylist()[::2])


def test_pictures_that_do_not_decode_or_are_features_alone_have_a_reason(tmp_path):
    run = opened(tmp_path / "w")
    ids = [*run.ledger.decisions(found(run)[1], ["image_id"])["image_id"].to_pylist()[:3], "f" * 64]
    pictures = pa.table({"image_id": ids, "is_bare": [False] * 3 + [True], "statements": pa.nulls(4, pa.string())})
    search = RegionSearch.of(run, RegionRule(texts="{root}/things.txt"))
    search.vocabulary(run)
    cut = [
        read[: len(read) // 2] if place == 1 else read
        for place, read in enumerate(read_images(run.workspace.downloads, ids[:3]))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.tasks.regions.search.read_images", lambda *_: iter(cut))
        table, area = region_rows(search.schema, ids, search.texts(run, pictures, PicturePlaces()))
    reasons = [{row["reason"] for row in table.to_pylist() if row["uid"] == uid} for uid in ids]
    assert [reasons[1], reasons[3]] == [{"not_decoded"}, {"no_picture"}]
    assert area.is_null().to_pylist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        ({"method": "guess"}, RuleError, "one of .*score_maps.*got `guess`"),
        ({"options": {"gama": 1}}, RuleError, r"hyper-parameters of `score_maps`, .*gama: Unexpected"),
        ({"options": {"scale": -1}}, RuleError, r"hyper-parameters of `score_maps`, .*got scale: Input"),
        ({"texts": "{root}/none.txt"}, InputError, "class list.*none.txt"),
        ({"texts": "{root}/things.json"}, InputError, "text for each thing.*things.json"),
        ({"detector": "{root}/none.onnx"}, OnnxModelError, "none.onnx.*file to read"),
        ({"detector": "{root}/things.json"}, InputError, "JSON of a detector's form.*things.json"),
        ({"method": "needy"}, RuleError, r"`needy` needs second: write `features: {second: "),
        ({"endpoint": object()}, RuleError, "method that names regions; got `score_maps`"),
        ({"boxes": "bocks"}, RuleError, "`regions.boxes` must be a column.*There are .*boxes"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, monkeypatch, rule, error, words):
    class Needy(ScoreMaps):
        needs = frozenset({"second"})

    monkeypatch.setattr("evenly.tasks.regions.search.REGION_METHODS", {**REGION_METHODS, "needy": Needy})
    run = opened(tmp_path / "w")
    (tmp_path / "w" / "things.json").write_text('{"fox": []}')
    with pytest.raises(error, match=words):
        found(run, **rule)
    if "boxes" not in rule:  # before anything runs
        with pytest.raises(error, match=words):
            check_ready(run, [(FIND_REGIONS, RegionRule(**{"texts": "{root}/things.txt"} | rule))])


@pytest.mark.parametrize(
    "rule",
    [
        {"method": None, "texts": "t"},
        {},
        {"method": None, "boxes": "b", "detector": "d"},
        {"method": None, "endpoint": {"model": "m"}},
        {"texts": "t", "templates": ("a thing",)},
        {"texts": "t", "dense": "kept"},
        {"method": None, "boxes": "b", "learn": 3},
    ],
)
def test_a_rule_that_does_not_hold_together_is_refused(rule):
    with pytest.raises(RuleError):
        RegionRule(**rule)


def test_the_regions_of_a_build_are_those_that_its_step_gives_and_a_broken_run_goes_on(tmp_path, passes, monkeypatch):
    run = opened(tmp_path / "w")
    records = found(run)
    build = publish(run, records[:3], recipe={"name": "whole", "features": {"model": "embedded"}})["build"]
    table = tables(run, records[-1])[0]
    choice = {"root": tmp_path / "w", "texts": tmp_path / "w" / "things.txt", "method": "score_maps"}
    same = ["min_score=0.5", "scale=20.0"]
    first = evenly.regions(build, **choice, option=same, out=tmp_path / "a.parquet")
    assert (first["pictures_looked_at"], first["regions"]) == (0, records[-1].notes["regions"][""])
    assert pq.read_table(tmp_path / "a.parquet").equals(table)
    evenly.regions(build, **choice, option=same, out=tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == table.to_pylist()
    del passes[:]
    other = ["scale=30"]
    with monkeypatch.context() as patch:
        patch.setattr("evenly.tasks.regions.search.pictures_at_once", lambda _: 2)
        patch.setattr(TextStore, "append", broken_after(TextStore.append, 2))
        with pytest.raises(RuntimeError, match="broken"):
            evenly.regions(build, **choice, option=other, out=tmp_path / "b.parquet")
    assert not (tmp_path / "b.parquet").exists()
    assert evenly.regions(build, **choice, option=other, out=tmp_path / "b.parquet")["pictures_looked_at"] == 2
    assert sum(passes) == 8


def broken_after(function, calls):
    """A function that works so many times."""
    done = []

    def call(*arguments):
        if len(done) == calls:
            raise RuntimeError("broken")
        done.append(1)
        return function(*arguments)

    return call


def test_the_command_lists_methods_and_refuses_what_cannot_be(tmp_path):
    assert [row["method"] for row in evenly.regions(methods=True)["methods"]] == list(REGION_METHODS)
    for options, words in (({}, "`recipe` must"), ({"recipe": "r.yaml", "out": Path("x.csv")}, "`--out` must end")):
        with pytest.raises(UsageError, match=words):
            evenly.regions(**options, root=tmp_path)


def test_stored_cells_are_made_in_the_one_pass_in_which_pictures_are_encoded(tmp_path, passes, tiny):  # noqa: F811
    run = opened(tmp_path / "w", stores_cells=True)
    shown = run.ledger.decisions(found(run, method=None, texts=None, boxes="boxes")[1], ["image_id"])
    ids = shown["image_id"].to_pylist()
    assert store_images(run, ids) == 6
    assert passes == [6]
    found(run, dense="stored")
    assert passes == [6]
    refined = RefinedEncoder(tiny, replace(Heads.start(16, 4, seed=0), image_up=np.ones((4, 16), np.float32)))
    plain, with_cells = opened(tmp_path / "plain"), opened(tmp_path / "cells", stores_cells=True)
    rows = []
    for other in (plain, with_cells):
        found(other, method=None, texts=None, boxes="boxes")
        with pytest.MonkeyPatch.context() as patch:
            for name, chosen in (("open_encoder", lambda one: one), ("encoder_identity", lambda one: one.identity)):
                patch.setattr(
                    f"evenly.tasks.pictures.encoded.{name}",
                    lambda run, chosen=chosen: chosen(refined if run.encoder.refine else tiny),
                )
            store_images(replace(other, encoder=EncoderChoice(refine="mine")), ids)
        rows.append(FeatureStore(other.workspace, refined.identity, "images").read(ids)[0])
    assert np.array_equal(*rows)
    assert passes == [6, 6]
    assert not RowStore(with_cells.workspace, refined.identity, "cells").missing(pa.array(ids))


def test_pairs_are_balanced_over_the_labels_of_their_regions(tmp_path):
    run = opened(tmp_path / "w")
    rule = MatchRule(metadata="{root}/things.txt", texts="regions", unmatched="keep")
    steps = [(step, step.read(RULES[step.name])) for step in (COLLECT, DOWNLOAD, CHECK_IMAGES)]
    steps.insert(1, (MATCH_CONCEPTS, rule))
    steps.append((FIND_REGIONS, RegionRule(texts="{root}/things.txt", options={"scale": 20.0})))
    steps += [(MATCH_AGAIN, replace(rule, unmatched="drop")), (BALANCE, BalanceRule(t=2.0))]
    records = list(run_steps(run, steps, InProcess(run=run)))
    labels = {row["uid"]: row["region_labels"] for row in run.ledger.decisions(records[4]).to_pylist()}
    again = run.ledger.decisions(records[5])
    matches = run.ledger.table(records[5], "matches").to_pylist()
    assert {row["uid"]: [("fox", "owl")[entry] for entry in row["entries"]] for row in matches} == {
        uid: names for uid, names in labels.items() if names
    }
    assert {*again["reason"].to_pylist()} <= {"", "no_concept"}
    manifest = publish(run, records)
    assert findings(run.workspace, manifest) == set()
    named = {name for names in labels.values() for name in names}
    card = read_card(PublishedBuild(run.workspace, manifest))
    assert {*card.unmatched} == {"fox", "owl"} - named != {"fox", "owl"}  # no caption names either
    boxes = stored_regions(run.workspace, manifest).to_pylist()
    assert {row["uid"]: len(row["regions"]) for row in boxes} == {
        row["uid"]: row["region_count"] for row in run.ledger.decisions(records[4]).to_pylist()
    }


SCENES = [f"scene {number}" for number in range(40)]
NAMED = {
    "masked_crops": {},
    "box_prompts": {"rank": 2, "epochs": 1, "batch_size": 2},
    "descriptions": {"within": "boxes", "min_score": -1.0},
    "counts": {"rank": 2, "epochs": 1, "block": 2, "min_count": 0.001},
    "attributes": {"attributes": {"colour": ["red", "blue"]}, "rank": 2, "epochs": 1, "batch_size": 2},
    "background": {"min_score": 0.0, "min_area": 0.0},
    "proposals": {"rank": 2, "epochs": 1, "batch_size": 2, "levels": [0.0], "min_area": 0.0},
}


@pytest.mark.parametrize("method", NAMED)
def test_methods_that_read_labels_learn_and_say_what_and_give_the_same_in_partitions(tmp_path, monkeypatch, method):
    labelled = [{"box": [0, 0, 32, 48], "label": "fox"}, {"box": [32, 0, 64, 48], "label": "owl"}]
    if method == "attributes":
        labelled = [box | {"attributes": [word]} for box, word in zip(labelled, ("red", "blue"), strict=True)]
    monkeypatch.setattr("tests.tasks.regions.test_find_regions.BOXES", labelled)
    rule = {"method": method, "boxes": "boxes", "options": NAMED[method], "learn": 12}
    whole, parted = (opened(tmp_path / str(bits), pictures=24, bits=bits) for bits in (0, 3))
    records, lines = found(whole, **rule), list[str]()
    result = tables(whole, records[-1])
    assert all(map(pa.Table.equals, result, tables(parted, found(parted, **rule)[-1])))
    monkeypatch.setattr(Progress, "say", lambda _, line, *_level: lines.append(line))
    found(whole, **rule)
    assert f"{method}, of 12 pictures with 24 labelled regions: " in lines[-1]
    assert ("nothing: " in lines[-1]) == (method in {"box_prompts", "attributes"})
    assert {*result[0]["source"].to_pylist()} == {method}
    assert {*result[0]["label"].to_pylist()} <= {"fox", "owl"}
    assert result[0].num_rows >= 6
    if method == "counts":
        table, pairs = result
        assert np.allclose(table["count"], [sum(density) for density in table["density"].to_pylist()], atol=1e-4)
        summed = table.group_by("uid").aggregate([("count", "sum")]).sort_by("uid")
        assert np.allclose(pairs.sort_by("uid")["region_expected"], summed["count_sum"])
        assert findings(whole.workspace, publish(whole, records)) == set()


def test_words_for_scenes_that_look_like_the_whole_picture_leave_no_region(tmp_path):
    run = opened(tmp_path / "w")
    every, _ = tables(run, found(run, options={"scale": 1000.0})[-1])
    left, _ = tables(run, found(run, method="background", options={"scale": 1000.0, "scenes": SCENES, "top": 1})[-1])
    assert left.num_rows < every.num_rows
    assert {*left["source"].to_pylist()} <= {"background"}


_WORDS = st.lists(st.sampled_from("abcd"), unique=True)


@given(st.lists(st.tuples(_WORDS, _WORDS), max_size=5))
def test_the_entries_of_labels_and_attributes_are_ascending_and_those_of_each_pair(rows):
    columns = [pa.chunked_array([pa.array([row[place] for row in rows], pa.list_(pa.string()))]) for place in (0, 1)]
    entries = label_entries(columns, pa.array(["d", "b", "x", "a"]))
    named = [{*labels, *attributes} & {*"dbxa"} for labels, attributes in rows]
    assert entries.to_pylist() == [sorted(map("dbxa".index, names)) for names in named]


def test_a_method_learns_of_pictures_of_train_once_for_the_same_ones(tmp_path, monkeypatch):
    labelled = [{"box": [0, 0, 32, 24], "label": "fox"}, {"box": [32, 24, 64, 48], "label": "owl"}]
    monkeypatch.setattr("tests.tasks.regions.test_find_regions.BOXES", labelled)
    fits, fit = [], ScoreMaps.fit
    monkeypatch.setattr(ScoreMaps, "fit", lambda self, dense, *rest: fits.append(len(dense)) or fit(self, dense, *rest))
    run, rule = opened(tmp_path / "w", pictures=9), {"boxes": "boxes", "options": {"scale": 20.0}}
    whole = tables(run, found(run, **rule, learn=3)[-1])
    assert fits == [3]
    found(run, **rule | {"templates": ("{}",)}, learn=3, dense="stored")
    parted = opened(tmp_path / "parted", pictures=9, bits=3)
    assert all(map(pa.Table.equals, whole, tables(parted, found(parted, **rule, learn=3)[-1])))
    assert fits == [3, 3]
    found(run, **rule, learn=2)
    assert fits == [3, 3, 2]
    search = RegionSearch.of(run, RegionRule(texts="{root}/things.txt", **rule))
    ids = sorted(run.ledger.decisions(found(run)[1], ["image_id"])["image_id"].to_pylist())[:4]
    pictures = pa.table({"image_id": ids, "statements": [json.dumps(labelled)] * 4})
    (first, _), (second, outcome) = (learned_search(run, search, pictures) for _ in range(2))
    assert fits == [3, 3, 2, 4]
    assert first.identity(run) == second.identity(run) != search.identity(run)
    assert (outcome["pictures"], outcome["regions"], outcome["values"]) == (4, 8, {"gamma": first.method.gamma})
    with pytest.raises(RuleError, match="`learn` must have pictures"):
        learned_search(run, search, pictures.slice(0, 0))
    with pytest.raises(RuleError, match="`learn` of `score_maps` must go with `boxes`"):
        RegionSearch.of(run, RegionRule(texts="{root}/things.txt", learn=3))


def test_what_a_method_learned_is_verified_and_goes_with_builds_and_pictures(tmp_path, tiny):  # noqa: F811
    run, rule = opened(tmp_path / "w"), {"method": "cosegment", "options": {"compare": "cells"}, "dense": "stored"}
    records = found(run, **rule, learn=3)
    manifest, learned = publish(run, records), records[-1].notes["learned"]
    assert (learned["regions"], learned["values"]) == (0, {"prototypes": [2, 16]})
    artifacts = learned_regions_of(run.workspace)
    ids = artifacts.read(learned["artifact"])[0]["pictures"]
    pictures = pa.table({"image_id": ids[:2], "statements": pa.nulls(2, pa.string())})
    of_no_step = RegionSearch.of(run, RegionRule(texts="{root}/things.txt", **rule, learn=2))
    _, other = learned_search(run, of_no_step, pictures)
    assert artifacts.names() == sorted([learned["artifact"], other["artifact"]])
    clean_workspace(run.workspace, run.workspace.exchange, Wanted(older_than_s=-1.0))
    assert artifacts.names() == [learned["artifact"]]
    (content,) = run.workspace.objects.iterdir()
    build = PublishedBuild(run.workspace, manifest)
    assert not list(check_stored(build))
    for file in (content, artifacts.folder / f"{learned['artifact']}.json", *cell_files(run.workspace)):
        whole = file.read_bytes()
        file.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
        assert {finding.check for finding in check_stored(build)} & {"artifacts", "features"}, file
        file.write_bytes(whole)
    purge(run.workspace, run.workspace.exchange, Traces(pictures=frozenset(ids[:1])), {})
    assert not artifacts.names()
    assert not content.exists()
    assert RowStore(run.workspace, tiny.identity, "cells").missing(pa.array(ids)).to_pylist() == ids[:1]


def cell_files(workspace):
    """A data file of stored cells, and one of regions that were looked at."""
    return [next(workspace.features.glob(f"*/{kind}.lance/data/*")) for kind in ("cells", "regions")]


def test_pictures_of_train_are_dealt_by_group_and_are_the_first_by_hash():
    rows = pa.table({
        "uid": [f"u{n}" for n in range(40)], "image_id": [f"{n // 2:02d}" for n in range(40)],
        "is_bare": [n == 0 for n in range(40)], "statements": [None if n == 2 else "[]" for n in range(40)],
    })  # fmt: skip
    groups = [f"g{n // 4}" for n in range(40)]
    parts = dealt_parts(np.array(groups), seed=1)
    chosen = pictures_of_train(rows, groups, 5, seed=1)
    trained = [n for n in range(40) if parts[n] == "train" and n not in (0, 2)]
    assert chosen["image_id"].to_pylist() == sorted({f"{n // 2:02d}" for n in trained})[:5]
    assert {*chosen["uid"].to_pylist()} <= {f"u{n}" for n in trained}


def test_check_names_a_method_that_lacks_what_it_needs(tmp_path):
    opened(tmp_path / "w")
    recipe = tmp_path / "w" / "r.yaml"
    for method, words in (("correlations", "`curate.regions`: `correlations` needs second"), ("guess", "one of")):
        section = f"curate: {{download: {{}}, regions: {{texts: things.txt, method: {method}}}}}"
        recipe.write_text(f"name: r\nseed: 1\nsources: [{{kind: folder, path: pool}}]\n{section}\n")
        (problem,) = evenly.check(recipe, root=tmp_path / "w")["problems"]
        assert words in problem


def test_the_order_that_a_caption_says_is_a_score_of_its_pair_by_which_contradicted_ones_go(tmp_path, monkeypatch):
    labelled = [{"box": [0, 0, 32, 24], "label": "fox"}, {"box": [0, 24, 32, 48], "label": "owl"}]
    monkeypatch.setattr("tests.tasks.regions.test_find_regions.BOXES", labelled)
    said = ["a fox above an owl", "an owl above a fox", "a fox", "a fox on an owl", None, "an owl below a red fox"]
    rule = RegionRule(texts="{root}/things.txt", method="relations", boxes="boxes", learn=4)
    values = ValuesRule(values=[NamedBounds(name="order", column="region_score", min=0.5, missing="keep")])

    def judged(root, **options):
        run = opened(root, **options)
        listing = root / "pool" / "metadata.jsonl"
        lines = zip(listing.read_text().splitlines(), said, strict=True)
        listing.write_text("".join(json.dumps(json.loads(line) | {"caption": text}) + "\n" for line, text in lines))
        steps = [(step, step.read(RULES[step.name])) for step in (COLLECT, DOWNLOAD, CHECK_IMAGES)]
        return run, list(
            run_steps(run, [*steps, (FIND_REGIONS, rule), (ledger_step(CHECK_VALUES), values)], InProcess(run=run))
        )

    run, records = judged(tmp_path / "w")
    table, decisions = tables(run, records[3])
    phrases = sorted(zip(table["label"].to_pylist(), table["phrase"].to_pylist(), strict=True))
    assert phrases == [("fox", "a fox")] * 3 + [("fox", "a red fox")] + [("owl", "an owl")] * 4
    assert {*table["reason"].to_pylist()} == {""}
    of_pairs = {row["uid"]: row["region_score"] for row in decisions.to_pylist()}
    assert list(of_pairs.values()).count(None) == len(of_pairs) - 4
    goes = {row["uid"]: row["reason"] for row in run.ledger.decisions(records[4]).to_pylist()}
    assert goes == {uid: "low_order" if (score or 1) < 0.5 else "" for uid, score in of_pairs.items()}
    assert {*goes.values()} == {"low_order", ""}
    assert findings(run.workspace, publish(run, records)) == set()
    (path,) = run.workspace.features.rglob("regions.lance")
    stored = pa.concat_tables(each_fragment(path, MADE_AGAIN, version=newest_version(path)))
    for caption in filter(None, said):  # to be taken down while its picture stays
        (row,) = [row for row, name in enumerate(stored["id"].to_pylist()) if text_id(caption) in name]
        assert Traces(captions=frozenset([caption])).in_table(stored)[1][row]
    parted, others = judged(tmp_path / "parted", bits=3)
    assert all(map(pa.Table.equals, (table, decisions), tables(parted, others[3])))


def test_pictures_with_and_without_defects_teach_a_score_that_each_pair_has_and_values_filter(tmp_path):
    rule = {"method": "defects", "boxes": "boxes", "options": {"epochs": 1, "dimension": 2, "steps": 2}, "learn": 30}
    results = []
    for bits in (0, 3):
        run = opened(tmp_path / str(bits), pictures=40, bits=bits)
        listing = tmp_path / str(bits) / "pool" / "metadata.jsonl"
        lines = [json.loads(line) for line in listing.read_text().splitlines()]
        boxes = [[{"box": [0, 0, 32, 24], "label": "defect"}] if n % 2 else [] for n in range(len(lines))]
        written = (json.dumps(line | {"boxes": of_one}) for line, of_one in zip(lines, boxes, strict=True))
        listing.write_text("\n".join(written) + "\n")
        results.append(tables(run, found(run, **rule)[-1]))
    assert all(map(pa.Table.equals, *results))
    table, decisions = results[0]
    assert {*table["label"].to_pylist()} == {"defect"}
    scores = decisions["region_score"].combine_chunks()
    assert scores.null_count == 0
    limit = pc.quantile(scores, 0.5)[0].as_py()
    judged = judge_value(scores, NamedBounds(name="damaged", column="region_score", max=limit))
    assert judged.to_table(decisions["uid"])["reason"].to_pylist() == [
        "high_damaged" if score > limit else "" for score in scores.to_pylist()
    ]
