import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.errors import UidError
from evenly.curation.uids import file_uid, file_uids, pair_uid, pair_uids, text_uid, text_uids


def test_uid_of_a_known_pair_never_changes():
    assert pair_uid("http://pictures.test/a.png", "red apple") == "65fdaf25228804e191c7dca2f8eb8399"


def test_uid_of_a_known_file_never_changes():
    assert file_uid("0" * 64, "red apple") == "8c1621d98733e786fd10175bcc224e14"


@given(st.text(min_size=1), st.text(), st.text(min_size=1), st.text())
def test_two_pairs_share_a_uid_only_when_equal(url, caption, other_url, other_caption):
    same = (url, caption) == (other_url, other_caption)
    assert (pair_uid(url, caption) == pair_uid(other_url, other_caption)) == same


def test_where_url_ends_and_caption_begins_matters():
    assert pair_uid("ab", "c") != pair_uid("a", "bc")


def test_null_caption_counts_as_empty():
    assert pair_uid("u", None) == pair_uid("u", "")


def test_a_file_and_a_url_of_the_same_text_differ():
    assert file_uid("a" * 64, "x") != pair_uid("a" * 64, "x")


@pytest.mark.parametrize(("url", "caption"), [("", "a dog"), ("http://x.test/\ud800", "a dog"), ("u", "\udfff")])
def test_no_uid_from_an_empty_url_or_broken_text(url, caption):
    with pytest.raises(UidError, match="must"):
        pair_uid(url, caption)


@pytest.mark.parametrize("sha256", ["", "A" * 64, "0" * 63])
def test_no_uid_from_what_is_no_sha256(sha256):
    with pytest.raises(UidError, match="64 lower-case hex"):
        file_uid(sha256, "a dog")


TEXTS = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_uids_of_columns_are_those_of_each_row_and_null_without_a_url(rows):
    urls, captions = (pa.array([row[at] for row in rows], pa.string()) for at in (0, 1))
    assert pair_uids(urls, captions).to_pylist() == [pair_uid(url, caption) if url else None for url, caption in rows]


def test_uids_of_columns_of_files_are_those_of_each_row():
    hashes = pa.array(["0" * 64, None, "a" * 64])
    expected = [file_uid("0" * 64, "red apple"), None, file_uid("a" * 64, None)]
    assert file_uids(hashes, pa.array(["red apple", "x", None])).to_pylist() == expected


def test_uid_of_a_known_caption_never_changes():
    assert text_uid("red apple") == "8dbdd055281ba50e3690bc5780fd0665"
    assert text_uid("red apple", "7") == "53a4a1482f15121a7f18dd10e71bdec6"
    assert text_uid("red apple", "") == text_uid("red apple")


def test_a_caption_alone_and_a_pair_of_the_same_texts_differ():
    assert text_uid("red apple", "u") not in {pair_uid("red apple", "u"), pair_uid("u", "red apple")}


@pytest.mark.parametrize("caption", ["", "\udfff"])
def test_no_uid_from_no_caption(caption):
    with pytest.raises(UidError, match="must"):
        text_uid(caption)


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_uids_of_columns_of_captions_are_those_of_each_row_and_null_without_a_caption(rows):
    captions, ids = (pa.array([row[at] for row in rows], pa.string()) for at in (0, 1))
    expected = [text_uid(caption, name) if caption else None for caption, name in rows]
    assert text_uids(captions, ids).to_pylist() == expected
