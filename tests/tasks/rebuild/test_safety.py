"""Lists and a detector over pairs on the real ledger; merged pairs count for the one that stands for them."""

import hashlib

import numpy as np
import pyarrow.compute as pc
import pytest

from evenly.curation.duplicates.fingerprints import measure_fingerprints
from evenly.features.errors import WeightsUnavailableError
from evenly.features.safety_detector import SafetyDetector
from evenly.storage.errors import InputError
from evenly.tasks.rebuild.deduplicate import DEDUPLICATE_PERCEPTUAL
from evenly.tasks.rebuild.safety import BLOCK_DOMAINS, SAFETY
from evenly.tasks.run import Run
from evenly.tasks.step import check_ready
from tests.picture_pool import commit, picture, pool_record

GREEN, BLUE = (150, 240, 160), (150, 160, 240)
PICTURES = {
    "a": picture(GREEN, size=(128, 96)),
    "b": picture(GREEN),
    "c": picture(BLUE, pattern=1),
    "d": picture(BLUE, pattern=2),
}
URLS = {uid: f"http://x.test/{uid}" for uid in "abcd"} | {"b": "features:" + "0" * 64}
NOTHING = {"detector": None, "files": [], "looks": [], "domains": [], "max_distance": 4}


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=3)


@pytest.fixture
def records(run):
    urls = [
        f"http://{host}/{uid}" for uid, host in zip("abcd", ("x.test", "y.test", "sub.Bad.test", "z.test"), strict=True)
    ]
    final = [*urls[:3], "http://bad.test/moved"]
    given = pool_record(
        run, PICTURES, step="check_images", url=urls, final_url=final, caption=list("abcd"),
        width=[128, 64, 64, 64], height=[96, 48, 48, 48],
    )  # fmt: skip
    return [given]


def listed(tmp_path, name, *entries):
    path = tmp_path / name
    path.write_text("\n".join(entries) + "\n")
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def reasons(run, step):
    return {row["uid"]: row["reason"] for row in run.ledger.decisions(step, ["uid", "reason"]).to_pylist()}


def test_a_url_on_a_blocked_domain_goes_before_it_is_asked_for(run, records, tmp_path):
    path, short = listed(tmp_path, "domains", "bad.test")
    step = commit(run, BLOCK_DOMAINS, records, {"domains": [path]})
    assert reasons(run, step) == {"a": "", "b": "", "c": f"blocked_domain:{short}", "d": ""}


def test_a_url_that_led_to_a_blocked_domain_goes_afterwards(run, records, tmp_path):
    path, short = listed(tmp_path, "domains", "bad.test")
    step = commit(run, SAFETY, records, NOTHING | {"domains": [path]})
    assert reasons(run, step)["d"] == f"blocked_domain:{short}"


def test_a_pair_goes_for_the_file_of_one_that_was_merged_into_it(run, records, tmp_path):
    merged = commit(run, DEDUPLICATE_PERCEPTUAL, records, {"max_distance": 8, "max_colour": 22.0})
    assert merged.counts["merged"] == 1
    path, short = listed(tmp_path, "files", hashlib.sha256(PICTURES["b"]).hexdigest())
    step = commit(run, SAFETY, [*records, merged], NOTHING | {"files": [path]})
    assert reasons(run, step) == {"a": f"blocked_file:{short}", "c": "", "d": ""}


def test_looks_within_the_distance_go_and_the_first_list_decides(run, records, tmp_path):
    look = measure_fingerprints([PICTURES["c"]])["phash"][0].as_py()
    near, short = listed(tmp_path, "near", f"{look ^ 0b101:016x}")
    far, _ = listed(tmp_path, "far", f"{look ^ 0b11111:016x}")
    step = commit(run, SAFETY, records, NOTHING | {"looks": [far, near]})
    assert step.reasons == {f"blocked_look:{short}": 1}
    assert run.ledger.decisions(step, ["value"], pc.field("uid") == "c")["value"].to_pylist() == [2.0]


