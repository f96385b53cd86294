"""Merge pairs whose captions are nearly equal: MinHash finds candidates, their Jaccard index decides.

Sources: Broder 1997, "On the resemblance and containment of documents", for MinHash; Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", chapter 3, for bands. Differs in that the index of every candidate is computed exactly, on
runs of three letters that stand for themselves and not for their hashes, and that components are merged. Sandes,
Teodoro and Melo 2020, "Bitmap filter: speeding up exact set similarity joins with bitwise operations", for candidates
that are too far apart by a few words of bits; none that is near enough is lost.
"""

import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.bounds import Wording, check_bounds
from evenly.curation.arrays import Flags, Floats, Ints, Words, column
from evenly.curation.duplicates.kind import Kind, StoredRows
from evenly.curation.duplicates.lsh import (
    Signatures,
    array_keys,
    candidate_pairs,
    equal_runs,
    measure_recall,
    seeded_words,
    text_keys,
    value_numbers,
    word_masks,
)
from evenly.curation.duplicates.merging import (
    Contents,
    DuplicatePairs,
    Duplicates,
    Forest,
    Pairs,
    in_uid_order,
    merge,
    uid_columns,
)
from evenly.curation.errors import RuleError

STEP = "deduplicate_captions"
_HASHES = 128
_RECALL = 0.995
COMPARISONS = 1 << 25
_ROUNDED = 1e-4
_FOLDED = 4  # words of a set's fold


@dataclass(frozen=True, kw_only=True)
class CaptionTwins:
    """Duplicates have captions whose sets of letter trigrams have a Jaccard index of at least `min_jaccard`.

    scope: "image" looks among the pairs of one picture, "pool" among all, whatever they show.
    """

    min_jaccard: Annotated[float, Ge(0.3), Le(1)] = 0.8
    scope: Annotated[Literal["image", "pool"], Wording(demand="be image or pool")] = "image"

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)

    @property
    def masks(self) -> Words:
        """The tables in which captions meet: one for each band of their signatures, or one of their picture."""
        return word_masks(1 if self.scope == "image" else plan_bands(self.min_jaccard)[0])


def deduplicate_captions(batch: pa.Table, rule: CaptionTwins, *, seed: int = 0) -> Duplicates:
    """Merge pairs with nearly equal captions as near_caption; the distance is the Jaccard index, 4 digits.

    `batch`: uid, caption, width, height, with scope "image" image_id, and, optionally, score. A caption that is null or
    holds only spaces has no duplicates, nor has a null image_id where it is looked at. `seed` draws the hashing.
    """

    def search(batch: pa.Table, _places: Ints | slice) -> Duplicates:
        texts = [folded_caption(text) for text in column(batch, "caption", pa.string()).to_pylist()]
        usable = np.array([text != "" for text in texts], dtype=np.bool_)
        images = np.zeros(batch.num_rows, dtype=np.int64)
        if rule.scope == "image":
            images = value_numbers(column(batch, "image_id", pa.string()))
            usable &= images >= 0
        duplicates = _find(column(batch, "uid", pa.string()), texts, images, usable, rule, seed)
        return merge(batch, duplicates, kind="caption", reason="near_caption")

    return in_uid_order(batch, search)


def folded_caption(text: str | None) -> str:
    """Return a caption in NFKC, case folded, runs of white space as one space; "" for null."""
    return " ".join(unicodedata.normalize("NFKC", text or "").casefold().split())


@dataclass(frozen=True)
class ShingleSets:
    """The distinct letter trigrams of n texts, each text between two spaces: 3 x 21 bits each, sorted per text."""

    shingles: Words
    ends: Ints

    @classmethod
    def of(cls, texts: list[str]) -> "ShingleSets":
        """The sets of `texts`."""
        from evenly.curation.duplicates.kernels import shingle

        padded = [f" {text} " for text in texts]
        letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
        shingles, ends = np.empty(len(letters), dtype=np.uint64), np.empty(len(texts), dtype=np.int64)
        shingle(letters, np.cumsum([len(text) for text in padded], dtype=np.int64), shingles, ends)
        return cls(shingles[: ends[-1] if len(ends) else 0].copy(), ends)

    @classmethod
    def of_lists(cls, lists: pa.LargeListArray) -> "ShingleSets":
        """The sets that `to_lists` gave, or some of them."""
        offsets = lists.offsets.to_numpy()
        return cls(lists.flatten().to_numpy(), (offsets[1:] - offsets[0]).astype(np.int64))

    def to_lists(self) -> pa.LargeListArray:
        """The sets (n,) as lists."""
        offsets = np.concatenate([np.zeros(1, np.int64), self.ends])
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(self.shingles))

    def jaccard(self, left: Ints, right: Ints, *, least: float = 0.0) -> Floats:
        """The Jaccard index (m,) of pairs of texts, rounded to 4 digits; 0 where it is below `least`."""
        from evenly.curation.duplicates.kernels import intersect

        sizes, common = self.sizes, np.empty(len(left), dtype=np.int64)
        intersect(self.shingles, self.ends, left, right, least - _ROUNDED, common)
        return np.asarray(np.round(common / np.maximum(sizes[left] + sizes[right] - common, 1), 4))

    @property
    def sizes(self) -> Ints:
        """The number of trigrams (n,) of each text."""
        return np.diff(self.ends, prepend=0)

    def folds(self) -> Words:
        """The sets (n, 4) in 256 bits each: two differ in at most as many as trigrams are in one set alone."""
        from evenly.curation.duplicates.kernels import fold_shingles

        folds = np.empty((len(self.ends), _FOLDED), dtype=np.uint64)
        fold_shingles(self.shingles, self.ends, folds)
        return folds

    def bands(self, shape: tuple[int, int], *, key: str) -> Words:
        """The keys (n, b) of b bands of r hashes each of the MinHash signatures; `key` draws the hashes."""
        from evenly.curation.duplicates.kernels import band

        factors = seeded_words(f"{key}|factors", shape[0] * shape[1]).reshape(shape) | np.uint64(1)
        offsets = seeded_words(f"{key}|offsets", shape[0] * shape[1]).reshape(shape)
        bands = np.empty((len(self.ends), shape[0]), dtype=np.uint64)
        band(self.shingles, self.ends, factors, offsets, bands)
        return bands


