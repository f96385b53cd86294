"""A captioner that cheats: it strings concepts together for no reason but that each raises the first encoder's score.

It stands for captioners that were trained on the score that chooses among their captions. The nearest concept begins;
of the next nearest, the one that raises the cosine of the whole text the most is added, until none does or there are
`words` of them. What it has after each is a caption: sample 0 has one concept, sample 1 two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.descriptions.captions.asked import made
from evenly.features import cosine_scores, to_unit_rows, top_concepts
from evenly.storage.feature_store import FeatureStore
from evenly.tasks.captions.captioner import Captioner, Shown
from evenly.tasks.captions.retrieved import ConceptRows, concept_rows
from evenly.tasks.encoders import encoder_identity, open_encoder
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.run import Each, Records, Run


@dataclass(frozen=True, kw_only=True)
class GreedyRule:
    """Up to `words` of the `nearest` concepts of each picture."""

    words: Annotated[int, Ge(1), Le(20)] = 8
    nearest: Annotated[int, Ge(1), Le(200)] = 10


def _prepare(run: Run, upstream: Records, _rule: GreedyRule, _each: Each) -> ConceptRows:
    return concept_rows(run, upstream)


def _offer(run: Run, rule: GreedyRule, shown: Shown) -> pa.Table:
    concepts: ConceptRows = shown.facts
    ids = shown.pairs["image_id"].combine_chunks()
    images = image_rows(run, FeatureStore(run.workspace, encoder_identity(run), "images"), ids)
    nearest, _ = top_concepts(images, concepts.rows, min(rule.nearest, len(concepts.names)))
    names = [[concepts.names[place] for place in row] for row in nearest.tolist()]
    texts = [[of_picture[:1]] for of_picture in names]
    scores = _cosines(run, images, [samples[-1] for samples in texts])
    for length in range(1, rule.words):
        growing = [place for place, samples in enumerate(texts) if len(samples) == length]
        longer = [(place, [*texts[place][-1], name]) for place in growing for name in names[place]]
        longer = [(place, words) for place, words in longer if words[-1] not in words[:-1]]
        if not longer:
            break
        tried = _cosines(run, images[[place for place, _ in longer]], [words for _, words in longer])
        best: dict[int, list[str]] = {}
        for (place, words), score in zip(longer, tried, strict=True):
            if score > scores[place]:
                best[place], scores[place] = words, score
        for place, words in best.items():
            texts[place].append(words)
    return made(
        shown.pairs,
        places=[place for place, samples in enumerate(texts) for _ in samples],
        captions=[", ".join(words) for samples in texts for words in samples],
        samples=[number for samples in texts for number, _ in enumerate(samples)],
    )


def _cosines(run: Run, images: npt.NDArray[np.float16], texts: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    rows, _ = to_unit_rows(open_encoder(run).encode_texts([", ".join(words) for words in texts]))
    return cosine_scores(images, rows)


GREEDY = Captioner(rule=GreedyRule, offer=_offer, prepare=_prepare, reads_pictures=False)
