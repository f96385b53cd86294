"""Uids of pairs, files and captions: pinned, and by the definition."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation import collecting
from evenly.curation.collecting import file_uids, pair_uids, text_uids

KINDS = {"pair": pair_uids, "file": file_uids, "text": text_uids}
TEXTS = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))


def uid(kind: str, name: str, caption: str | None) -> str:
    return KINDS[kind](pa.array([name], pa.string()), pa.array([caption], pa.string()))[0].as_py()


def defined(kind: str, *fields: str) -> str:
    texts = [field.encode() for field in fields]
    lengths = [len(text).to_bytes(8, "little") for text in texts]
    content = b"".join(length + text for length, text in zip(lengths, texts, strict=True))
    return hashlib.blake2b(content, digest_size=16, person=f"evenly {kind}".encode()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "name", "caption", "expected"),
    [
        ("pair", "http://pictures.test/a.png", "red apple", "65fdaf25228804e191c7dca2f8eb8399"),
        ("file", "0" * 64, "red apple", "8c1621d98733e786fd10175bcc224e14"),
        ("text", "red apple", None, "8dbdd055281ba50e3690bc5780fd0665"),
        ("text", "red apple", "", "8dbdd055281ba50e3690bc5780fd0665"),
        ("text", "red apple", "7", "53a4a1482f15121a7f18dd10e71bdec6"),
    ],
)
def test_uids_of_what_is_known_never_change(kind, name, caption, expected):
    assert uid(kind, name, caption) == expected


def test_kinds_differ_and_it_matters_where_a_url_ends():
    assert len({uid(kind, "a" * 64, "x") for kind in KINDS}) == len(KINDS)
    assert uid("text", "red apple", "u") != uid("pair", "u", "red apple")
    assert uid("pair", "ab", "c") != uid("pair", "a", "bc")


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_uids_are_hashes_of_both_texts_with_their_lengths_and_null_without_a_name(kind, is_compiled, rows):
    names, captions = (pa.array(["", *(row[place] for row in rows)], pa.string()).slice(1) for place in (0, 1))
    expected = [defined(kind, name, caption or "") if name else None for name, caption in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "is_for_kernel", lambda *_: is_compiled)
        assert KINDS[kind](names, captions).to_pylist() == expected
