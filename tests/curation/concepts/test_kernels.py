"""Compiled loops of concepts: as Python runs them."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.curation.arrays import text_buffers
from evenly.curation.concepts import match_kernel, normalise_kernel
from evenly.curation.concepts.normalising import normalised
from tests.curation.interpreted import agreed, interpreted

MATCHING = (match_kernel, interpreted("evenly.curation.concepts.match_kernel"))
NORMALISING = (normalise_kernel, interpreted("evenly.curation.concepts.normalise_kernel"))
LONG = "abcdefgh" * 3
WORDS = ["a", "b", "dog", "abcdefg", "abcdefgh", "abcdefgi", "abcdefghi", "abcdefghj", LONG, LONG + "i"]
RUNS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)


@settings(max_examples=60)
@given(st.lists(st.text("aZ9 +#-_", max_size=9), max_size=5), st.booleans())
def test_normalised_rows_are_those_of_python_and_others_stand_where_they_were(texts, is_plain):
    plain = np.arange(len(texts)) % 2 == is_plain
    others = [f"other {text}" for text, is_ascii in zip(texts, plain, strict=True) if not is_ascii]
    rows, other_rows = (text_buffers(pa.array(part, pa.large_string())) for part in (texts, others))
    arguments = rows.data, rows.offsets, plain, other_rows.data, other_rows.offsets
    (data, ends), *_ = agreed(NORMALISING, "normalise_rows", *arguments)
    result = [data[begin:end].tobytes().decode() for begin, end in itertools.pairwise(ends)]
    waiting = iter(others)
    assert result == [
        normalised(text) if is_ascii else next(waiting) for text, is_ascii in zip(texts, plain, strict=True)
    ]


@settings(max_examples=60)
@given(
    st.lists(RUNS, max_size=6),
    st.lists(st.none() | st.text("ab,. ", max_size=9) | RUNS.map("dog, {}. ".format), max_size=4),
)
def test_matches_are_those_of_python_and_runs_of_words(entries, captions):
    owners = np.arange(len(entries), dtype=np.int32)[::-1].copy()
    texts, rows = (text_buffers(pa.array(part, pa.large_string())) for part in (entries, captions))
    pool = match_kernel.widened(texts.data)
    (words, spans, units, ends), *_ = agreed(MATCHING, "intern_words", pool, texts.offsets)
    (edges, marks, further), _, _, _, words, _ = agreed(MATCHING, "link_units", units, ends, owners, words, len(spans))
    trie = match_kernel.Trie(words, edges, marks, pool, spans, owners, further)
    (ids, stops), *_ = agreed(MATCHING, "match_rows", trie, rows.data, rows.offsets, rows.valid)
    spaced = [None if text is None else f" {text.replace(',', ' , ').replace('.', ' . ')} " for text in captions]
    assert [part.tolist() for part in np.split(ids, stops[1:-1])][: len(captions)] == [
        sorted(owners[row] for row, entry in enumerate(entries) if text is not None and f" {entry} " in text)
        for text in spaced
    ]
