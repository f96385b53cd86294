"""`curate.rank` by command: a ranking head is fitted, orders the pool, and each pair has its score and reason."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.adapters.features import unit_rows
from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger
from evenly.storage.records import read_record, replace_record
from evenly.storage.samples import Samples
from tests.labelled_build import DIMENSION, WordEncoder

N = 20


@pytest.fixture
def graded_pool(evenly, tmp_path, monkeypatch):
    """A pool of features whose pictures show more and more of an attribute, and a head fitted on others like them."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    ends = unit_rows(np.random.default_rng(0).normal(size=(2, DIMENSION)))

    def shown(amounts, seed):
        noise = 0.05 * np.random.default_rng(seed).normal(size=(len(amounts), DIMENSION))
        return unit_rows(ends[0] + np.outer(amounts, ends[1] - ends[0]) + noise)

    arrays = {"prototypes": ends, "encoder": np.array(["embedded", "", WordEncoder.identity])}
    for seed, part in enumerate(("train", "val", "test")):
        amounts = np.linspace(0, 1, 40)
        arrays |= {f"{part}_features": shown(amounts, seed), f"{part}_values": 100 * amounts}
    np.savez(tmp_path / "graded.npz", **arrays)
    fit = ("fit", "--arrays", tmp_path / "graded.npz", "--adapter", "ranking", "--out", tmp_path / "head")
    status, _, err = evenly(*fit)
    assert status == 0, err
    rows = {"url": [f"http://nowhere.invalid/{number}.png" for number in range(N)]}
    rows |= {"text": [f"a picture of number {number}" for number in range(N)]}
    pq.write_table(pa.table(rows), tmp_path / "00.parquet")
    np.savez(tmp_path / "00.npz", image=shown(np.linspace(0, 1, N), 9).astype(np.float16))
    return tmp_path


def write_recipe(folder, rank):
    source = {"kind": "features", "path": str(folder / "00.parquet"), "caption": "text", "vector": "image"}
    recipe = {
        "name": "ranked",
        "seed": 3,
        "sources": [source | {"encoder": {"model": "embedded"}}],
        "curate": {"download": {}, "rank": {"adapter": str(folder / "head"), **rank}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


@pytest.mark.parametrize(("rank", "kept"), [({"min_score": 50.0}, N // 2), ({"keep_top": 0.25}, 6)])
def test_the_pool_is_ranked_and_why_gives_the_score_and_the_threshold(evenly, graded_pool, workspace, rank, kept):
    status, _, err = evenly("rebuild", write_recipe(graded_pool, rank), "--root", workspace.root)
    assert status == 0, err
    manifest = Builds(workspace).read("latest")
    step = next(one for one in manifest["steps"] if one["name"] == "rank")
    columns = ["uid", "caption", "rank_verdict", "rank_reason", "rank_value"]
    rows = Samples(workspace, "ranked").read(manifest["samples"]["version"], columns).to_pylist()
    rows.sort(key=lambda row: int(row["caption"].split()[-1]))
    assert abs(step["counts"]["kept"] - kept) <= 2
    assert {row["rank_reason"] for row in rows} == {"", "low_rank"}
    (record,) = Ledger(workspace).records("rank")
    assert all((row["rank_reason"] == "") == (row["rank_value"] >= record.notes["threshold"]) for row in rows)
    assert np.corrcoef([row["rank_value"] for row in rows], np.arange(N))[0, 1] > 0.95
    told = json.loads(evenly("why", rows[0]["uid"], "--root", workspace.root, "--json", "--replay")[1])
    assert "low_rank" in json.dumps(told)
    assert "re-checked" in json.dumps(told)
    assert evenly("verify", "latest", "--root", workspace.root)[0] == 0


def test_another_adapter_and_a_head_of_another_encoder_are_refused_before_anything_runs(evenly, graded_pool, workspace):
    recipe = write_recipe(graded_pool, {"keep_top": 0.5})
    card = read_record(graded_pool / "head" / "adapter.json")
    for change, words in (
        ({"learned": card["learned"] | {"encoder_": "f" * 64}}, "fitted on features of the recipe's encoder"),
        ({"learned": card["learned"] | {"encoder_": ""}}, "got features that do not say"),
        ({"adapter": "gda"}, "must be a ranking head; got"),
    ):
        replace_record(graded_pool / "head" / "adapter.json", card | change)
        status, _, err = evenly("rebuild", recipe, "--root", workspace.root)
        assert status == 2
        assert words in err
    assert not Builds(workspace).manifests()
