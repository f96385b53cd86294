"""A sample of the captions that name each concept, drawn by hash in one pass, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Ints
from evenly.curation.concepts.name_frequency import NamesHeld
from evenly.curation.draws import draws
from evenly.curation.errors import RuleError

STEP = "sample_captions"
MAX_WORDS = 100
MAX_CHARACTERS = 2_000
SAMPLE = pa.schema(
    [
        ("concept", pa.int64()),
        ("name", pa.int64()),
        ("caption", pa.string()),
        ("rows", pa.int64()),
    ]
)


@dataclass(kw_only=True)
class _OfConcept:
    """The sample of one concept so far: caption -> [draw, name, rows]; only draws below `below` can still be in it.

    `below` is 1 while nothing was left out.
    """

    captions: dict[str, list[float]] = field(default_factory=dict)
    below: float = 1.0
    too_long: int = 0

    def cut(self, size: int) -> None:
        """Keep the captions of the `size` smallest draws; of equal draws the first in the alphabet."""
        if len(self.captions) > size:
            kept = sorted(self.captions, key=lambda caption: (self.captions[caption][0], caption))[:size]
            self.captions = {caption: self.captions[caption] for caption in kept}
            self.below = self.captions[kept[-1]][0] if kept else 0.0


class CaptionSample:
    """Draws, for each concept, `size` of the different captions that hold one of its names.

    A draw is a hash of seed, concept and caption, so the sample does not depend on the order of the captions or on how
    they are cut. Captions of over 100 words (or 2,000 characters) are no part of it. A caption that stands in several
    rows is drawn once, with their number.
    """

    def __init__(self, concepts: Sequence[str], *, size: int, seed: int) -> None:
        if size < 0:
            raise RuleError(f"`size` must be at least 0; got {size}. Ask for fewer captions, not for less than none.")
        self._concepts = pa.array(concepts, pa.string())
        self._size, self._seed = size, seed
        self._of = [_OfConcept() for _ in concepts]

    @property
    def too_long(self) -> list[int]:
        """For each concept, the rows whose caption is too long to be judged."""
        return [concept.too_long for concept in self._of]

    @property
    def complete(self) -> list[bool]:
        """For each concept, whether the sample holds all its captions but those that are too long."""
        return [concept.below == 1.0 and len(concept.captions) <= self._size for concept in self._of]

    def add(self, captions: pa.Array, names_held: NamesHeld) -> None:
        """Take in captions (strings) and the names that each of them holds."""
        rows, owners, names = _first_names(names_held)
        texts = captions.cast(pa.string()).take(pa.array(rows))
        long = _too_long(texts)
        for owner, count in zip(*np.unique(owners[long], return_counts=True), strict=True):
            self._of[owner].too_long += int(count)
        fit = np.flatnonzero(~long)
        if not len(fit) or not self._size:
            self._of_none(owners[fit])
            return
        owners, names, texts = owners[fit], names[fit], texts.take(pa.array(fit))
        entries = self._concepts.take(pa.array(owners)).to_pylist()
        drawn = draws(seed=self._seed, step=STEP, uids=texts.to_pylist(), entries=entries)
        below = np.array([concept.below for concept in self._of])
        for row in np.flatnonzero(drawn <= below[owners]):
            concept = self._of[owners[row]]
            entry = concept.captions.setdefault(texts[row].as_py(), [drawn[row], names[row], 0])
            entry[2] += 1
            if len(concept.captions) > 2 * self._size:
                concept.cut(self._size)

    def table(self) -> pa.Table:
        """The sample as SAMPLE has it, by concept, then draw: `concept` and `name` are places, as in NamesHeld."""
        rows: list[tuple[int, int, str, int]] = []
        for number, concept in enumerate(self._of):
            concept.cut(self._size)
            ordered = sorted(concept.captions.items(), key=lambda item: (item[1][0], item[0]))
            rows += [(number, int(name), caption, int(count)) for caption, (_, name, count) in ordered]
        columns = zip(*rows, strict=True) if rows else [()] * len(SAMPLE)
        return pa.table([pa.array(list(column)) for column in columns], schema=None, names=SAMPLE.names).cast(SAMPLE)

    def _of_none(self, owners: npt.NDArray[np.integer]) -> None:
        """Mark concepts that have captions, of which none is drawn, as incomplete."""
        for owner in np.unique(owners):
            self._of[owner].below = 0.0


def _first_names(names_held: NamesHeld) -> tuple[Ints, Ints, Ints]:
    """Row, concept and name of each caption of a concept: the first of the concept's names that it holds."""
    order = np.lexsort((names_held.names, names_held.owners, names_held.rows))
    rows, owners, names = (
        np.asarray(part[order], dtype=np.int64) for part in (names_held.rows, names_held.owners, names_held.names)
    )
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = (rows[1:] != rows[:-1]) | (owners[1:] != owners[:-1])
    return rows[first], owners[first], names[first]


def _too_long(texts: pa.Array) -> Flags:
    words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts)))
    long = pc.or_(pc.greater(words, MAX_WORDS), pc.greater(pc.utf8_length(texts), MAX_CHARACTERS))
    return np.asarray(long.to_numpy(zero_copy_only=False), dtype=np.bool_)
