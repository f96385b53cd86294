"""Twins in a build: one part for all of them, none of them in a pool of what is judged, and nothing else moves."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from evenly.adapters.twins import MOST_GROUPS, Twins
from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import BuildSamples, Samples
from evenly.tasks.adapters.fit import EVALUATE_ADAPTERS
from evenly.tasks.labelled_rows import all_groups, groups_among, labelled_rows
from evenly.tasks.run import Run
from evenly.tasks.splits import build_twins
from tests.labelled_build import Picture, WordEncoder, publish

RULE = {"build": "some-1", "list": "things", "classes": ["cat", "dog"], "texts": {}, "describe": None, "adapters": []}
PARTS = ("train", "val", "test")


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    return Run(workspace=workspace, seed=7)


def picture(label, number, part="", jitter=0.0):
    shown = label or "cat"
    return Picture(label, {shown: 1.0, f"{shown} {number}": 0.8 + jitter}, part)


SPLIT = [picture(name, f"{part} {n}", part) for name in ("cat", "dog") for part in PARTS for n in range(4)]
TWINS = [
    *(picture("cat", f"test {n}", "train", jitter=1e-3) for n in range(3)),
    *(picture("", f"val {n}", jitter=1e-3) for n in range(2)),  # of no label: would be in the pool
    picture("dog", "strange", "train"),
    picture("tree", "far"),
    Picture("tree", {"dog": 1.0, "dog strange": 0.801}, ""),  # an unseen picture that is a train picture's twin
    picture("", "free"),
]


def rows_of(run, pictures, *, split):
    path = publish(run.workspace, pictures)
    rule = EVALUATE_ADAPTERS.read(RULE | {"unseen": {"near": ["tree"]}} | ({"split": path} if split else {}))
    return labelled_rows(run, Builds(run.workspace).read("some-1"), rule, adapters=["gda_em"])


def test_twins_of_judged_pictures_are_left_out_of_a_given_split_and_of_the_pool(run):
    rows = rows_of(run, [*SPLIT, *TWINS], split=True)
    assert [int((rows.split == part).sum()) for part in PARTS] == [8, 8, 8]
    assert len(rows.unlabelled) == 1
    assert rows.notes == (
        "5 pictures have twins (cosine over 0.9999): in one part with them",
        "3 rows have a twin in a part that is judged later: left out",
        "1 train and val pictures have a twin in an unseen set: left out",
        "2 pictures without a label belong to judged ones: in no pool",
    )


def test_twins_are_in_one_part_of_a_split_that_is_made(run):
    pictures = [picture(name, str(n % 40), jitter=n / 1e5) for name in ("cat", "dog") for n in range(120)]
    rows = rows_of(run, pictures, split=False)
    assert len(rows.labels) == 240
    assert {*rows.split} == {*PARTS}
    wide = rows.features.image.astype(np.float64)
    cosines = wide @ wide.T
    assert (cosines[rows.split[:, None] != rows.split] <= 0.9999).all()
    assert rows.notes == ("240 pictures have twins (cosine over 0.9999): in one part with them",)


def test_steps_of_a_build_without_twins_keep_their_keys_and_others_do_not(run):
    inputs = partial(EVALUATE_ADAPTERS.inputs, run, ())
    publish(run.workspace, SPLIT)
    assert inputs(EVALUATE_ADAPTERS.read(RULE)).keys() == {"build"}
    publish(run.workspace, [*SPLIT, *TWINS], build="some-2")
    assert inputs(EVALUATE_ADAPTERS.read(RULE | {"build": "some-2"})).keys() == {"build", "twins"}


def test_pairs_of_one_picture_are_twins_and_a_build_of_captions_has_none(run):
    publish(run.workspace, SPLIT)
    manifest = Builds(run.workspace).read("some-1")
    assert build_twins(run.workspace, manifest) == Twins(clusters=())
    assert build_twins(run.workspace, manifest | {"encoder": None}) == Twins(clusters=())


@pytest.mark.parametrize(("groups", "is_joined"), [(MOST_GROUPS, True), (MOST_GROUPS + 1, False)])
def test_a_placeholder_in_many_groups_does_not_join_them(groups, is_joined):
    uids = [f"{number:02}" for number in range(2 * groups)]
    names = np.array([f"photographer {number // 2}" for number in range(2 * groups)])
    joined = Twins(clusters=(tuple(uids[::2]),)).joined(uids, names)
    assert len(set(joined[::2])) == 1
    assert (len(set(joined.tolist())) == 1) == is_joined
    if not is_joined:
        assert joined[1::2].tolist() == names[1::2].tolist()


@pytest.mark.parametrize("pictures", [SPLIT, [*SPLIT, *TWINS]])
def test_groups_among_some_pairs_are_those_of_the_whole_build_where_all_are_asked_for(run, pictures):
    publish(run.workspace, pictures)
    manifest = Builds(run.workspace).read("some-1")
    _, groups = all_groups(run, manifest)
    pairs = BuildSamples(run.workspace, manifest).read(["uid", "image_id", "group"])
    images = FeatureStore(run.workspace, WordEncoder.identity, "images").read(pairs["image_id"].to_pylist())[0]
    assert groups_among(run, manifest, pairs, images).tolist() == groups.tolist()


def test_groups_among_some_pairs_know_what_was_merged_into_them_by_any_step(workspace):
    """d goes into b and b into a: so a is with c, of b's group, and with e, of d's."""
    uids, groups = ["a", "b", "c", "d", "e", "f"], ["", "of b", "of b", "of d", "of d", "of f"]
    into = {"exact_into": [None, None, None, "b", None, None], "near_into": [None, "a", None, None, None, None]}
    table = pa.table({"uid": uids, "group": groups, **{name: pa.array(to, pa.string()) for name, to in into.items()}})
    steps = [{"name": name, "counts": {"merged": 1}} for name in ("exact", "near")]
    version = Samples(workspace, "x").write(table)
    manifest = {"recipe_name": "x", "samples": {"version": version, "last": "near"}, "steps": steps}
    pairs = table.filter(pa.array([uid not in "bd" for uid in uids]))
    among = groups_among(Run(workspace=workspace, seed=7), manifest, pairs, np.eye(4, dtype=np.float16))
    assert len({*among[:3]}) == 1
    assert among[3] == "of f"
