"""`verify` looks at adapters, refined encoders and indexes: each damage is one line that says what to do."""

import numpy as np
import pytest

from evenly.audit.checks.stored import check_stored
from evenly.audit.published import PublishedBuild
from evenly.storage.artifacts.kinds import fitted_adapters_of, put_adapter, refined_encoders_of
from evenly.tasks.progress import Progress
from evenly.tasks.search import index
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, publish

CARD = {"adapter": "gda", "arrays": {"w": {"shape": [3], "dtype": "float64"}}, "learned": {}, "parameters": {}}
HEADS = {"base": "e" * 64, "build": "some-1", "encoder": {}, "rule": {}, "notes": {}}


@pytest.fixture
def build(workspace, monkeypatch):
    """A build with two adapters, a refined encoder and an index."""
    monkeypatch.setattr(index, "QUERIES", 4)
    manifest = publish(workspace, [Pair(f"red {number}", f"red {number}") for number in range(300)])
    adapters = fitted_adapters_of(workspace, manifest["build"], "things")
    for number, name in enumerate(("gda-names", "tip-names")):
        put_adapter(adapters, name, CARD, {"w": np.arange(3.0) + number}, made_of={}, force=True)
    refined_encoders_of(workspace).put("mine", HEADS, b"the heads of an encoder", made_of={}, force=True)
    index.make_index(workspace, WordEncoder.identity, "binary", Progress(quiet=True))
    return PublishedBuild(workspace, manifest)


def damage_of(build):
    return [(one.where, one.what) for one in check_stored(build) if one.check == "artifacts"]


def test_every_flipped_bit_of_an_artifact_is_one_line_with_its_remedy(build, workspace):
    assert damage_of(build) == []
    files = [*workspace.adapters.rglob("*.*"), *workspace.refined.glob("*.*"), *workspace.objects.iterdir()]
    files += list(workspace.features.glob("*/*.json"))
    assert len(files) == 7
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        ((where, what),) = damage_of(build)
        assert "\n" not in what
        assert any(remedy in what for remedy in ("Fit it again", "Refine again", "run again what made it"))
        assert "/" in where
        file.write_bytes(content)
        file.rename(file.with_name("gone"))
        gone = damage_of(build)
        file.with_name("gone").rename(file)
        assert len(gone) == (file.parent == workspace.objects)
    assert damage_of(build) == []


def test_a_content_that_no_card_names_is_looked_at_too(build, workspace):
    (workspace.objects / f"{'1' * 64}.safetensors").write_bytes(b"other")
    ((where, what),) = damage_of(build)
    assert where == f"objects/{'1' * 64}.safetensors"
    assert "must hold the bytes of its name" in what


def test_a_half_written_pair_is_named(build, workspace):
    (workspace.refined / "half.safetensors").write_bytes(b"heads")
    ((where, what),) = damage_of(build)
    assert where == "refined/half"
    assert "must have its card beside it, `half.json`" in what
