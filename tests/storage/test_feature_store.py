import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.errors import NotFoundError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.workspace import Workspace

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=15)
@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.integers(1, 5), st.integers(0, 6), st.data())
def test_rows_are_read_in_the_order_asked_for_whatever_the_ids_and_the_commits(tmp_path_factory, ids, width, cut, data):
    store = FeatureStore(Workspace.at(tmp_path_factory.mktemp("features")), "encoder", "images")
    vectors = np.arange(len(ids) * width, dtype=np.float16).reshape(-1, width)
    norms = np.arange(len(ids), dtype=np.float32)
    for part in (slice(0, cut), slice(cut, None)):
        store.append(ids[part], vectors[part], norms[part])
    places = data.draw(st.lists(st.sampled_from(range(len(ids))), max_size=8))
    read_vectors, read_norms = store.read([ids[place] for place in places])
    assert read_vectors.dtype == np.float16
    assert (read_vectors == vectors[places]).all()
    assert read_norms.tolist() == norms[places].tolist()
    assert store.missing([*ids, "another", "another"]) == ["another"]


def test_ids_without_features_are_counted_and_say_what_to_run(workspace):
    store = FeatureStore(workspace, "encoder", "images")
    with pytest.raises(NotFoundError, match=r"must exist; they do not\. Extract them first: `evenly extract`"):
        store.read(["a"])
    store.append([], np.zeros((0, 3), np.float16), np.zeros(0, np.float32))
    assert not store.path.exists()
    store.append(["a"], np.ones((1, 3), np.float16), np.ones(1, np.float32))
    with pytest.raises(NotFoundError, match="2 of 3 ids have no features"):
        store.read(["b", "a", "c"])


def test_encoders_and_kinds_do_not_share_rows(workspace):
    FeatureStore(workspace, "first", "images").append(["a"], np.ones((1, 3), np.float16), np.ones(1, np.float32))
    assert FeatureStore(workspace, "first", "images").missing(["a"]) == []
    assert FeatureStore(workspace, "first", "texts").missing(["a"]) == ["a"]
    assert FeatureStore(workspace, "second", "images").missing(["a"]) == ["a"]


def test_the_device_that_made_a_row_is_kept_beside_it(workspace):
    store = FeatureStore(workspace, "encoder", "images")
    ones = np.ones((3, 2), np.float16), np.ones(3, np.float32)
    assert store.devices(["a"]) == {}
    store.append(["a", "b", "c"], *ones, device="cpu A")
    store.append(["d", "e", "f"], *ones, device="cuda B")
    store.append(["g", "h", "i"], *ones)
    assert store.devices(["a", "b", "e", "g", "another"]) == {"": 1, "cpu A": 2, "cuda B": 1}
    assert store.read(["i", "a"])[0].shape == (2, 2)
