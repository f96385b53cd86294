"""Wrong captions of test pairs: by rule and by the truth beside the pictures, and what a picture is nearer to."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.features.refining.heads import Heads
from evenly.features.refining.pairs import PairRows
from evenly.storage.pools.source import PoolSource
from evenly.tasks.progress import Progress
from evenly.tasks.refining.measures import RIGHT_FIRST, judged
from evenly.tasks.refining.needs import LONG_WORDS, caption_probes, truth_inputs
from evenly.tasks.refining.pairs import RefiningParts
from evenly.tasks.run import Run
from tests.labelled_build import DIMENSION, WordEncoder

CAPTIONS = ("a red dog and a blue cat", "a dog", "a " + "cat " * LONG_WORDS, "boilerplate")
FROZEN = Heads.start(DIMENSION, 2, seed=0)


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


@pytest.fixture
def pairs():
    """Pictures that show what the captions say."""
    rows = WordEncoder().encode_texts(CAPTIONS)
    names = np.array([f"{number}" for number in range(len(CAPTIONS))])
    return PairRows(image=rows, text=rows, uids=names, captions=np.array(CAPTIONS), groups=names, labels=names)


def kept_of(pairs):
    digests = [f"sha256:{uid}" for uid in pairs.uids.tolist()]
    return pa.table({"uid": pairs.uids.tolist(), "url": [*digests[:-1], None]})


def run_in(workspace, **changed):
    return Run(workspace=workspace, seed=7, progress=Progress(quiet=True), **changed)


def test_captions_are_made_wrong_by_rule_and_long_ones_are_their_own(workspace, pairs):
    probes = caption_probes(run_in(workspace), pairs, kept_of(pairs))
    assert set(probes.wrong) == {"two colours swapped", "two nouns swapped"}
    assert {len(one.groups) for one in probes.wrong.values()} == {1}
    assert probes.long is None  # one alone finds itself


def test_the_truth_beside_the_pictures_is_asked_and_its_hash_is_an_input(workspace, pairs, tmp_path):
    wrong = [
        [{"kind": "object", "caption": "a ship and a blue cat"}],
        [{"kind": "object", "caption": "a ship"}],
        [],
        [],
    ]
    table = {"sha256": ["0", "1", "2", "3"], "short_caption": ["a red dog and a blue cat", "a dog", "a cat", "a cow"]}
    pq.write_table(
        pa.table({**table, "long_caption": ["a dog", "a cat", None, "no url"], "wrong_captions": wrong}),
        tmp_path / "truth.parquet",
    )
    run = run_in(workspace, sources=(PoolSource(kind="folder", path=str(tmp_path)),))
    probes = caption_probes(run, pairs, kept_of(pairs))
    assert probes.long.captions.tolist() == ["a dog", "a cat", CAPTIONS[2]]
    assert probes.wrong["object"].groups.tolist() == ["0", "1"]
    correct = judged(RefiningParts(pairs={"test": pairs}, probes=probes), FROZEN)
    assert correct[RIGHT_FIRST, "object"].values.tolist() == [1, 1]
    assert correct[RIGHT_FIRST, "two nouns swapped"].values.tolist() == [0]  # words alone: both texts are one
    assert correct["text to picture mAP", "all pairs"].mean == 1
    assert correct["long text to picture R@1", "all pairs"].values.tolist() == [0, 1, 0]  # in the order of the texts
    before = truth_inputs(run)
    assert len(before) == 1
    pq.write_table(pa.table(table), tmp_path / "truth.parquet")
    assert truth_inputs(run) != before
    assert truth_inputs(run_in(workspace)) == {}
