"""Methods give columns on which bounds act, the same in any number of partitions."""

from dataclasses import fields

import numpy as np
import pytest
from safetensors.numpy import save_file

from evenly.curation.encoder_name import EncoderName
from evenly.curation.errors import RuleError
from evenly.curation.values.aesthetic import Aesthetic
from evenly.curation.values.density import Density
from evenly.curation.values.judgement import VALUES
from evenly.curation.values.methods import VALUE_METHODS, Methods, MethodsRule
from evenly.curation.values.negclip_loss import NegCLIPLoss, negclip_values
from evenly.curation.values.normsim import NormSim
from evenly.curation.values.normsim_d import NormSimD
from evenly.curation.values.rule import Value, ValuesRule
from evenly.curation.values.soft_cap import SoftCap
from evenly.features import to_unit_rows
from evenly.tasks.engine import InProcess
from evenly.tasks.rebuild.collect import COLLECT, CollectRule
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.rebuild.filters import CHECK_IMAGES
from evenly.tasks.rebuild.values.score_features import MEASURES, SCORE_FEATURES
from evenly.tasks.stage import run_steps
from evenly.tasks.step import check_ready, ledger_step
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import BLUE, GREEN, RED, RULES, ColourWords, Row, open_run

pytestmark = pytest.mark.usefixtures("colour_words")
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}
POOL = [
    Row(f"{colour}{n}", f"a {colour} thing" + " more" * (n % 3), picture(rgb, pattern=n))
    for colour, rgb in COLOURS.items()
    for n in range(4)
]


def measured(root, values, *, bits=0):
    """The run, and the records of what collects, encodes, measures and keeps."""
    run = open_run(root, POOL)
    object.__setattr__(run, "bits", bits)
    return run, measured_in(run, values)


def measured_in(run, values):
    """The records of a run that collects, encodes, measures and keeps."""
    steps = [
        (COLLECT, CollectRule(limit=None)),
        *((step, step.read(RULES[step.name])) for step in (DOWNLOAD, CHECK_IMAGES, EMBED_IMAGES)),
        (SCORE_FEATURES, MethodsRule.of(values)),
        (ledger_step(VALUES["pairs"]), ValuesRule.at("pairs", values)),
    ]
    check_ready(run, steps)
    return list(run_steps(run, steps, InProcess(run=run)))


def columns(run, record, names):
    table = run.ledger.decisions(record).sort_by("uid")
    return {name: table[name].to_pylist() for name in ("uid", *names)}


def values_of(root):
    (root / "green").mkdir(parents=True)
    (root / "green" / "a.png").write_bytes(picture(GREEN, pattern=99))
    target = str(root / "green")
    weight = np.array([[1.0, 2.0, 3.0]], np.float32)
    save_file({"weight": weight, "bias": np.array([0.5], np.float32)}, root / "head.safetensors")
    return {
        "nearness": Value(negclip_loss=NegCLIPLoss(temperature=0.05), keep_top=0.9),
        "in_batches": Value(negclip_loss=NegCLIPLoss(batch=4, rounds=2, temperature=0.05), min=-9.0),
        "like_green": Value(normsim=NormSim(target=target), keep_top=0.3),
        "pruned": Value(normsim_d=NormSimD(rounds=4), keep_top=0.9),
        "dense": Value(density=Density(clusters=3, neighbours=1), keep_top=0.9),
        "beauty": Value(aesthetic=Aesthetic(head=str(root / "head.safetensors")), min=-9.0),
        "repeats": Value(soft_cap=SoftCap(of={"nearness": 10.0, "beauty": 0.1}), min=0.0),
        "nearest": Value(normsim=NormSim(target=target, norm="inf"), min=0.0),
    }


def test_each_method_is_measured_and_another_number_of_partitions_gives_the_same(tmp_path):
    assert MEASURES.keys() == VALUE_METHODS.keys() == {field.name for field in fields(Methods)}
    values = values_of(tmp_path)
    tables = []
    names = [*values, "repeats_weight"]
    for bits in (0, 3):
        run, (*_, record, kept) = measured(tmp_path / str(bits), values, bits=bits)
        tables.append((columns(run, record, names), columns(run, kept, ["reason"])))
    assert tables[0] == tables[1]
    of_pairs, _ = tables[0]
    assert kept.reasons["below_top_like_green"] == 12 - 4
    assert len(set(of_pairs["nearness"])) > 6
    assert np.std(of_pairs["in_batches"]) > 0
    assert sum(of_pairs["repeats"]) == len(POOL)
    assert sum(of_pairs["repeats_weight"]) == pytest.approx(1)
    assert sorted(of_pairs["pruned"]) == pytest.approx(np.arange(12) / 12, abs=1e-6)
    dense = np.array(of_pairs["dense"])
    assert [(dense >= 1 - share).sum() for share in (0.5, 1.0)] == pytest.approx([6, 12], abs=2)