@pytest.fixture
def asked(monkeypatch):
    """Pictures that the detector, which holds blue for unsafe, was asked about; of `b` there are only features."""
    asked = []

    class Detector:
        identity = "blue is unsafe"
        device_name = "a machine"
        classes = ("FACE", "BLUE")

        def scores(self, images, *, progress):  # noqa: ARG002 - the shape of a detector
            images = list(images)
            asked.extend(images)
            return np.array(
                [[0.9, 0.7 if one in (PICTURES["c"], PICTURES["d"]) else 0.1] for one in images], np.float32
            )

    by_id = {hashlib.sha256(content).hexdigest(): content for content in PICTURES.values()}
    monkeypatch.setattr(
        "evenly.tasks.rebuild.safety.read_images", lambda _folder, ids, _places: (by_id[one] for one in ids)
    )
    monkeypatch.setattr("evenly.tasks.rebuild.safety._detector", Detector)
    return asked


DETECTOR = NOTHING | {"detector": {"threshold": 0.7, "classes": ["BLUE"]}}


@pytest.mark.usefixtures("asked")
def test_what_the_detector_says_is_stored_with_its_class_and_counted(run):
    columns = {"final_url": ["x"] * 4, "url": list(URLS.values())}
    records = [pool_record(run, PICTURES, step="check_images", **columns)]
    step = commit(run, SAFETY, records, DETECTOR)
    assert reasons(run, step) == {"a": "", "b": "not_measured", "c": "unsafe", "d": "unsafe"}
    assert step.counts["failed"] == 1
    stored = run.ledger.decisions(step, ["unsafe_score", "unsafe_class", "value"]).to_pylist()
    assert [row["unsafe_score"] for row in stored] == [0.1, None, 0.7, 0.7]
    assert stored[2] == {"unsafe_score": 0.7, "unsafe_class": "BLUE", "value": 0.7}
    assert step.notes == {"unsafe_classes": {"BLUE": 2}}
    assert step.model == "blue is unsafe"


def test_the_detector_looks_at_no_picture_twice(run, asked):
    some = {uid: PICTURES[uid] for uid in "abc"}
    columns = {"final_url": ["x"] * 3, "url": list(URLS.values())[:3]}
    before = [pool_record(run, some, step="check_images", **columns)]
    commit(run, SAFETY, before, DETECTOR)
    assert sorted(asked) == sorted([PICTURES["a"], PICTURES["c"]])
    asked.clear()
    columns = {"final_url": ["x"] * 3, "url": [URLS["a"], URLS["c"], URLS["d"]]}
    after = [pool_record(run, {uid: PICTURES[uid] for uid in "acd"}, step="check_images", **columns)]
    step = commit(run, SAFETY, after, DETECTOR)
    assert asked == [PICTURES["d"]]
    assert reasons(run, step) == {"a": "", "c": "unsafe", "d": "unsafe"}
    asked.clear()
    strict = NOTHING | {"detector": {"threshold": 0.05, "classes": ["BLUE"]}}
    assert reasons(run, commit(run, SAFETY, after, strict)) == dict.fromkeys("acd", "unsafe")
    assert asked == []


def test_nothing_of_a_list_is_stored(run, records, tmp_path):
    path, _ = listed(tmp_path, "domains", "bad.test", "secret.test")
    commit(run, SAFETY, records, NOTHING | {"domains": [path]})
    held = [file.read_bytes() for file in run.workspace.root.rglob("*") if file.is_file()]
    assert held
    assert not any(b"secret" in content for content in held)


def test_the_key_follows_the_content_of_a_list(run, records, tmp_path):
    rule = {"domains": [listed(tmp_path, "domains", "bad.test")[0]]}
    before = BLOCK_DOMAINS.spec(run, records, BLOCK_DOMAINS.read(rule)).key
    listed(tmp_path, "domains", "bad.test", "worse.test")
    assert BLOCK_DOMAINS.spec(run, records, BLOCK_DOMAINS.read(rule)).key != before


def test_a_list_that_is_not_there_is_told_before_the_first_step(run):
    with pytest.raises(InputError, match="No such file"):
        check_ready(run, [(SAFETY, SAFETY.read(NOTHING | {"looks": ["/nowhere"]}))])


def test_a_detector_that_is_not_installed_is_told_before_the_first_step(run, monkeypatch):
    monkeypatch.setattr("evenly.tasks.rebuild.safety._detector", SafetyDetector)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(WeightsUnavailableError, match="pip install 'nudenet"):
        check_ready(run, [(SAFETY, SAFETY.read(NOTHING | {"detector": {"threshold": 0.25, "classes": ["X"]}}))])
