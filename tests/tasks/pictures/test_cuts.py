"""Steps that need pictures or their features give the same in any number of partitions, whatever the pool has."""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.pools.source import PoolSource
from evenly.storage.workspace import Workspace
from evenly.tasks import encoders
from evenly.tasks.encoders import encoder_identity, known_identity
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild import features as feature_steps
from evenly.tasks.rebuild.align import ALIGN
from evenly.tasks.rebuild.collect import COLLECT
from evenly.tasks.rebuild.decontaminate import DECONTAMINATE
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_PERCEPTUAL
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.rebuild.filters import CHECK_IMAGES, CHECK_TEXTS
from evenly.tasks.rebuild.image_based import IMAGE_BASED
from evenly.tasks.rebuild.safety import SAFETY
from evenly.tasks.run import Run, uses_model
from evenly.tasks.stage import run_steps
from tests.picture_pool import picture
from tests.tasks.whole_rebuild import BLUE, RULES, Row, open_run, publish, rows

pytestmark = pytest.mark.usefixtures("colour_words")
NEAR = picture(BLUE, pattern=32, size=(128, 96), kind="JPEG", quality=90)  # the pair `near`, merged into `cat2` or it
PICTURE_STEPS = {
    COLLECT: {},
    CHECK_TEXTS: {},
    DOWNLOAD: {},
    CHECK_IMAGES: {},
    DEDUPLICATE_PERCEPTUAL: {},
    EMBED_IMAGES: {},
    SAFETY: {"files": ["{root}/files.txt"]},
    DECONTAMINATE: {"semantic": 0.999, "perceptual": None},
    IMAGE_BASED: None,
    ALIGN: {},
}
TARGET = {"target": "{root}/val", "clusters": 3, "iterations": 5}


def rebuild(run, steps, bits, each=None):
    """What each step gave in 2**bits partitions."""
    cut = replace(run, bits=bits)
    chosen = [
        (step, step.read(TARGET if changes is None else RULES[step.name] | changes)) for step, changes in steps.items()
    ]
    records = run_steps(cut, chosen, each or InProcess(run=cut))
    return records, [(record.name, record.output_hash, record.counts, record.reasons) for record in records]


def pictures(folder) -> Run:
    folder.mkdir()
    run = open_run(folder / "w", [*rows(), Row("near2", "a blue cat nearly alike", NEAR)])
    (run.workspace.root / "files.txt").write_text(hashlib.sha256(NEAR).hexdigest() + "\n")
    return run


@pytest.mark.parametrize("bits", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_features_and_looks_judge_alike_in_any_number_of_partitions(tmp_path, bits):
    whole, cut = (rebuild(pictures(tmp_path / str(n)), PICTURE_STEPS, n) for n in (0, bits))
    assert cut[1] == whole[1]
    reasons = {reason.partition(":")[0] for record in whole[0] for reason in record.reasons}
    assert {"blocked_file", "contaminated_semantic", "off_target", "low_score"} <= reasons
    for record, other in zip(whole[0], cut[0], strict=True):
        assert {key: str(note) for key, note in record.notes.items()} == {
            key: str(note) for key, note in other.notes.items()
        }


def features_of(folder) -> Run:
    """A run over a pool of features, some of them twice and one unusable."""
    return run_of_features(folder, [f"a fox of number {row}" for row in range(40)])


def run_of_features(folder, captions) -> Run:
    folder.mkdir()
    vectors = np.random.default_rng(5).standard_normal((40, 3)).astype(np.float32)
    vectors[7], vectors[9] = vectors[6], 0
    for name, part in (("a", slice(0, 25)), ("b", slice(25, 40))):
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors[part].reshape(-1)), 3)
        pq.write_table(pa.table({"text": captions[part], "vector": column}), folder / f"{name}.parquet")
    source = PoolSource(kind="features", path=str(folder / "*.parquet"), caption="text", name="pool")
    return Run(workspace=Workspace.at(folder / "w"), seed=3, sources=(source,), progress=Progress(quiet=True))


def test_a_pool_of_features_gives_the_same_build_and_features_in_any_number_of_partitions(tmp_path):
    steps = {COLLECT: {}, DOWNLOAD: {}, EMBED_IMAGES: {}, ALIGN: {}}
    results = []
    for bits in (0, 3):
        run = features_of(tmp_path / str(bits))
        records, content = rebuild(run, steps, bits)
        cut = replace(run, bits=bits)
        manifest = publish(cut, records, engine=InProcess(run=cut))
        counts = feature_steps.extract_features(cut, manifest, InProcess(run=cut))
        ids = run.ledger.alive(records, ["image_id"])["image_id"].combine_chunks()
        stored = FeatureStore(run.workspace, encoder_identity(run), "images").read(ids)
        results.append((content, manifest["content_hash"], counts, *(values.tobytes() for values in stored)))
    assert results[0] == results[1]


def test_captions_of_which_none_falls_into_the_first_partition_are_scored(tmp_path):
    captions = [text for text in map("a fox of number {}".format, range(200)) if text_id(text) > "8"][:40]
    steps = {COLLECT: {}, DOWNLOAD: {}, EMBED_IMAGES: {}, ALIGN: {}}
    whole, cut = (rebuild(run_of_features(tmp_path / str(n), captions), steps, n)[1] for n in (0, 1))
    assert cut == whole


@dataclass(frozen=True, kw_only=True)
class GpusForSome(InProcess):
    """Runs functions as workers do: they know the encoder's identity, and only those that are marked can load it."""

    titles: set[str] = field(default_factory=set)

    def partitions(self, title, function):
        return self._work(title, function, lambda each: each.partitions(title, function))

    def items(self, title, function, items):
        yield from self._work(title, function, lambda each: list(each.items(title, function, items)))

    def _work(self, title, function, work):
        identity = known_identity(self.run)
        with pytest.MonkeyPatch.context() as patch:
            if uses_model(function):
                self.titles.add(title)
            else:
                patch.setattr(encoders, "_load", refuse)
            return work(InProcess(run=replace(self.run, encoder_identity=identity)))


def refuse(*_):
    raise AssertionError("it loads an encoder and is not marked")


@pytest.mark.parametrize("kind", ["pictures", "features"])
def test_what_loads_an_encoder_is_marked_and_nothing_else_is(tmp_path, kind):
    pool = pictures if kind == "pictures" else features_of
    steps = PICTURE_STEPS if kind == "pictures" else {COLLECT: {}, DOWNLOAD: {}, EMBED_IMAGES: {}, ALIGN: {}}
    run = replace(pool(tmp_path / "pool"), bits=2)
    each = GpusForSome(run=run)
    records, _ = rebuild(run, steps, 2, each)
    assert each.titles == {"embed_images", "encoding captions", "align"}
    each.titles.clear()
    counts = feature_steps.extract_features(run, publish(run, records, engine=each), each)
    assert counts["texts"]
    assert each.titles == {"extracting features", "encoding captions"}


def test_what_was_downloaded_and_encoded_in_one_partition_is_taken_over_by_several(tmp_path):
    run = pictures(tmp_path / "w")
    steps = {step: PICTURE_STEPS[step] for step in list(PICTURE_STEPS)[:6]}
    rebuild(run, steps, 0)
    before = {path: path.stat().st_mtime_ns for path in run.workspace.root.rglob("*.tar")}
    versions = list((run.workspace.features).rglob("*.manifest"))
    rebuild(run, steps, 2)
    assert {path: path.stat().st_mtime_ns for path in run.workspace.root.rglob("*.tar")} == before
    assert list((run.workspace.features).rglob("*.manifest")) == versions
    assert not list(run.workspace.exchange.iterdir())
