"""A detector's threshold, a ranking head's share and fitted clusters: what `what-if` says of them, and a rebuild."""

import numpy as np
import pytest

from evenly.tasks.rebuild.image_based import IMAGE_BASED
from evenly.tasks.rebuild.rank import RANK
from tests.audit import test_what_if
from tests.audit.test_what_if import build_of, ends, holds, records_by, supposed, with_rules
from tests.picture_pool import ColourEncoder, picture
from tests.tasks.conftest import encoding_colours
from tests.tasks.whole_rebuild import GREEN, RED, RULES

STEPS = ("collect", "check_texts", "match_concepts", "download", "check_images", "deduplicate_exact", "embed_images")
BUILT = {name: RULES[name] for name in STEPS} | {
    "safety": RULES["safety"] | {"domains": [], "detector": {"threshold": 0.5, "classes": ["BLUE"]}},
    "rank": {"adapter": "head", "keep_top": 0.9},
    "image_based": {"target": "{root}/target", "clusters": 4, "iterations": 20},
    "match_again": RULES["match_again"],
    "balance": {"t": 9.0},
}


class Detector:
    """Holds for unsafe what is blue."""

    identity, device_name, classes = "blue is unsafe", "a machine", ("FACE", "BLUE")

    def scores(self, images, *, progress):
        colours = ColourEncoder().encode_images(list(images))
        progress(len(colours))
        return np.stack([np.zeros(len(colours)), colours[:, 2] / colours.sum(axis=1)], axis=1).astype(np.float32)


class Head:
    """Ranks pictures by how red they are."""

    fallback_ = None

    def score(self, features):
        return features.image[:, 0].astype(np.float64)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A build whose pictures a detector has looked at, a head has ranked, and clusters were fitted to."""
    root = tmp_path_factory.mktemp("measured")
    (root / "w" / "target").mkdir(parents=True)
    for name, colour in (("owl", GREEN), ("fox", RED)):
        (root / "w" / "target" / f"{name}.png").write_bytes(picture(colour, pattern=99))
    with encoding_colours(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.tasks.rebuild.safety._detector", Detector)
        patch.setattr("evenly.tasks.rebuild.rank.open_head", lambda *_: (Head(), {"why": ""}))
        for step in (RANK, IMAGE_BASED):
            patch.setitem(test_what_if.ALL, step.name, step)
        yield build_of(root / "w", BUILT)


OFF = {"image_based": None}
BEFORE_CLUSTERS = {
    "safety.threshold": {"safety": {"detector": {"threshold": 0.35, "classes": ["BLUE"]}}},
    "rank.keep_top": {"rank": {"keep_top": 0.5}},
    "rank.min_score": {"rank": {"keep_top": None, "min_score": 0.4}},
    "rank.off": {"rank": None},
    "together": {"safety": {"detector": {"threshold": 0.35, "classes": ["BLUE"]}}, "rank": {"keep_top": 0.6}},
}
CHANGES = {
    "nothing": {},
    "image_based.off": OFF,
    "balance.t": {"balance": {"t": 2.0}},
    "safety.higher": {"safety": {"detector": {"threshold": 0.6, "classes": ["BLUE"]}}} | OFF,
    "safety.off": {"safety": None} | OFF,
} | {name: changes | OFF for name, changes in BEFORE_CLUSTERS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_rebuild_by_other_rules_does_what_was_said(measured, name):
    holds(measured, CHANGES[name])
    said = supposed(measured, with_rules(BUILT, CHANGES[name]))
    assert not said.open_steps or said.unknown


@pytest.mark.slow
@pytest.mark.parametrize("name", BEFORE_CLUSTERS)
def test_up_to_the_step_that_fits_clusters_all_known_pairs_end_as_was_said(measured, name):
    """Of clusters that are fitted again to other pairs what is said is open; what was before them is not."""
    rules = with_rules(BUILT, BEFORE_CLUSTERS[name])
    said, rebuilt = supposed(measured, rules), records_by(measured.run, rules)
    assert [step.step for step in said.open_steps if step.fitted] == ["image_based"]
    unknown = {row["uid"] for row in said.examples("unknown", 1000)}
    before = [
        {
            uid: end if end[0] not in {"image_based", "balance"} else "later"
            for uid, end in each.items()
            if uid not in unknown
        }
        for each in (ends(said.ledger, said.records), ends(measured.run.ledger, rebuilt))
    ]
    kept = [{uid: "later" if end == ("", "kept", "") else end for uid, end in each.items()} for each in before]
    assert kept[0] == kept[1]
    assert any(end != "later" for end in kept[0].values())
