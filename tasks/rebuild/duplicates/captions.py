"""Duplicates of nearly equal captions, of one picture or of the whole pool."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evenly.curation.arrays import Ints, Words
from evenly.curation.duplicates.caption_duplicates import (
    COMPARISONS,
    STEP,
    CaptionTwins,
    ComparedCaptions,
    ShingleSets,
    bands_of,
    caption_contents,
    near_sets,
    plan_bands,
    search_notes,
)
from evenly.curation.duplicates.lsh import Signatures, word_masks
from evenly.curation.duplicates.merging import Contents
from evenly.tasks.rebuild.duplicates.exact import value_numbers
from evenly.tasks.rebuild.duplicates.kinds import Kind, Rows, pairs_to_compare
from evenly.tasks.run import Records, Run


@dataclass(frozen=True, kw_only=True)
class Captions(Kind):
    """Captions by a rule; those of the pool meet in the bands of their signatures, which `seed` draws."""

    rule: CaptionTwins
    step, edge, reason = STEP, "caption", "near_caption"

    @property
    def masks(self) -> Words:  # type: ignore[override]
        """See Kind."""
        return word_masks(1 if self.rule.scope == "image" else plan_bands(self.rule.min_jaccard)[0])

    @property
    def comparisons(self) -> int | None:  # type: ignore[override]
        """See Kind."""
        return None if self.rule.scope == "image" else COMPARISONS

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        return caption_contents(pairs_to_compare(run, upstream), self.rule)

    def compared(self, files: Rows, rows: Words) -> ComparedCaptions:
        """See Kind: all captions as if they were different, since equal ones have met before."""
        return self._compared(files, rows, ShingleSets.of_lists(files.column("shingles", rows)), np.arange(len(rows)))

    def compared_for_equality(self, files: Rows, rows: Words) -> ComparedCaptions:
        """See Kind: without their trigrams."""
        return self._compared(files, rows, ShingleSets.of([]), value_numbers(files.column("text", rows)))

    def _compared(self, files: Rows, rows: Words, sets: ShingleSets, texts: Ints) -> ComparedCaptions:
        of_one = self.rule.scope == "image"
        images = value_numbers(files.column("image", rows)) if of_one else np.zeros(len(rows), np.int64)
        return ComparedCaptions(sets=sets, texts=texts, images=images, rule=self.rule)

    def codes(self, _run: Run, files: Rows, rows: Words) -> Words:
        """See Kind: of one picture, a hash of it."""
        if self.rule.scope == "image":
            return np.asarray(files.numbers("image_key", rows), dtype=np.uint64).reshape(-1, 1)
        return bands_of(ShingleSets.of_lists(files.column("shingles", rows)), self.rule, self.seed)

    def near(self, files: Rows, rows: Words, codes: Words) -> Signatures:  # noqa: ARG002 - no code tells it
        """See Kind."""
        return near_sets(files.numbers("fold", rows), files.numbers("size", rows), self.rule.min_jaccard)

    def notes(self, candidates: int) -> dict[str, Any]:
        """See Kind."""
        return search_notes(self.rule, candidates)