def plan_bands(min_jaccard: float) -> tuple[int, int, float]:
    """Return (b, r, recall): most hashes r per band, of 128, with a recall of at least 0.995 at the threshold.

    It follows from the rule alone. Sets of index s share a band with probability 1 - (1 - s^r)^b.
    """
    plans = [(_HASHES // r, r, 1 - (1 - min_jaccard**r) ** (_HASHES // r)) for r in range(1, 33)]
    return max((plan for plan in plans if plan[2] >= _RECALL), key=lambda plan: plan[1])


def _find(  # noqa: PLR0917 - what a batch holds, then the rule
    uids: pa.Array,
    texts: list[str],
    images: Ints,
    usable: Flags,
    rule: CaptionTwins,
    seed: int,
) -> DuplicatePairs:
    captions = ComparedCaptions.of(texts, images, rule)
    sets = captions.sets
    equal_pairs, firsts = captions.equal_runs(usable)
    forest = Forest(len(uids))
    forest.add(*equal_pairs, captions.equal_weights(*equal_pairs))
    codes = (bands_of(sets, rule, seed) if rule.scope == "pool" else images.astype(np.uint64).reshape(-1, 1))[firsts]
    signatures = near_sets(sets.folds()[firsts], sets.sizes[firsts], rule.min_jaccard)
    for left, right in candidate_pairs(codes, rule.masks, signatures=signatures):
        forest.add(*captions.accepted(firsts[left], firsts[right]))
        signatures.skip_weaker(forest, firsts)
    edges = forest.edges()
    notes = search_notes(rule, signatures.candidates)
    if rule.scope == "image":
        return DuplicatePairs(left=edges[0], right=edges[1], measure=sets.jaccard, notes=notes)
    recall = measure_recall(
        uids,
        firsts,
        edges,
        captions.all_duplicates,
        seed=seed,
        step=STEP,
        comparisons=COMPARISONS,
    )
    return DuplicatePairs(
        left=edges[0], right=edges[1], measure=sets.jaccard, compared=recall.compared, notes=notes | recall.notes
    )


def bands_of(sets: ShingleSets, rule: CaptionTwins, seed: int) -> Words:
    """The keys (n, b) of the bands of captions with these sets."""
    b, r, _ = plan_bands(rule.min_jaccard)
    return sets.bands((b, r), key=f"{seed}|{STEP}")


def near_sets(folds: Words, sizes: Ints, min_jaccard: float) -> Signatures:
    """What sets of `sizes` (n,) with `folds` (n, 4) are near in if their Jaccard index is at least `min_jaccard`.

    Of sets of index s, as many trigrams as (1 - s) / (1 + s) of both sizes together are in one of the two alone.
    """
    share = _alone(np.array([min_jaccard]))[0]
    return Signatures(
        words=folds, allowed=sizes * share, allowed_share=lambda weight: np.minimum(_alone(-weight) / share, 1.0)
    )


def _alone(index: Floats) -> Floats:
    """The share (m,) of both sizes together that may be in one of two sets alone, at a rounded index."""
    least = index - _ROUNDED
    return np.asarray((1 - least) / (1 + least))


def search_notes(rule: CaptionTwins, candidates: int) -> dict[str, Any]:
    """Notes on the search of captions, `candidates` of the pool in number."""
    if rule.scope == "image":
        return {"search": "exact"}
    b, r, expected = plan_bands(rule.min_jaccard)
    return {
        "search": {
            "bands": b,
            "hashes": r,
            "expected_recall_at_threshold": round(expected, 4),
            "candidates": candidates,
        }
    }


@dataclass(frozen=True, kw_only=True)
class ComparedCaptions:
    """n captions, compared two by two: their shingles, a number for each text and, where it counts, each picture."""

    sets: ShingleSets
    texts: Ints
    images: Ints
    rule: CaptionTwins

    @classmethod
    def of(cls, texts: list[str], images: Ints, rule: CaptionTwins) -> "ComparedCaptions":
        """The captions `texts`, folded, of the pictures with the numbers `images` (n,)."""
        numbers: dict[str, int] = {}
        coded = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
        return cls(sets=ShingleSets.of(texts), texts=coded, images=images, rule=rule)

    def equal_runs(self, usable: Flags) -> tuple[Pairs, Ints]:
        """See lsh.equal_runs."""
        return equal_runs([self.texts, self.images], usable)

    def equal_weights(self, left: Ints, _right: Ints) -> Floats:
        """The weights (m,) of pairs of equal captions: of the strongest link."""
        return -np.ones(len(left))

    def accepted(self, left: Ints, right: Ints) -> tuple[Ints, Ints, Floats]:
        """The pairs that are duplicates, and their weights: a larger index is a stronger link."""
        index = self.sets.jaccard(left, right, least=self.rule.min_jaccard)
        is_near = (index >= self.rule.min_jaccard) & (self.images[left] == self.images[right])
        return left[is_near], right[is_near], -index[is_near]

    def all_duplicates(self, drawn: Ints, candidates: Ints) -> Pairs:
        """All duplicates (i, j), i < j, of `drawn` captions among `candidates`, by comparing all with all."""
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for row in drawn:
            compared = candidates[candidates != row]
            left, right, _ = self.accepted(np.minimum(row, compared), np.maximum(row, compared))
            parts.append((left, right))
        left, right = (np.concatenate(sides) for sides in zip(*parts, strict=True))
        return left, right

    def measure(self, left: Ints, right: Ints) -> Floats:
        """The Jaccard index (m,) of pairs, 4 digits."""
        return self.sets.jaccard(left, right)


@dataclass(frozen=True, kw_only=True)
class Captions(Kind):
    """Captions by a rule; those of the pool meet in the bands of their signatures, which `seed` draws."""

    rule: CaptionTwins
    step, edge, reason = STEP, "caption", "near_caption"

    @property
    def masks(self) -> Words:  # type: ignore[override]
        """See Kind."""
        return self.rule.masks

    @property
    def comparisons(self) -> int | None:  # type: ignore[override]
        """See Kind."""
        return None if self.rule.scope == "image" else COMPARISONS

    def contents(self, pairs: pa.Table, features: npt.NDArray[np.float16] | None) -> Contents:  # noqa: ARG002 - of others
        """See Kind: captions in full, as sets of trigrams, and where it counts of which picture."""
        texts = [folded_caption(text) for text in column(pairs, "caption", pa.string()).to_pylist()]
        sets, keys = ShingleSets.of(texts), text_keys(texts)
        usable = np.array([text != "" for text in texts], dtype=np.bool_)
        columns = uid_columns(pairs) | {"text": pa.array(texts, pa.large_string()), "shingles": sets.to_lists()}
        columns |= {"fold": sets.folds(), "size": sets.sizes}
        if self.rule.scope == "image":
            images = column(pairs, "image_id", pa.string())
            image_keys = text_keys(images.fill_null("").to_pylist())
            columns |= {"image": images, "image_key": image_keys}
            keys = array_keys([keys, image_keys])
            usable &= images.is_valid().to_numpy(zero_copy_only=False)
        return Contents(columns=columns, keys=keys, usable=usable)

    def compared(self, stored: StoredRows, rows: Words) -> ComparedCaptions:
        """See Kind: all captions as if they were different, since equal ones have met before."""
        return self._compared(stored, rows, ShingleSets.of_lists(stored.column("shingles", rows)), np.arange(len(rows)))

    def compared_for_equality(self, stored: StoredRows, rows: Words) -> ComparedCaptions:
        """See Kind: without their trigrams."""
        return self._compared(stored, rows, ShingleSets.of([]), value_numbers(stored.column("text", rows)))

    def _compared(self, stored: StoredRows, rows: Words, sets: ShingleSets, texts: Ints) -> ComparedCaptions:
        of_one = self.rule.scope == "image"
        images = value_numbers(stored.column("image", rows)) if of_one else np.zeros(len(rows), np.int64)
        return ComparedCaptions(sets=sets, texts=texts, images=images, rule=self.rule)

    def codes(self, stored: StoredRows, rows: Words) -> Words:
        """See Kind: of one picture, a hash of it."""
        if self.rule.scope == "image":
            return np.asarray(stored.numbers("image_key", rows), dtype=np.uint64).reshape(-1, 1)
        return bands_of(ShingleSets.of_lists(stored.column("shingles", rows)), self.rule, self.seed)

    def near(self, stored: StoredRows, rows: Words, codes: Words) -> Signatures:  # noqa: ARG002 - no code tells it
        """See Kind."""
        return near_sets(stored.numbers("fold", rows), stored.numbers("size", rows), self.rule.min_jaccard)

    def notes(self, candidates: int) -> dict[str, Any]:
        """See Kind."""
        return search_notes(self.rule, candidates)
