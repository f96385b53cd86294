"""Search and indices over a build in an object store, as over one in a folder."""

import pytest

from evenly.storage.workspace import Workspace
from evenly.tasks.search import index, search
from evenly.tasks.search.index import KINDS
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, publish
from tests.tasks.search.test_index import NAMES, made
from tests.tasks.search.test_search import find


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    for name in ("_load", "embedded_text_tower"):
        monkeypatch.setattr(f"evenly.tasks.encoders.{name}", lambda *_: WordEncoder())
    monkeypatch.setattr(index, "QUERIES", 4)


def test_a_build_in_an_object_store_is_searched_as_one_in_a_folder(bucket, workspace, monkeypatch):
    pairs = [Pair(name, name, reason="" if place % 3 else "draw") for place, name in enumerate(NAMES)]
    stored = Workspace.at(f"{bucket}/w")
    manifest = publish(workspace, pairs)
    assert publish(stored, pairs) == manifest
    whole = find(workspace, manifest, "red bird 3", where=["verdict=kept"])
    assert find(stored, manifest, "red bird 3", where=["verdict=kept"]) == whole
    for kind in KINDS:
        assert made(stored, kind).recall["pictures"] >= 0.95
        near = find(stored, manifest, "red bird 3", where=["verdict=kept"], index=kind)
        assert (near.rows[0], near.index["kind"]) == (whole.rows[0], kind)
    monkeypatch.setattr(search, "PAIRS_AT_ONCE", 50)
    assert find(stored, manifest, "red bird 3", where=["verdict=kept"]) == whole
