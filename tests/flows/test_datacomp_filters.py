"""The presets against pairs whose fate under DataComp's published rules was worked out by hand."""

from pathlib import Path

import pyarrow as pa
import pytest

from evenly.curation.align import Align, judge_alignment, resolve_threshold
from evenly.curation.decisions import first_of
from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.curation.filters.caption_entities import FirstSenses
from evenly.flows.recipe.curation import PRESETS
from evenly.storage.files.wordnets import DEBIAN, read_senses

FITTING = (640, 480)
BASIC = [  # caption, size, whether it stays
    ("a red apple", FITTING, True),
    ("red apple", FITTING, False),  # two words
    ("a b c", FITTING, False),  # five characters
    ("an old dog sleeps on the sofa", (200, 600), True),  # both limits are inclusive
    ("an old dog sleeps on the sofa", (199, 400), False),
    ("an old dog sleeps on the sofa", (200, 601), False),
    ("eine Zeichnung von einem Apfel", FITTING, False),
    ("a photo of the black dog " * 30, FITTING, True),  # there is no upper bound
]
CAPTIONS = [
    ("red apple", True),  # two words are enough for image_based
    ("apples", False),
    ("a cat", False),
    ("eine Zeichnung von einem Apfel", False),
]
ENTITIES = [
    ("a photo of a dog", True),
    ("a photo of two dogs", True),
    ("this is so very nice", False),
    ("the men were happy", False),  # WordNet's first sense of "men" is the work force
]


def kept(preset, section, known, batch, lookups=()):
    decided = []
    for name, values in PRESETS[preset][section].items():
        rule, read = known[name].rule(**values), dict(lookups).get(name, ())
        decided.append(known[name].judge(known[name].measure(batch, rule, *read), rule))
    return first_of(*decided).kept.to_pylist()


def captions_of(rows):
    return pa.table({"caption": [row[0] for row in rows]})


def test_basic():
    sizes = pa.table({name: pa.array([row[1][at] for row in BASIC]) for at, name in enumerate(("width", "height"))})
    texts = kept("datacomp_basic", "text", TEXT_FILTERS, captions_of(BASIC))
    images = kept("datacomp_basic", "image", IMAGE_FILTERS, sizes)
    assert [text and image for text, image in zip(texts, images, strict=True)] == [row[2] for row in BASIC]


@pytest.mark.parametrize("preset", ["datacomp_image_based", "datacomp_image_based_and_clip_score"])
def test_captions_of_image_based(preset):
    assert kept(preset, "text", TEXT_FILTERS, captions_of(CAPTIONS)) == [row[1] for row in CAPTIONS]


@pytest.mark.skipif(not Path(DEBIAN, "index.noun").is_file(), reason="wordnet-base is not installed")
def test_text_based():
    found = read_senses(DEBIAN)
    senses = FirstSenses(first=found.first, exceptions=found.exceptions, entities=found.entities)
    lookups = {"caption_entities": (senses,)}
    texts = kept("datacomp_text_based", "text", TEXT_FILTERS, captions_of(ENTITIES), lookups)
    assert texts == [row[1] for row in ENTITIES]


def test_clip_score_keeps_those_that_tie_with_the_score_after_the_share():
    rule = Align(**PRESETS["datacomp_clip_score"]["align"])
    scores = pa.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5, 0.8, 0.9])
    assert resolve_threshold(scores, rule) == 0.5
    assert judge_alignment(scores, 0.5).kept.to_pylist().count(True) == 6
