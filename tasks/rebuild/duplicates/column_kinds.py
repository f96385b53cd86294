"""Kinds of duplicates: pictures of equal bytes, that look alike, with near features; near captions; linked records."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats, Ints, Words
from evenly.curation.columns import column
from evenly.curation.duplicates.caption_duplicates import (
    COMPARISONS,
    STEP,
    CaptionTwins,
    ComparedCaptions,
    ShingleSets,
    bands_of,
    caption_contents,
    near_sets,
    search_notes,
)
from evenly.curation.duplicates.colours import colour_pairs, telling_rows
from evenly.curation.duplicates.image_duplicates import (
    ComparedLooks,
    Perceptual,
    Semantic,
    edges_with_shifts,
    exact_reasons,
    picture_colours,
)
from evenly.curation.duplicates.incremental import Pairs
from evenly.curation.duplicates.lsh import Signatures, array_keys, equal_runs, text_keys
from evenly.curation.duplicates.merging import Contents, NumberedForest, uid_columns
from evenly.curation.duplicates.near_rows import COMPARISONS as FEATURE_COMPARISONS
from evenly.curation.duplicates.near_rows import NearRows, has_direction
from evenly.curation.duplicates.record_linkage import Linked, mix
from evenly.curation.duplicates.sketches import VERSION, plan_search, sign_codes
from evenly.storage.feature_store import RowStore
from evenly.storage.records import content_hash
from evenly.tasks.encoders import encoder_identity, store_texts, text_rows
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures.encoded import rows_of_pictures
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
        return self.rule.masks

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


class Exact(Kind):
    """Pictures of equal bytes; a pair without a picture has no duplicates."""

    step, edge = "deduplicate_exact", "exact"

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        pairs = pairs_to_compare(run, upstream)
        images = column(pairs, "image_id", pa.string())
        columns = uid_columns(pairs)
        columns |= {"image": images, "url": column(pairs, "url", pa.string())}
        usable = images.is_valid().to_numpy(zero_copy_only=False)
        return Contents(columns=columns, keys=text_keys(images.fill_null("").to_pylist()), usable=usable)

    def compared(self, files: Rows, rows: Words) -> EqualPictures:
        """See Kind."""
        return EqualPictures(numbers=value_numbers(files.column("image", rows)))

    def reasons(self, files: Rows, merged: Words, survivors: Words) -> pa.Array:
        """See Kind."""
        rows, places = np.unique(survivors, return_inverse=True)
        survivor_urls = files.column("url", rows).take(pa.array(places))
        return exact_reasons(files.column("url", merged), survivor_urls).cast(pa.string())


def value_numbers(values: pa.Array) -> Ints:
    """A number (n,) for each value, one for equal values; -1 for null."""
    coded = values.dictionary_encode().indices.fill_null(-1)
    return np.asarray(coded.to_numpy(zero_copy_only=False), dtype=np.int64)


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


@dataclass(frozen=True, kw_only=True)
class NearFeatures(Kind):
    """Unit rows of a cosine: they meet in tables of sign sketches, which `seed` draws."""

    rule: Semantic | Linked

    @property
    def masks(self) -> Words:  # type: ignore[override]
        """See Kind."""
        return _masks(self.rule.min_cosine, self.rule.tables, self._key)

    @property
    def max_distance(self) -> int:  # type: ignore[override]
        """See Kind."""
        return plan_search(self.rule.min_cosine, self.rule.tables).max_distance

    @property
    def comparisons(self) -> int:  # type: ignore[override]
        """See Kind."""
        return FEATURE_COMPARISONS

    @property
    def _key(self) -> str:
        return f"{self.seed}|{self.step}"

    @property
    def max_colour(self) -> float | None:
        """How far colours may differ; None where they do not count."""
        return None

    @abstractmethod
    def vectors(self, run: Run, pairs: pa.Table) -> np.ndarray:
        """The rows (n, d) float16 of pairs."""

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        pairs = pairs_to_compare(run, upstream, () if self.max_colour is None else ("colour",))
        rows = self.vectors(run, pairs)
        columns, usable, compared = uid_columns(pairs) | {"vector": rows}, has_direction(rows), [rows]
        if self.max_colour is not None:
            columns["colour"], has_colours = picture_colours(pairs)
            usable, compared = usable & has_colours, [rows, columns["colour"]]
        return Contents(columns=columns, keys=array_keys(compared), usable=usable)

    def compared(self, files: Rows, rows: Words) -> NearRows:
        """See Kind."""
        return NearRows(
            rows=files.numbers("vector", rows),
            usable=np.ones(len(rows), np.bool_),
            min_cosine=self.rule.min_cosine,
            colours=None if self.max_colour is None else files.numbers("colour", rows),
            max_colour=255.0 if self.max_colour is None else self.max_colour,
        )

    def codes(self, run: Run, files: Rows, rows: Words) -> Words:  # noqa: ARG002 - of pictures, whose codes are kept
        """See Kind."""
        return sign_codes(files.numbers("vector", rows), np.arange(len(rows)), key=self._key)

    def notes(self, candidates: int) -> dict[str, Any]:
        """See Kind."""
        return plan_search(self.rule.min_cosine, self.rule.tables).notes(candidates)


@dataclass(frozen=True, kw_only=True)
class PictureFeatures(NearFeatures):
    """Features of pictures and, where they count, their colours."""

    rule: Semantic
    step, edge, reason = "deduplicate_semantic", "semantic", "semantic_duplicate"

    @property
    def max_colour(self) -> float | None:
        """See NearFeatures."""
        return self.rule.max_colour

    def vectors(self, run: Run, pairs: pa.Table) -> np.ndarray:
        """See NearFeatures."""
        return rows_of_pictures(run, _ids(pairs))

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        contents = super().contents(run, upstream)
        images = column(pairs_to_compare(run, upstream), "image_id", pa.string())
        return replace(contents, columns={**contents.columns, "image": images})

    def codes(self, run: Run, files: Rows, rows: Words) -> Words:
        """See Kind: those that are stored are read, others stored; not by several partitions, as one may write."""
        if run.bits:
            return super().codes(run, files, rows)
        store = RowStore(run.workspace, encoder_identity(run), f"codes-{content_hash([self._key, VERSION])[:16]}")
        ids = files.column("image", rows)
        missing = store.missing(ids)
        codes = super().codes(run, files, rows[pc.index_in(missing, ids).to_numpy()])
        store.append(missing, codes)
        return store.read(ids).astype(np.uint64, copy=False) if len(ids) else codes


@dataclass(frozen=True, kw_only=True)
class RecordFeatures(NearFeatures):
    """Features of pictures and captions, mixed."""

    rule: Linked
    step, edge, reason = "deduplicate_linked", "linked", "linked_record"

    def prepare(self, run: Run, upstream: Records) -> None:
        """Encode the captions that have no features yet, one partition after the other: the store has one writer."""

        def encode(part_run: Run) -> None:
            store_texts(part_run, _captions(part_run.ledger.alive(upstream, ["caption"])))

        InProcess(run=run).partitions("encoding captions", encode)

    def vectors(self, run: Run, pairs: pa.Table) -> np.ndarray:
        """See NearFeatures."""
        images = rows_of_pictures(run, _ids(pairs))
        return mix(images, text_rows(run, _captions(pairs)), weight=self.rule.weight)


def _ids(pairs: pa.Table) -> list[str]:
    ids: list[str] = column(pairs, "image_id", pa.string()).to_pylist()
    return ids


def _captions(pairs: pa.Table) -> list[str]:
    captions: list[str] = column(pairs, "caption", pa.string()).to_pylist()
    return captions


@lru_cache(maxsize=4)
def _masks(min_cosine: float, tables: int, key: str) -> Words:
    return plan_search(min_cosine, tables).masks(key)
