"""Normalised text, in which captions and concepts do not differ by case, marks, width or invisible characters."""

import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import TextBuffers, as_texts, is_compiled_for, text_buffers

FEW = 1 << 22
"""Bytes of texts from which the compiled kernel is faster, loading numba included."""
_WORDS = "^[a-z0-9]+( [a-z0-9]+)*$"
_KEPT_AFTER_A_LETTER = re.compile(r"((?<=[^\W_])[+#]+(?![^\W_]))")  # C++, C#; an underscore becomes a space


class _Characters(dict[int, str | int | None]):
    """A table from code points to themselves or, for marks, to a replacement; filled as characters are met."""

    def __init__(self, categories: str, replacement: str | None) -> None:
        self.categories = categories
        self.replacement = replacement

    def __missing__(self, code: int) -> str | int | None:
        category = unicodedata.category(chr(code))
        self[code] = self.replacement if category.startswith(tuple(self.categories.split())) else code
        return self[code]


_VISIBLE = _Characters("Cf", None)
_SPACED = _Characters("P S Z C", " ")


def normalised(text: str) -> str:
    """Return `text` in NFKC and case-folded, marks and symbols as spaces, white space collapsed.

    `+` and `#` at the end of a word stay (C++, C#). Invisible format characters (soft hyphen, joiners) go first:
    what they stood between is judged as neighbours. Normalising again changes nothing.
    """
    visible = unicodedata.normalize("NFKC", text.translate(_VISIBLE))
    folded = unicodedata.normalize("NFKC", visible.casefold())
    pieces = _KEPT_AFTER_A_LETTER.split(folded)  # every second one is kept
    pieces[::2] = [piece.translate(_SPACED) for piece in pieces[::2]]
    return " ".join("".join(pieces).split())


def normalised_texts(texts: pa.Array) -> pa.Array:
    """Return `normalised` of each text as large_string; null stays null.

    Of many, what is all ASCII is done by compiled code; of a few that would load it, by Arrow.
    """
    texts = as_texts(texts)
    if not is_compiled_for(texts.nbytes, FEW):
        lowered = pc.ascii_lower(texts).cast(pa.large_string())
        is_odd = pc.invert(pc.fill_null(pc.match_substring_regex(lowered, _WORDS), True))
        return pc.replace_with_mask(lowered, is_odd, _odd_texts(lowered.filter(is_odd), texts.filter(is_odd)))
    from evenly.curation.concepts.normalise_kernel import normalise_rows

    plain = pc.fill_null(pc.string_is_ascii(texts), True)
    other_texts = pa.array([normalised(text) for text in texts.filter(pc.invert(plain)).to_pylist()], pa.large_string())
    buffers, other_buffers = text_buffers(texts), text_buffers(other_texts)
    mask = plain.to_numpy(zero_copy_only=False)
    data, offsets = normalise_rows(buffers.data, buffers.offsets, mask, other_buffers.data, other_buffers.offsets)
    return TextBuffers(data=data, offsets=offsets, valid=buffers.valid).to_arrow()


def _odd_texts(lowered: pa.Array, texts: pa.Array) -> pa.Array:
    """`normalised` of texts with more than words and blanks: in ASCII without + and #, what is more is a blank."""
    is_plain = pc.and_not(pc.string_is_ascii(lowered), pc.match_substring_regex(lowered, "[+#]"))
    spaced = pc.ascii_trim(pc.replace_substring_regex(lowered, "[^a-z0-9]+", " "), " ")
    is_other = pc.invert(is_plain)
    others = pa.array([normalised(text) for text in texts.filter(is_other).to_pylist()], pa.large_string())
    return pc.replace_with_mask(spaced, is_other, others)
