"""Merge pairs whose pictures are the same: equal bytes, or near perceptual hashes and colours.

Duplicates become components. The survivor of a component is the pair with the largest picture (width times height),
then the highest score where a score column is given, then the smallest uid. Every other pair is merged into it, with
the distance measured between the two; a chain of duplicates can join two that are no duplicates themselves. Near hashes
are searched exactly: docs/deduplication.md says how and why. Source: pHash for hashes; the colour grid is ours.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.bounds import Bits, Levels, check_bounds
from evenly.curation.arrays import Bytes, Flags, Floats, Ints, Words, column
from evenly.curation.duplicates.colours import (
    FAMILIES,
    SHIFTED_BITS,
    colour_distances,
    colour_pairs,
    differ_by_shift,
    find_shifts,
    hash_distances,
    pairs_of_blocks,
    picture_colours,
    shifted_pairs,
    telling_rows,
)
from evenly.curation.duplicates.kind import Kind, StoredRows
from evenly.curation.duplicates.lsh import array_keys, equal_runs, text_keys, value_numbers
from evenly.curation.duplicates.merging import (
    Contents,
    DuplicatePairs,
    Duplicates,
    Forest,
    NumberedForest,
    Pairs,
    in_uid_order,
    merge,
    uid_columns,
)
from evenly.curation.errors import RuleError

_AFTER_UNSHIFTED = 100  # bits: a link by a shift is weaker than any without


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    """Duplicates have perceptual hashes within `max_distance` of 64 bits and colour grids within `max_colour` of 255.

    Duplicates are also pictures whose hashes differ in at most 4 of these bits and whose grids differ by at most
    `max_shifted` once one was brightened, saturated or turned in hue as a whole (`shifted_pairs`); None: not.

    The hash is of grey levels and takes skin tones and flags for duplicates; the grid tells them apart. Defaults were
    chosen on one half of OpenMoji; on the other, with one picture in ten varied: recall 0.936 at precision 0.904, and
    over all 0.960 at 0.909, where the hash alone has a precision of 0.13. With pictures of shifted colours among them
    recall over all is 0.923 at 0.904, and 0.776 at 0.890 without `max_shifted` (benchmarks/near_duplicates.py).
    """

    max_distance: Bits = 16
    max_colour: Levels = 22.0
    max_shifted: Levels | None = 12.0

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)

    @property
    def shift_distance(self) -> int:
        """Bits in which hashes of pictures of shifted colours may differ."""
        return min(SHIFTED_BITS, self.max_distance)

    @property
    def shift_masks(self) -> Words:
        """The masks (t, 1) under one of which the hashes of such pictures agree."""
        return pairs_of_blocks(self.shift_distance + 2)


@dataclass(frozen=True, kw_only=True)
class ComparedLooks:
    """The looks of n pictures, compared two by two: perceptual hashes `bits` (n,) and `colours` (n, 768)."""

    bits: Words
    colours: Bytes
    rule: Perceptual

    def equal_runs(self, usable: Flags) -> tuple[Pairs, Ints]:
        """See lsh.equal_runs."""
        return equal_runs([self.bits, self.colours], usable)

    def equal_weights(self, left: Ints, _right: Ints) -> Floats:
        """The weights (m,) of pairs of equal looks."""
        return np.zeros(len(left))

    def accepted(self, left: Ints, right: Ints) -> tuple[Ints, Ints, Floats]:
        """The pairs that are duplicates after one change of colour, and their weights."""
        limit = np.inf if self.rule.max_shifted is None else self.rule.max_shifted
        is_shifted = differ_by_shift(self.colours, left, right, self.rule.max_colour, limit)
        left, right = left[is_shifted], right[is_shifted]
        return left, right, self.measure(left, right) + _AFTER_UNSHIFTED

    def measure(self, left: Ints, right: Ints) -> Floats:
        """The differing bits (m,) of the hashes of pairs: the smaller, the stronger the link."""
        return hash_distances(self.bits, left, right)

    def colour_of(self, left: Ints, right: Ints) -> Floats:
        """The colour distance (m,) of pairs."""
        return colour_distances(self.colours, left, right)


@dataclass(frozen=True, kw_only=True)
class EqualPictures:
    """n pictures by number: equal ones have one."""

    numbers: Ints

    def equal_runs(self, usable: Flags) -> tuple[Pairs, Ints]:
        """See lsh.equal_runs."""
        return equal_runs([self.numbers], usable)

    def equal_weights(self, left: Ints, _right: Ints) -> Floats:
        """The weights (m,) of links."""
        return np.zeros(len(left))

    def measure(self, left: Ints, _right: Ints) -> Floats:
        """The distances (m,): bytes are equal."""
        return np.zeros(len(left))


def deduplicate_exact(batch: pa.Table) -> Duplicates:
    """Merge pairs with equal bytes: same_url where the URL is the survivor's, else exact_duplicate; distance 0.

    `batch`: uid, url, image_id, width, height and, optionally, score. A null image_id has no duplicates.
    """

    def search(batch: pa.Table, _places: Ints | slice) -> Duplicates:
        pictures = EqualPictures(numbers=value_numbers(column(batch, "image_id", pa.string())))
        (left, right), _ = pictures.equal_runs(pictures.numbers >= 0)
        duplicates = DuplicatePairs(left=left, right=right, measure=pictures.measure)
        return merge(batch, duplicates, kind="exact", reason=partial(_exact_reasons, column(batch, "url", pa.string())))

    return in_uid_order(batch, search)


def deduplicate_perceptual(batch: pa.Table, rule: Perceptual) -> Duplicates:
    """Merge pairs that look alike as near_duplicate; the distance is in bits.

    `batch`: uid, width, height, phash, colour and, optionally, score. Rows with a null phash or colour have no
    duplicates. The kind of an edge is perceptual, or perceptual_brightness, _saturation or _hue, and its colour then
    what differs after that change.
    """

    def search(batch: pa.Table, _places: Ints | slice) -> Duplicates:
        hashes = column(batch, "phash", pa.uint64())
        bits = hashes.fill_null(0).to_numpy()
        colours, usable = picture_colours(batch)
        usable &= hashes.is_valid().to_numpy(zero_copy_only=False)
        looks = ComparedLooks(bits=bits, colours=colours, rule=rule)
        equal_pairs, firsts = looks.equal_runs(usable)
        forest = Forest(batch.num_rows)
        forest.add(*equal_pairs, looks.equal_weights(*equal_pairs))
        grids = colours if len(firsts) == len(colours) else colours[firsts]
        for left, right in colour_pairs(grids, rule.max_colour, bits[firsts], rule.max_distance):
            forest.add(firsts[left], firsts[right], looks.measure(firsts[left], firsts[right]))
        if rule.max_shifted is not None:
            shifted = shifted_pairs(grids, rule.max_colour, rule.max_shifted, bits[firsts], rule.shift_distance)
            for left, right in shifted:
                weight = looks.measure(firsts[left], firsts[right]) + _AFTER_UNSHIFTED
                forest.add(firsts[left], firsts[right], weight)
        left, right = forest.edges()
        duplicates = DuplicatePairs(
            left=left, right=right, measure=looks.measure, colour=looks.colour_of, notes={"search": "exact"}
        )
        merged = merge(batch, duplicates, kind="perceptual", reason="near_duplicate")
        return replace(merged, edges=edges_with_shifts(merged.edges, colours, left, right, rule))

    return in_uid_order(batch, search)


def edges_with_shifts(edges: pa.Table, colours: Bytes, left: Ints, right: Ints, rule: Perceptual) -> pa.Table:
    """Return `edges`, of the rows `left` and `right`, with the change of those that are beyond the limit."""
    kinds, levels = edges["kind"].to_pylist(), edges["colour"].to_numpy().copy()
    shifted = np.flatnonzero(levels > rule.max_colour)
    if rule.max_shifted is None or not len(shifted):
        return edges
    family, levels[shifted] = find_shifts(colours, left[shifted], right[shifted], rule.max_shifted)
    for place, name in zip(shifted.tolist(), family.tolist(), strict=True):
        kinds[place] = f"perceptual_{FAMILIES[name]}"
    for name, values in (("kind", pa.array(kinds, pa.string())), ("colour", pa.array(levels))):
        edges = edges.set_column(edges.schema.get_field_index(name), name, values)
    return edges


def _exact_reasons(urls: pa.Array, survivors: Ints) -> pa.Array:
    return exact_reasons(urls, urls.take(pa.array(survivors)))


def exact_reasons(urls: pa.Array, survivor_urls: pa.Array) -> pa.Array:
    """Return why pairs with the bytes of their survivors go (n,): same_url, or exact_duplicate."""
    equal = pc.fill_null(pc.equal(urls, survivor_urls), False)
    return pc.if_else(equal, "same_url", "exact_duplicate")


class Exact(Kind):
    """Pictures of equal bytes; a pair without a picture has no duplicates."""

    step, edge = "deduplicate_exact", "exact"

    def contents(self, pairs: pa.Table, features: npt.NDArray[np.float16] | None) -> Contents:  # noqa: ARG002 - of others
        """See Kind."""
        images = column(pairs, "image_id", pa.string())
        columns = uid_columns(pairs) | {"image": images, "url": column(pairs, "url", pa.string())}
        usable = images.is_valid().to_numpy(zero_copy_only=False)
        return Contents(columns=columns, keys=text_keys(images.fill_null("").to_pylist()), usable=usable)

    def compared(self, stored: StoredRows, rows: Words) -> EqualPictures:
        """See Kind."""
        return EqualPictures(numbers=value_numbers(stored.column("image", rows)))

    def reasons(self, stored: StoredRows, merged: Words, survivors: Words) -> pa.Array:
        """See Kind."""
        rows, places = np.unique(survivors, return_inverse=True)
        survivor_urls = stored.column("url", rows).take(pa.array(places))
        return exact_reasons(stored.column("url", merged), survivor_urls).cast(pa.string())


@dataclass(frozen=True, kw_only=True)
class Looks(Kind):
    """Looks by a rule: those with near colours meet in cells, those with shifted colours by blocks of their hashes."""

    rule: Perceptual
    step, edge, reason, looks = "deduplicate_perceptual", "perceptual", "near_duplicate", ("phash", "colour")

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

    def contents(self, pairs: pa.Table, features: npt.NDArray[np.float16] | None) -> Contents:  # noqa: ARG002 - of others
        """See Kind."""
        hashes = column(pairs, "phash", pa.uint64())
        colours, usable = picture_colours(pairs)
        usable &= hashes.is_valid().to_numpy(zero_copy_only=False)
        bits = hashes.fill_null(0).to_numpy()
        columns = uid_columns(pairs) | {"phash": bits, "colour": colours}
        return Contents(columns=columns, keys=array_keys([bits, colours]), usable=usable)

    def compared(self, stored: StoredRows, rows: Words) -> ComparedLooks:
        """See Kind."""
        return ComparedLooks(bits=stored.numbers("phash", rows), colours=self.sketches(stored, rows), rule=self.rule)

    def sketches(self, stored: StoredRows, rows: Words) -> np.ndarray:
        """See Kind."""
        return stored.numbers("colour", rows)

    def codes(self, stored: StoredRows, rows: Words) -> Words:
        """See Kind."""
        return np.asarray(stored.numbers("phash", rows), dtype=np.uint64).reshape(-1, 1)

    def coded(self, stored: StoredRows, rows: Words) -> Ints:
        """See Kind: those whose colours tell enough."""
        return telling_rows(self.sketches(stored, rows))

    def in_cell(self, stored: StoredRows, rows: Words, forest: NumberedForest, lies: Flags) -> None:
        """See Kind."""
        looks = self.compared(stored, rows)
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
