"""A pool that gains, loses and changes rows: the build of a kept workspace is that of a new one."""

import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace

pytestmark = [pytest.mark.embedded, pytest.mark.slow]  # tests/tasks/test_row_reuse.py holds the same for single steps


@pytest.fixture
def changed(small_web, tmp_path):
    """The recipe over a pool without every fiftieth row, with others' captions changed and new rows."""
    recipe = yaml.safe_load(small_web.recipe.read_text())
    pool = pq.read_table(recipe["sources"][0]["path"])
    rows = pool.to_pylist()
    gone = {id(row) for row in rows[::50]}
    left = [row for row in rows if id(row) not in gone]
    for row in left[10::60]:
        row["alt"] = f"a drawing of {row['alt']}"
    added = [row | {"alt": f"{row['alt']} once more"} for row in left[7::80]]
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.Table.from_pylist([*left, *added], schema=pool.schema), path)
    recipe["sources"][0]["path"] = str(path)
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(recipe))
    return file


def test_a_changed_pool_rebuilt_in_place_equals_a_build_from_scratch(small_web, undisturbed, changed, tmp_path):
    kept, new = tmp_path / "kept", tmp_path / "new"
    shutil.copytree(undisturbed[0], kept)
    web = replace(small_web, recipe=changed)
    in_place = web.drive(kept).stdout.strip()
    scratch = web.drive(new, "--replay-from", str(kept)).stdout.strip()
    assert in_place == scratch != undisturbed[1]
    manifest = next(one for one in Builds(Workspace.at(kept)).manifests() if one["content_hash"] == in_place)
    steps = {step["name"]: step["key"] for step in manifest["steps"]}
    for name in ("check_texts", "match_concepts", "check_images", "deduplicate_semantic", "match_again"):
        record = Ledger(Workspace.at(kept)).find(steps[name])
        assert 0 < record.work["computed"] < 0.15 * record.rows_in, name
        assert sum(record.work.values()) == record.rows_in
