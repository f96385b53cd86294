"""Captions out of the concepts that lie nearest to a picture, by its features: no model beside the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.curation.concepts.equal_entries import english_plurals
from evenly.descriptions.captions.asked import made
from evenly.features import top_concepts
from evenly.tasks.captions.captioner import Captioner, Shown
from evenly.tasks.encoders import text_rows
from evenly.tasks.pictures.encoded import rows_of_pictures
from evenly.tasks.rebuild.concepts import COUNT_CONCEPTS, record_named
from evenly.tasks.run import Each, Records, Run

COUNTS = ("a", "two", "three", "several")


@dataclass(frozen=True, kw_only=True)
class RetrievedRule:
    """The `candidates` concepts of the pool that lie nearest to the picture.

    sentence: names (each concept's name is a caption) or template (the nearest ones in one phrase, "a dog, two trees
    and a ball", where the encoder also says how many it sees).
    """

    candidates: Annotated[int, Ge(1), Le(100)] = 3
    sentence: Literal["names", "template"] = "names"


@dataclass(frozen=True, kw_only=True, eq=False)
class ConceptRows:
    """The concepts that occur in the pool, their features (n, d), and those of each count of them (n, COUNTS, d)."""

    names: Sequence[str]
    rows: npt.NDArray[np.float16]
    counted: npt.NDArray[np.float16] | None = None


def counted_name(name: str, count: str) -> str:
    """The concept with its article or in the plural: "an apple", "two apples"."""
    if count == "a":
        return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
    return f"{count} {[f'{name}s', *english_plurals(name)][-1]}"


def concept_rows(run: Run, upstream: Records, *, counted: bool = False) -> ConceptRows:
    """The concepts that were counted in the pool."""
    names = run.ledger.table(record_named(upstream, COUNT_CONCEPTS.name), "counts", ["concept"])["concept"].to_pylist()
    rows = text_rows(run, names)
    if not counted:
        return ConceptRows(names=names, rows=rows)
    texts = [counted_name(name, count) for name in names for count in COUNTS]
    return ConceptRows(names=names, rows=rows, counted=text_rows(run, texts).reshape(len(names), len(COUNTS), -1))


def _prepare(run: Run, upstream: Records, rule: RetrievedRule, _engine: Each) -> ConceptRows:
    return concept_rows(run, upstream, counted=rule.sentence == "template")


def _offer(run: Run, rule: RetrievedRule, shown: Shown) -> pa.Table:
    concepts: ConceptRows = shown.facts
    ids = shown.pairs["image_id"].combine_chunks()
    distinct = ids.unique()
    if not len(distinct):
        return made(shown.pairs, places=[], captions=[])
    images = rows_of_pictures(run, distinct)
    nearest, _ = top_concepts(images, concepts.rows, min(rule.candidates, len(concepts.names)))
    by_picture = dict(zip(distinct.to_pylist(), map(_texts, images, nearest, [concepts] * len(images)), strict=True))
    texts = [by_picture[image_id] for image_id in ids.to_pylist()]
    return made(
        shown.pairs,
        places=[place for place, of_pair in enumerate(texts) for _ in of_pair],
        captions=[text for of_pair in texts for text in of_pair],
        samples=[sample for of_pair in texts for sample, _ in enumerate(of_pair)],
    )


def _texts(image: npt.NDArray[np.float16], nearest: npt.NDArray[np.int64], concepts: ConceptRows) -> list[str]:
    """The captions of a picture: names of its nearest concepts, or one phrase of them."""
    names = [concepts.names[place] for place in nearest.tolist()]
    if concepts.counted is None:
        return names
    scores = concepts.counted[nearest].astype(np.float64) @ image.astype(np.float64)
    counts = np.round(scores, 4).argmax(axis=1).tolist()
    phrases = [counted_name(name, COUNTS[count]) for name, count in zip(names, counts, strict=True)]
    return [" and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)]


RETRIEVED = Captioner(rule=RetrievedRule, offer=_offer, prepare=_prepare, reads_pictures=False)
