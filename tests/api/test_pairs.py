"""Pairs of a build one by one, and the rows of their pictures and captions, dropped pairs included."""

import io

import numpy as np
import pytest
from PIL import Image

import evenly
from evenly.storage.errors import InputError, NotFoundError
from tests.api.conftest import ColourEncoder


def test_a_build_gives_its_pairs_in_the_order_of_the_table(build):
    pairs, table = list(build), build.to_pandas()
    assert [pair.uid for pair in pairs] == list(table["uid"])
    assert len(pairs) == len(build)
    first = pairs[0]
    assert (first.caption, first.label, first.verdict, first.step, first.reason) == (
        table["caption"][0],
        table["label"][0],
        "kept",
        "",
        "",
    )
    assert first.image_bytes() == build.image_bytes(first.uid)
    assert Image.open(io.BytesIO(first.image_bytes())).size == first.image().size
    assert first.row == build.to_arrow().slice(0, 1).to_pylist()[0]
    assert next(iter(build)) == first
    assert "caption=" in repr(first)


def test_pairs_that_went_say_where_and_why(build):
    dropped = list(build.pairs(rows="dropped"))
    assert len(dropped) == len(build.to_pandas(rows="all")) - len(build)
    assert {pair.verdict for pair in dropped} == {"dropped", "merged", "failed"} & {pair.verdict for pair in dropped}
    (broken,) = [pair for pair in dropped if pair.row["file_name"] == "wren/broken.png"]
    assert (broken.step, broken.reason) == ("download", "not_an_image")
    with pytest.raises(InputError, match="has none"):
        broken.image_bytes()
    uids = [pair.uid for pair in build.pairs(rows="all")]
    assert uids == list(build.to_pandas(rows="all")["uid"])
    with pytest.raises(InputError, match='`rows` must be "kept", "dropped" or "all"; got \'gone\''):
        next(build.pairs(rows="gone"))


@pytest.mark.usefixtures("colours")
def test_features_of_captions_and_of_dropped_pairs_stand_row_by_row(build):
    images = build.features()
    both = build.features(captions=True)
    assert np.array_equal(both.images, images)
    assert list(both.pairs["uid"]) == list(build.to_pandas()["uid"])
    assert set(both.pairs["verdict"]) == {"kept"}
    named = ColourEncoder().encode_texts(list(both.pairs["caption"]))
    np.testing.assert_allclose(both.captions, named / np.linalg.norm(named, axis=1, keepdims=True), atol=1e-3)

    every = build.features(captions=True, dropped=True)
    assert len(every.pairs) == len(every.images) == len(every.captions) == len(every)
    is_kept = (every.pairs["verdict"] == "kept").to_numpy()
    assert np.array_equal(every.images[is_kept], images)
    gone = every.pairs[~is_kept]
    assert set(gone["step"]) == {"deduplicate_exact"}  # it shows the picture of a pair that was kept
    assert "wren/broken.png" not in set(gone["uid"])
    assert build.features(dropped=True).captions is None


def test_encode_takes_a_refined_encoder_of_a_workspace(tmp_path, colours):
    del colours
    with pytest.raises(NotFoundError, match=r"refined encoder `better` must be in `.*`; it is not"):
        evenly.encode(["a wren"], refine="better", root=tmp_path)
