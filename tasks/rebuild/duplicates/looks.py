"""Duplicates that look alike: near perceptual hashes and near colours, as they are or after a change of colour."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Ints, Words
from evenly.curation.columns import column
from evenly.curation.duplicates.colours import colour_pairs, telling_rows
from evenly.curation.duplicates.image_duplicates import (
    ComparedLooks,
    Perceptual,
    edges_with_shifts,
    picture_colours,
)
from evenly.curation.duplicates.lsh import array_keys
from evenly.curation.duplicates.merging import Contents, NumberedForest, uid_columns
from evenly.tasks.rebuild.duplicates.kinds import Kind, Rows, pairs_to_compare
from evenly.tasks.run import Records, Run


@dataclass(frozen=True, kw_only=True)
class Looks(Kind):
    """Looks by a rule: those with near colours meet in cells, those with shifted colours by blocks of their hashes."""

    rule: Perceptual
    step, edge, reason = "deduplicate_perceptual", "perceptual", "near_duplicate"

    @property
    def masks(self) -> Words | None:  # type: ignore[override]
        """See Kind."""
        return None if self.rule.max_shifted is None else self.rule.shift_masks

    @property
    def max_distance(self) -> int:  # type: ignore[override]
        """See Kind."""
        return self.rule.shift_distance

    @property
    def cell_limit(self) -> float:  # type: ignore[override]
        """See Kind."""
        return self.rule.max_colour

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        pairs = pairs_to_compare(run, upstream, ("phash", "colour"))
        hashes = column(pairs, "phash", pa.uint64())
        colours, usable = picture_colours(pairs)
        usable &= hashes.is_valid().to_numpy(zero_copy_only=False)
        bits = hashes.fill_null(0).to_numpy()
        columns = uid_columns(pairs) | {"phash": bits, "colour": colours}
        return Contents(columns=columns, keys=array_keys([bits, colours]), usable=usable)

    def compared(self, files: Rows, rows: Words) -> ComparedLooks:
        """See Kind."""
        return ComparedLooks(bits=files.numbers("phash", rows), colours=self.sketches(files, rows), rule=self.rule)

    def sketches(self, files: Rows, rows: Words) -> np.ndarray:
        """See Kind."""
        return files.numbers("colour", rows)

    def codes(self, _run: Run, files: Rows, rows: Words) -> Words:
        """See Kind."""
        return np.asarray(files.numbers("phash", rows), dtype=np.uint64).reshape(-1, 1)

    def coded(self, files: Rows, rows: Words) -> Ints:
        """See Kind: those whose colours tell enough."""
        return telling_rows(self.sketches(files, rows))

    def in_cell(self, files: Rows, rows: Words, forest: NumberedForest, lies: np.ndarray) -> None:
        """See Kind."""
        looks = self.compared(files, rows)
        pairs = colour_pairs(looks.colours, self.rule.max_colour, looks.bits, self.rule.max_distance)
        for left, right in pairs:
            is_here = lies[left] | lies[right]
            left_here, right_here = left[is_here], right[is_here]
            forest.add(rows[left_here], rows[right_here], looks.measure(left_here, right_here))

    def notes(self, _candidates: int) -> dict[str, Any]:
        """See Kind."""
        return {"search": "exact"}

    def edges(self, table: pa.Table, compared: ComparedLooks, left: Ints, right: Ints) -> pa.Table:
        """See Kind: the change by which pairs beyond the limit of colours are duplicates."""
        return edges_with_shifts(table, compared.colours, left, right, self.rule)
