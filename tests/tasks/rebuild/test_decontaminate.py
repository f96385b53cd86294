"""Pools with copies of evaluation pictures: re-encoded, by features alone, and none at all."""

import hashlib

import numpy as np
import pytest

from evenly.storage.errors import InputError
from evenly.tasks.rebuild.decontaminate import DECONTAMINATE
from evenly.tasks.run import Run
from evenly.tasks.step import check_ready
from tests.picture_pool import ColourEncoder, commit, picture, pool_record

LIMITS = {"perceptual": 8, "semantic": None, "colour": 22.0}
GREEN, BLUE = (150, 240, 160), (150, 160, 240)


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    for module in ("encoders", "reference_sets"):
        monkeypatch.setattr(f"evenly.tasks.{module}.open_encoder", lambda _run: ColourEncoder())
    return Run(workspace=workspace, seed=3)


@pytest.fixture
def record(run):
    found = {
        "a": picture(GREEN, kind="JPEG", quality=70, size=(120, 90)),
        "b": picture(BLUE),
        "c": picture(GREEN, pattern=1),
    }
    return pool_record(run, found)


@pytest.fixture
def held_out(tmp_path):
    folder = tmp_path / "val"
    folder.mkdir()
    (folder / "seen.png").write_bytes(picture(GREEN))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def verdicts(run, step):
    return run.ledger.decisions(step, ["uid", "verdict", "reason", "value"]).to_pylist()


def test_a_copy_of_an_evaluation_picture_goes_and_the_set_the_file_and_the_distance_are_named(run, record, held_out):
    step = commit(run, DECONTAMINATE, [record], LIMITS | {"sets": {"val": str(held_out)}})
    assert step.reasons == {"contaminated_perceptual": 1}
    gone = verdicts(run, step)[0]
    assert (gone["uid"], gone["verdict"]) == ("a", "dropped")
    assert run.ledger.table(step, "contamination").to_pylist() == [
        {
            "uid": "a",
            "evaluation": "val",
            "kind": "perceptual",
            "name": "seen.png",
            "image_id": hashlib.sha256(picture(GREEN)).hexdigest(),
            "distance": gone["value"],
        }
    ]
    assert step.notes == {"evaluation_sets": {"val": {"pictures": 1, "unreadable": 1}}}


def test_features_alone_find_what_looks_do_not(run, record, held_out):
    rule = {"sets": {"val": str(held_out)}, "perceptual": None, "semantic": 0.9999, "colour": None}
    step = commit(run, DECONTAMINATE, [record], rule)
    assert step.reasons == {"contaminated_semantic": 2}
    assert run.ledger.table(step, "contamination")["distance"].to_pylist() == [
        row["value"] for row in verdicts(run, step) if row["reason"]
    ]


def test_a_file_of_features_is_an_evaluation_set(run, record, tmp_path):
    np.savez(tmp_path / "val.npz", features=ColourEncoder().encode_images([picture(BLUE)]))
    rule = {"sets": {"val": str(tmp_path / "val.npz")}, "perceptual": 8, "semantic": 0.9999, "colour": 22.0}
    step = commit(run, DECONTAMINATE, [record], rule)
    assert [row["reason"] for row in verdicts(run, step)] == ["", "contaminated_semantic", ""]
    assert run.ledger.table(step, "contamination")["name"].to_pylist() == ["row 0"]


def test_features_of_another_encoder_are_refused(run, record, tmp_path):
    np.savez(tmp_path / "val.npz", features=np.eye(4))
    rule = LIMITS | {"semantic": 0.9, "sets": {"val": str(tmp_path / "val.npz")}}
    with pytest.raises(InputError, match="must have 3 columns"):
        commit(run, DECONTAMINATE, [record], rule)


def test_features_are_refused_where_only_looks_are_compared(run, record, tmp_path):
    np.savez(tmp_path / "val.npz", features=np.eye(3))
    with pytest.raises(InputError, match="compares none by"):
        commit(run, DECONTAMINATE, [record], LIMITS | {"sets": {"val": str(tmp_path / "val.npz")}})


def test_a_set_without_a_picture_is_refused(run, record, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match="got none of 1"):
        commit(run, DECONTAMINATE, [record], LIMITS | {"sets": {"val": str(tmp_path)}})


def test_a_set_that_is_not_there_is_told_before_the_first_step(run, tmp_path):
    (tmp_path / "a.png").write_bytes(picture(GREEN))
    with pytest.raises(InputError, match="got `/nowhere`"):
        check_ready(
            run, [(DECONTAMINATE, DECONTAMINATE.read(LIMITS | {"sets": {"val": str(tmp_path), "b": "/nowhere"}}))]
        )


def test_the_key_follows_the_content_of_the_sets(run, record, held_out):
    rule = LIMITS | {"sets": {"val": str(held_out)}}
    before = DECONTAMINATE.spec(run, [record], DECONTAMINATE.read(rule)).key
    assert DECONTAMINATE.spec(run, [record], DECONTAMINATE.read(rule)).key == before
    (held_out / "new.png").write_bytes(picture(BLUE))
    assert DECONTAMINATE.spec(run, [record], DECONTAMINATE.read(rule)).key != before
