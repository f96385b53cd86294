"""Merge pairs whose pictures are the same: equal bytes, near perceptual hashes, or near features.

Duplicates become components. The survivor of a component is the pair with the largest picture (width times height),
then the highest score where a score column is given, then the smallest uid. Every other pair is merged into it, with
the distance measured between the two; a chain of duplicates can join two that are no duplicates themselves. Near hashes
are searched exactly, near features by seeded hashing with a measured recall: docs/deduplication.md says how and why.
Source: SemDeDup (Abbas et al. 2023, arXiv:2303.09540) for features, pHash for hashes; the colour grid is ours.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.bounds import Bits, Levels, Share, Tables, check_bounds
from evenly.curation.arrays import Bytes, Flags, Floats, Ints, Words
from evenly.curation.columns import column, fixed_rows
from evenly.curation.duplicates.colours import (
    FAMILIES,
    SHIFTED_BITS,
    colour_distances,
    colour_pairs,
    differ_by_shift,
    find_shifts,
    hash_distances,
    pairs_of_blocks,
    shifted_pairs,
)
from evenly.curation.duplicates.fingerprints import COLOUR_BYTES
from evenly.curation.duplicates.incremental import Pairs, PreviousSearch
from evenly.curation.duplicates.lsh import equal_runs
from evenly.curation.duplicates.merging import DuplicatePairs, Duplicates, Forest, in_uid_order, merge
from evenly.curation.duplicates.near_rows import NearRows, Sketch
from evenly.curation.encoder_name import StepModel
from evenly.curation.errors import ColumnsError, RuleError

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
class Semantic:
    """Duplicates have features of cosine at least `min_cosine` and colour grids within `max_colour` (see Perceptual).

    `max_colour` None: features alone decide. `tables` of hashing are searched; their bits follow from `min_cosine`.
    `model`: the encoder whose features they are; None: the build's.
    """

    min_cosine: Share = 0.95
    max_colour: Levels | None = 22.0
    tables: Tables = 64
    model: StepModel | None = None

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


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


def deduplicate_exact(batch: pa.Table) -> Duplicates:
    """Merge pairs with equal bytes: same_url where the URL is the survivor's, else exact_duplicate; distance 0.

    `batch`: uid, url, image_id, width, height and, optionally, score. A null image_id has no duplicates.
    """

    def search(batch: pa.Table, _places: Ints | slice) -> Duplicates:
        images = column(batch, "image_id", pa.string()).dictionary_encode()
        names = images.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        (left, right), _ = equal_runs([names], names >= 0)
        duplicates = DuplicatePairs(left=left, right=right, measure=lambda a, _: np.zeros(len(a)))
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


def deduplicate_semantic(
    batch: pa.Table,
    rows: npt.NDArray[np.float16],
    rule: Semantic,
    *,
    seed: int = 0,
    earlier: PreviousSearch | None = None,
    sketch: Sketch | None = None,
) -> Duplicates:
    """Merge pairs whose features nearly agree as semantic_duplicate; the distance is the cosine, 4 digits.

    `batch`: uid, width, height, colour (unless the rule looks at none) and, optionally, score; `rows` (n, d) unit
    features of the same pairs. `seed` draws the hashing. What an `earlier` search found is taken over where it still
    holds; unchanged are pairs with the same features and colour. `sketch` (see NearRows) is of rows in uid order.
    """
    if len(rows) != batch.num_rows:
        text = f"`rows` must be the features of the {batch.num_rows} pairs; got {len(rows)}. Read those of the batch."
        raise ColumnsError(text)

    def search(batch: pa.Table, places: Ints | slice) -> Duplicates:
        colours, usable = (
            (None, np.ones(batch.num_rows, np.bool_)) if rule.max_colour is None else picture_colours(batch)
        )
        near_rows = NearRows(
            rows=rows[places],
            usable=usable,
            min_cosine=rule.min_cosine,
            colours=colours,
            max_colour=255.0 if rule.max_colour is None else rule.max_colour,
            sketch=sketch,
        )
        uids = column(batch, "uid", pa.string())
        duplicates = near_rows.find(uids, tables=rule.tables, seed=seed, step="deduplicate_semantic", earlier=earlier)
        return merge(batch, duplicates, kind="semantic", reason="semantic_duplicate")

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


def picture_colours(batch: pa.Table) -> tuple[Bytes, Flags]:
    """Return colour grids (n, 768) and which rows have one."""
    valid = batch["colour"].is_valid().to_numpy() if "colour" in batch.column_names else np.empty(0, np.bool_)
    return fixed_rows(batch, "colour", pa.uint8(), COLOUR_BYTES), np.array(valid, dtype=np.bool_)


def _exact_reasons(urls: pa.Array, survivors: Ints) -> pa.Array:
    return exact_reasons(urls, urls.take(pa.array(survivors)))


def exact_reasons(urls: pa.Array, survivor_urls: pa.Array) -> pa.Array:
    """Return why pairs with the bytes of their survivors go (n,): same_url, or exact_duplicate."""
    equal = pc.fill_null(pc.equal(urls, survivor_urls), False)
    return pc.if_else(equal, "same_url", "exact_duplicate")
