"""Made-up pools of features for measurements: what a measurement rests on."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import feature_pool, text_pool
from benchmarks.feature_pool import write_pool
from evenly.flows.recipe import read_recipe
from evenly.storage.tables.hashing import table_hash


def written(folder: Path, pairs: int, seed: int) -> pa.Table:
    write_pool(folder, pairs, seed=seed)
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))])


def test_a_pool_follows_from_its_seed_and_a_smaller_one_is_the_beginning_of_a_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (feature_pool, text_pool):
        monkeypatch.setattr(module, "FILE_ROWS", 1_000)
    large = written(tmp_path / "large", 2_700, 1)
    small = written(tmp_path / "small", 1_200, 1)
    assert large.num_rows == 2_700
    assert table_hash(small) == table_hash(large.slice(0, 1_200))  # nan equals nan in it
    assert not written(tmp_path / "other", 1_200, 2)["vector"].equals(small["vector"])
    vectors = large["vector"].drop_null().combine_chunks()
    rows = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    assert 0 < large["vector"].null_count < 30
    assert (rows == 0).all(axis=1).any()
    assert np.isnan(rows).any()
    assert 20 < (rows[1:] == rows[:-1]).all(axis=1).sum() < 100


def test_the_recipe_of_a_pool_is_one_that_evenly_takes(tmp_path: Path) -> None:
    recipe = read_recipe(str(write_pool(tmp_path, 10, seed=3)))
    assert recipe.sources[0].kind == "features"
    assert recipe.curate.deduplicate.exact
