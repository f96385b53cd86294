import unicodedata
from itertools import product

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evenly.curation.concepts import normalising
from evenly.curation.concepts.normalising import normalised, normalised_texts

FORMAT = [character for character in map(chr, range(0x110000)) if unicodedata.category(character) == "Cf"]
TRICKY = st.text(st.sampled_from("aZ0_+# -\u00e9\u0301\u0345\u0130\u1e9e\u00b2") | st.sampled_from(FORMAT), max_size=8)
SIGNS = st.text(alphabet="aZ9_+# -.\t\x00\x1f\x7f\u00e9\u00ad", max_size=14)


def written_out(text):
    """The rule of `normalised`, one character at a time."""
    visible = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    signs = {at for at in range(len(folded)) if keeps_sign(folded, at)}
    blank = [at not in signs and unicodedata.category(sign)[0] in "PSZC" for at, sign in enumerate(folded)]
    return " ".join("".join(" " if is_blank else sign for is_blank, sign in zip(blank, folded, strict=True)).split())


def is_word(text, at):
    return 0 <= at < len(text) and text[at].isalnum()


def keeps_sign(text, at):
    """Whether the sign at `at` stands in the run after a word's end; its last goes where a word follows."""
    if text[at] not in "+#":
        return False
    start, end = at, at + 1
    while start and text[start - 1] in "+#":
        start -= 1
    while end < len(text) and text[end] in "+#":
        end += 1
    return is_word(text, start - 1) and not (at == end - 1 and is_word(text, end))


@given(st.text(max_size=20) | TRICKY)
@example("\u0345\u0300\u0130\u1e9e")
@example("0#\u00ad0")
@example("a\u00ad\u0301")
@example("_+")
@example("a+_")
def test_normalising_twice_changes_nothing(text):
    assert normalised(normalised(text)) == normalised(text)


@given(st.text(max_size=20))
def test_normalised_text_holds_no_upper_case_and_no_blank_but_single_spaces(text):
    result = normalised(text)
    assert result == " ".join(result.split())
    assert not any(unicodedata.category(character) == "Cf" for character in result)
    assert result == result.casefold()


@given(SIGNS | TRICKY)
@example("C++a")
@example("c#++ +#c")
@example("_+a#")
@example("\u00e9+#e")
def test_signs_at_the_end_of_words_stay(text):
    assert normalised(text) == written_out(text)


@given(st.lists(st.none() | SIGNS | TRICKY | st.text(max_size=20), max_size=8), st.integers(0, 3))
@example(["A-b", None, "\u212a C++ x", "", "\uff24og"], 1)
def test_many_texts_are_normalised_as_each_one_is(texts, start):
    expected = [None if text is None else normalised(text) for text in texts]
    for kind, is_compiled in product((pa.string(), pa.large_string()), (True, False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(normalising, "is_compiled_for", lambda *_, is_compiled=is_compiled: is_compiled)
            assert normalised_texts(pa.array(texts, kind).slice(start)).to_pylist() == expected[start:]


@pytest.mark.parametrize("code", range(128))
def test_each_sign_of_ascii_is_normalised_as_in_longer_text(monkeypatch, code):
    texts = [chr(code), f"a{chr(code)}", f"a{chr(code)}b", f" {chr(code)}b"]
    expected = [normalised(text) for text in texts]
    assert expected == list(map(written_out, texts))
    for is_compiled in (True, False):
        monkeypatch.setattr(normalising, "is_compiled_for", lambda *_, is_compiled=is_compiled: is_compiled)
        assert normalised_texts(pa.array(texts)).to_pylist() == expected
