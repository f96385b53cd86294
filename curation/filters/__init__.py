"""Filters: each measures one value per row and judges it against a rule.

`measure` takes a batch and a rule and returns one value per row, in order; `judge` takes these values and the rule
and returns `Decisions`. Values are stored, so a threshold can move without measuring again. A new filter is one
file here, one line in a dict below, one test file and one row of docs/methods.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.decisions import Decisions
from curation.filters.caption_boilerplate import CaptionBoilerplate, judge_boilerplate, measure_boilerplate
from curation.filters.caption_language import CaptionLanguage, judge_language, measure_language
from curation.filters.caption_length import CaptionLength, judge_caption_length, measure_caption_length
from curation.filters.image_aspect import ImageAspect, judge_aspect, measure_aspect
from curation.filters.image_size import ImageSize, judge_image_size, measure_image_size


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A rule's class, the two functions that use it and the columns that `measure` reads."""

    rule: type
    measure: Callable[[pa.Table, Any], pa.Array]
    judge: Callable[[pa.Array, Any], Decisions]
    columns: tuple[str, ...]


TEXT_FILTERS: dict[str, Filter] = {
    "caption_length": Filter(
        rule=CaptionLength, measure=measure_caption_length, judge=judge_caption_length, columns=("caption",)
    ),
    "caption_boilerplate": Filter(
        rule=CaptionBoilerplate, measure=measure_boilerplate, judge=judge_boilerplate, columns=("caption",)
    ),
    "caption_language": Filter(
        rule=CaptionLanguage, measure=measure_language, judge=judge_language, columns=("caption",)
    ),
}

IMAGE_FILTERS: dict[str, Filter] = {
    "image_size": Filter(
        rule=ImageSize, measure=measure_image_size, judge=judge_image_size, columns=("width", "height")
    ),
    "image_aspect": Filter(rule=ImageAspect, measure=measure_aspect, judge=judge_aspect, columns=("width", "height")),
}
