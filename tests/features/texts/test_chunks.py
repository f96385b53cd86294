"""Long texts are parted without losing a letter, and their chunks averaged by tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.encoder import load_encoder
from evenly.features.texts.chunks import chunk_average, chunks_of

LONG = "a cat sits on a mat. two dogs run! what is it? a red car near the house. the end of it all."


def count_letters(texts):
    """A tokenizer of which every four letters or part of four of a word are a token, with marks at both ends."""
    return [sum(-(-len(word) // 4) for word in text.split()) + 2 for text in texts]


@given(st.text(alphabet="ab .!?\n\u3002", max_size=200), st.integers(3, 20))
def test_chunks_are_all_of_the_text_and_fit(text, limit):
    chunks = chunks_of(text, count_letters, limit)
    assert "".join(chunks) == text
    assert all(count <= limit for count in count_letters(chunks))


def test_chunks_hold_as_many_whole_sentences_as_fit():
    assert chunks_of("a b c. d e. f. g", count_letters, 7) == ["a b c. d e. ", "f. g"]
    assert chunks_of("a b c d e f. g", count_letters, 5) == ["a b c ", "d e f. ", "g"]
    assert chunks_of("abcdefghijkl", count_letters, 4) == ["abcdef", "ghijkl"]
    assert chunks_of("a\u3002b\u3002c", count_letters, 4) == ["a\u3002b\u3002", "c"]


def test_the_mean_is_of_directions_by_tokens():
    rows = np.array([[10, 0], [0, 0.1], [3, 4]], np.float32)
    mean = chunk_average(rows, [3, 4, 7], [0, 0, 1], 2)
    np.testing.assert_allclose(mean, [[0.6, 0.8], [0.6, 0.8]], atol=1e-6)


@pytest.fixture(scope="module")
def chunking(tiny):
    return tiny.with_long_texts("chunks")


def test_short_texts_have_the_same_bits_and_long_ones_the_mean_of_their_chunks(tiny, chunking):
    short = ["a cat", "", "two dogs on a red sofa", "cat " * 10]
    rows = chunking.encode_texts([short[0], LONG, *short[1:]])
    assert np.delete(rows, 1, axis=0).tobytes() == tiny.encode_texts(short).tobytes()
    chunks = chunks_of(LONG, tiny.token_counts, tiny.context_length)
    assert len(chunks) > 2
    assert not any(tiny.truncated(chunks))
    parts = tiny.encode_texts(chunks)
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    mean = (parts * (np.array(tiny.token_counts(chunks))[:, None] - 2)).sum(axis=0)
    np.testing.assert_allclose(rows[1], mean / np.linalg.norm(mean), atol=1e-6)
    assert chunking.encode_texts([LONG])[0].tobytes() == rows[1].tobytes()


def test_nothing_is_cut_then_and_each_text_counts_once(chunking):
    assert chunking.truncated([LONG, "a"]) == [False, False]
    done = []
    chunking.encode_texts([LONG, "a", LONG, "b"], progress=done.append)
    assert sum(done) == 4
    assert chunking.encode_texts([]).shape == (0, 16)


def test_it_is_another_encoder_and_cut_is_not(tiny, chunking, tiny_checkpoint):
    assert chunking.identity != tiny.identity
    assert tiny.with_long_texts("cut") is tiny
    assert chunking.with_long_texts("chunks") is chunking
    other = load_encoder("tiny-random", str(tiny_checkpoint), cache="unused", threads=1, batch_size=4)
    assert other.with_long_texts("chunks").identity == chunking.identity
    assert chunking.with_opened(chunking.opened, 8).opened.long_texts == "chunks"
    with pytest.raises(ValueError, match="chosen once; got `cut` after `chunks`"):
        chunking.with_long_texts("cut")
