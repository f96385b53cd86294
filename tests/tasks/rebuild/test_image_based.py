import pytest

from evenly.tasks.rebuild.image_based import IMAGE_BASED
from evenly.tasks.run import Run
from tests.picture_pool import ColourEncoder, commit, picture, pool_record

GREEN, BLUE = (150, 240, 160), (150, 160, 240)
COPIES = {
    f"{name}{pattern}": picture(colour, pattern=pattern)
    for name, colour in (("g", GREEN), ("b", BLUE))
    for pattern in range(10)
}


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    for module in ("encoders", "reference_sets"):
        monkeypatch.setattr(f"evenly.tasks.{module}.open_encoder", lambda _run: ColourEncoder())
    return Run(workspace=workspace, seed=3)


def test_pairs_stay_in_the_clusters_of_the_target_and_every_cluster_is_told(run, tmp_path):
    (tmp_path / "target.png").write_bytes(picture(GREEN, pattern=99))
    rule = {"target": str(tmp_path), "clusters": 2, "iterations": 20}
    step = commit(run, IMAGE_BASED, [pool_record(run, COPIES)], rule)
    decisions = run.ledger.decisions(step).to_pylist()
    assert {row["uid"][0] for row in decisions if row["verdict"] == "kept"} == {"g"}
    assert step.reasons == {"off_target": 10}
    clusters = run.ledger.table(step, "clusters").to_pylist()
    assert sorted((row["pool"], row["target"]) for row in clusters) == [(10, 0), (10, 1)]
    kept = next(row["cluster"] for row in clusters if row["target"])
    assert {row["cluster"] for row in decisions if row["verdict"] == "kept"} == {kept}
    assert step.notes == {"clusters": 2, "target_clusters": 1, "target_pictures": 1, "target_unreadable": 0}
