"""Keys of label files and splits: URLs, and file names of pictures at hand."""

import pyarrow as pa

from evenly.storage.files.splits import compared_keys, places_of_keys

HERE = "sha256:" + "0" * 64
KEYS = pa.array(["b.png", "http://a.test/1", HERE])


def pairs(*rows):
    return pa.table({"url": [url for url, _ in rows], "file_name": pa.array([name for _, name in rows], pa.string())})


def test_a_file_name_is_a_key_of_pictures_at_hand_alone_and_a_url_comes_first():
    rows = pairs((HERE, "b.png"), (HERE[:-1] + "1", "b.png"), ("http://a.test/2", "b.png"), ("http://a.test/1", None))
    assert places_of_keys(rows, KEYS).to_pylist() == [2, 0, None, 1]


def test_a_pool_of_the_web_may_have_a_column_of_that_name_of_any_type():
    rows = pa.table({"url": ["http://a.test/1"], "file_name": [[1]]})
    assert places_of_keys(rows, KEYS).to_pylist() == [1]


def test_what_does_not_meet_is_shown_by_what_it_is_compared_with():
    assert compared_keys(pairs((HERE[:-1] + "1", "x/b.png")), KEYS[:1]) == (
        "keys begin with `b.png`; file names of the pool begin with `x/b.png`"
    )
    assert compared_keys(pairs(("http://a.test/2", None)), KEYS[:0]) == (
        "keys begin with nothing; URLs of the pool begin with `http://a.test/2`"
    )