def test_sampling_by_a_column_that_is_not_there_is_refused(tmp_path):
    values = {"repeats": Value(soft_cap=SoftCap(of={"nearnes": 1.0}), min=1.0)}
    with pytest.raises(RuleError, match=r"of` must be a column of the pool or of a step before; got 'nearnes'"):
        measured(tmp_path / "w", values)


def test_a_contrast_is_that_of_the_features_of_the_pairs_in_any_order(tmp_path):
    values = {"nearness": Value(negclip_loss=NegCLIPLoss(temperature=0.05), keep_top=0.9)}
    run, (*before, record, _) = measured(tmp_path / "w", values)
    pairs = run.ledger.alive(before, ["caption", "file_name"])
    contents = {f"{row.name}.png": row.content for row in POOL}
    encoder = ColourWords()
    images = encoder.encode_images([contents[name] for name in pairs["file_name"].to_pylist()])
    texts = encoder.encode_texts(pairs["caption"].to_pylist())
    expected = negclip_values(to_unit_rows(images)[0], to_unit_rows(texts)[0], 0.05)
    assert np.allclose(columns(run, record, values)["nearness"], expected, atol=1e-6)


def test_a_value_called_as_a_column_is_refused(tmp_path):
    with pytest.raises(RuleError, match=r"`values.caption` must be called as no column of the pairs is"):
        measured(tmp_path / "w", {"caption": Value(negclip_loss=NegCLIPLoss(), keep_top=0.9)})


class Swapped(ColourWords):
    """Another encoder of colours, of four numbers."""

    identity = "swapped colours"
    dimension = 4

    def encode_images(self, images, *, progress=None):
        return self._swapped(super().encode_images(images, progress=progress))

    def encode_texts(self, texts):
        return self._swapped(super().encode_texts(texts))

    def _swapped(self, rows):
        return np.column_stack([rows[:, ::-1], rows.sum(axis=1)])


@pytest.mark.parametrize("bits", [0, 1])
def test_a_value_has_an_encoder_of_its_own_whose_features_are_stored_once(tmp_path, monkeypatch, bits):
    loaded = {"embedded": ColourWords(), "embedded2": Swapped()}
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda choice, _cache: loaded[choice.model])
    other = EncoderName(model="embedded2")
    save_file({"weight": np.ones((1, 4), np.float32), "bias": np.zeros(1, np.float32)}, tmp_path / "four.safetensors")
    values = values_of(tmp_path) | {
        "nearness_there": Value(negclip_loss=NegCLIPLoss(temperature=0.05), min=-9.0, model=other),
        "like_green_there": Value(normsim=NormSim(target=str(tmp_path / "green")), min=0.0, model=other),
        "pruned_there": Value(normsim_d=NormSimD(rounds=4), min=0.0, model=other),
        "dense_there": Value(density=Density(clusters=3, neighbours=1), min=0.0, model=other),
        "beauty_there": Value(aesthetic=Aesthetic(head=str(tmp_path / "four.safetensors")), min=-9.0, model=other),
    }
    run, (*_, record, _) = measured(tmp_path / "w", values, bits=bits)
    of_pairs = columns(run, record, values)
    assert of_pairs["nearness_there"] != of_pairs["nearness"]
    assert of_pairs["like_green_there"] != of_pairs["like_green"]
    unit = to_unit_rows(Swapped().encode_images([row.content for row in POOL]))[0].astype(float)
    assert sorted(of_pairs["beauty_there"]) == pytest.approx(sorted(unit.sum(axis=1)), abs=1e-3)
    assert record.model == ColourWords.identity
    assert record.inputs["model of nearness_there"] == Swapped.identity
    monkeypatch.setattr(Swapped, "encode_images", None)
    monkeypatch.setattr(Swapped, "encode_texts", None)
    del values["dense"]
    *_, again, _ = measured_in(run, values)
    assert again.key != record.key
    assert columns(run, again, ["pruned_there"]) == columns(run, record, ["pruned_there"])
