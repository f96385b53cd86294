"""Views of train pictures are encoded once, by themselves, and no picture that adapters are judged on has any."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evenly.adapters import ADAPTERS
from evenly.adapters.class_texts import ClassTexts
from evenly.features.pictures.views import View, ViewRule
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import Samples
from evenly.storage.tables.lance_rows import MADE_AGAIN, read_rows
from evenly.tasks import encoders
from evenly.tasks.adapters.fit import EVALUATE_ADAPTERS
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.labelled_rows import labelled_rows
from evenly.tasks.pictures import views as module
from evenly.tasks.pictures.views import KIND, view_rows
from tests.tasks.whole_rebuild import ColourWords

RULE = ViewRule(crops=3, flip=True)
TEXTS = ClassTexts(classes=("fox", "owl", "cat"), split="")


class Counting(ColourWords):
    """Counts the pictures that it is asked for, and dies after some."""

    asked = 0
    most = 10**9

    def encode_images(self, images, *, progress=None):
        if self.asked + len(images) > self.most:
            raise KeyboardInterrupt
        self.asked += len(images)
        return super().encode_images(images, progress=progress)


@pytest.fixture
def encoder(monkeypatch):
    encoder = Counting()
    monkeypatch.setattr(encoders, "_load", lambda _choice, _cache: encoder)
    return encoder


@pytest.fixture
def build(copied, encoder):  # noqa: ARG001 - patches
    """A build of a workspace of its own, and the ids of its pictures."""
    rebuilt = copied()
    kept = module_pairs(rebuilt)
    return rebuilt, kept


def module_pairs(rebuilt):
    from evenly.tasks.labelled_rows import kept_pairs

    return kept_pairs(rebuilt.run, rebuilt.manifest)["image_id"].to_pylist()


def rows_of(rebuilt, ids, rule):
    """The rows of the views of a rule, which has no boxes."""
    own = np.tile(np.float32([[1, 0, 0]]), (len(ids), 1))
    return view_rows(rebuilt.run, own, ids, [rule.views] * len(ids)).rows


def test_boxes_have_rows_and_pictures_with_fewer_views_have_them_again(build, encoder):
    rebuilt, ids = build
    ids = list(dict.fromkeys(ids))[:3]
    own = np.eye(3, dtype=np.float32)
    on, beside = View(box=(0.0, 0.0, 20.0, 20.0)), View(box=(900.0, 0.0, 901.0, 1.0))
    for _ in range(2):
        found = view_rows(rebuilt.run, own, ids, [[on, View(flip=True), beside], [beside], [View(flip=True)]])
        assert (found.rows.shape, found.left_out, encoder.asked) == ((2, 3, 3), 2, 3)
    assert np.array_equal(found.rows[:, 1], own[[1, 1]])
    assert np.array_equal(found.rows[0, 2], found.rows[1, 2])
    assert not np.array_equal(found.rows[0, 0], found.rows[1, 0])
    nothing = view_rows(rebuilt.run, own, ids, [[]] * 3)
    assert np.array_equal(nothing.rows, own[None])


def test_views_are_encoded_once_and_more_of_them_are_added(build, encoder):
    rebuilt, ids = build
    first = rows_of(rebuilt, ids, RULE)
    distinct = len(set(ids))
    assert first.shape == (3, len(ids), 3)
    np.testing.assert_allclose(np.linalg.norm(first, axis=2), 1, atol=1e-6)
    assert encoder.asked == 3 * distinct
    assert np.array_equal(rows_of(rebuilt, ids, RULE), first)
    assert encoder.asked == 3 * distinct
    more = rows_of(rebuilt, ids, replace(RULE, crops=5))
    assert np.array_equal(more[:3], first)
    assert encoder.asked == 5 * distinct
    rows_of(rebuilt, ids, replace(RULE, flip=False))  # other views, though their mean colours are the same
    assert encoder.asked == 8 * distinct


def test_batches_of_any_size_and_a_run_that_died_give_the_same_rows(build, encoder, monkeypatch):
    rebuilt, ids = build
    monkeypatch.setattr(module, "_MOST_FILES", 4)
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    encoder.most = 9
    with pytest.raises(KeyboardInterrupt):
        rows_of(rebuilt, ids, RULE)
    assert encoder.asked == 8
    encoder.most = 10**9
    resumed = rows_of(rebuilt, ids, RULE)
    assert encoder.asked == 3 * len(set(ids))
    other = replace(rebuilt.run, processes=1)
    monkeypatch.setattr(module, "_MOST_FILES", 10**6)
    encoder.identity = "another"
    assert np.array_equal(rows_of(replace(rebuilt, run=other), ids, RULE), resumed)


def test_pictures_that_adapters_are_judged_on_have_no_views(build, monkeypatch):
    rebuilt, _ = build
    parts = np.array(["train", "val", "test"] * 9)
    monkeypatch.setattr(
        "evenly.tasks.labelled_rows.split_by_group",
        lambda groups, _labels, *, seed: parts[: len(groups)],  # noqa: ARG005
    )
    run = replace(rebuilt.run, views=RULE)
    rows = labelled_rows(run, rebuilt.manifest, TEXTS, adapters=["tip_f"])
    ids = np.array(rows.pairs["image_id"].to_pylist())
    is_train = rows.split == "train"
    assert 0 < is_train.sum() < len(ids)
    path = FeatureStore(run.workspace, encoder_identity(run), KIND).path
    stored = {name.partition(":")[0] for name in read_rows(path, MADE_AGAIN)["id"].to_pylist()}
    assert stored == set(ids[is_train])
    assert rows.features.views.shape == (3, *rows.features.image.shape)
    own = np.broadcast_to(rows.features.image, rows.features.views.shape)
    assert np.array_equal(rows.features.views[:, ~is_train], own[:, ~is_train])
    assert not np.array_equal(rows.features.views[:, is_train], own[:, is_train])
    adapter = ADAPTERS["tip_f"](epochs=2)
    train = rows.features.with_prototypes(rows.prototypes["names"]).rows(np.flatnonzero(is_train))
    with_views = adapter.fit(train, rows.labels[is_train]).keys_.copy()
    without = ADAPTERS["tip_f"](epochs=2).fit(replace(train, views=None), rows.labels[is_train]).keys_
    assert not np.allclose(with_views, without)


def test_boxes_are_read_from_a_column_of_the_build_and_wrong_ones_counted(build, monkeypatch):
    rebuilt, _ = build
    read = Samples.read

    def with_boxes(samples, version, columns=None, where=None):
        """The sample table as if its pool had a column of boxes: of each pair a good one, one beside it and none."""
        table = read(samples, version, None if columns == ["uid", "objects"] else columns, where)
        values = [[[0.0, 0.0, 9.0, 9.0], [900.0, 0.0, 901.0, 1.0], [1.0, 2.0]]] * table.num_rows
        return table.append_column("objects", pa.array(values, pa.list_(pa.list_(pa.float64()))))

    run = replace(rebuilt.run, views=ViewRule(boxes="objects"))
    with pytest.raises(
        InputError, match=r"`features\.views\.boxes` must be a column of the pool, or regions.*; got `objects`"
    ):
        labelled_rows(run, rebuilt.manifest, TEXTS, adapters=["tip"])
    monkeypatch.setattr(Samples, "read", with_boxes)
    rows = labelled_rows(run, rebuilt.manifest, TEXTS, adapters=["tip"])
    train = int((rows.split == "train").sum())
    distinct = len({*np.array(rows.pairs["image_id"].to_pylist())[rows.split == "train"]})
    assert len(rows.features.views) == 1
    assert rows.notes[-1] == (
        f"views of each of {train} train pictures: boxes of `objects`; {train + distinct} boxes left out: none, beside "
        "their picture, or beyond 64"
    )


def test_views_are_part_of_an_evaluation_and_made_for_adapters_alone(build):
    rebuilt, _ = build
    rule = EVALUATE_ADAPTERS.read(
        {
            "build": rebuilt.manifest["build"],
            "list": "things",
            "classes": ["fox", "owl"],
            "texts": {},
            "adapters": ["gda"],
        }
    )
    keys = {EVALUATE_ADAPTERS.spec(run, (), rule).key for run in (rebuilt.run, replace(rebuilt.run, views=RULE))}
    assert len(keys) == 2
    rows = labelled_rows(replace(rebuilt.run, views=RULE), rebuilt.manifest, TEXTS, adapters=[])
    assert rows.features.views is None
    assert pc.all(pc.is_valid(rows.pairs["image_id"])).as_py()
