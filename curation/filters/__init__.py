"""Filters: each measures one value per row and judges it against a rule.

`measure` takes a batch and a rule and returns one value per row, in order; `judge` takes these values and the rule
and returns `Decisions`. Values are stored, so a threshold can move without measuring again. A filter with a `lookup` is
also handed what the caller read for it (a list of words, WordNet), and its rule has a field `sha256` that names this.
One that finds more than its value also has `measure_more`, whose columns are stored beside the value.
A new filter is one file here, one line in a dict below, one test file and one row of docs/methods.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from evenly.curation.decisions import Decisions
from evenly.curation.filters.caption_blocklist import CaptionBlocklist, judge_blocklist, measure_blocklist
from evenly.curation.filters.caption_boilerplate import CaptionBoilerplate, judge_boilerplate, measure_boilerplate
from evenly.curation.filters.caption_characters import CaptionCharacters, judge_characters, measure_characters
from evenly.curation.filters.caption_entities import CaptionEntities, judge_entities, measure_entities
from evenly.curation.filters.caption_language import (
    CaptionLanguage,
    judge_language,
    measure_language,
    measure_languages,
)
from evenly.curation.filters.caption_length import CaptionLength, judge_caption_length, measure_caption_length
from evenly.curation.filters.caption_repeats import CaptionRepeats, judge_repeats, measure_repeats
from evenly.curation.filters.image_aspect import ImageAspect, judge_aspect, measure_aspect
from evenly.curation.filters.image_size import ImageSize, judge_image_size, measure_image_size


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A rule's class, the two functions that use it and the columns that `measure` reads.

    lookup: whether `measure` takes a third argument, which the caller reads as the rule says.
    measure_more: takes what `measure` takes; returns its values as the column `value`, and further columns.
    reasons: all that it gives, of a filter of pictures.
    """

    rule: type
    measure: Callable[..., pa.Array]
    judge: Callable[[pa.Array, Any], Decisions]
    columns: tuple[str, ...]
    lookup: bool = False
    measure_more: Callable[..., pa.Table] | None = None
    reasons: tuple[str, ...] = ()

    def measure_all(self, batch: pa.Table, rule: object, *read: object) -> tuple[pa.Array, dict[str, pa.Array]]:
        """Return the values of `measure`, and the further columns by name; none where it finds no more."""
        if self.measure_more is None:
            return self.measure(batch, rule, *read), {}
        table = self.measure_more(batch, rule, *read)
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        return columns.pop("value"), columns


TEXT_FILTERS: dict[str, Filter] = {
    "caption_length": Filter(
        rule=CaptionLength, measure=measure_caption_length, judge=judge_caption_length, columns=("caption",)
    ),
    "caption_characters": Filter(
        rule=CaptionCharacters, measure=measure_characters, judge=judge_characters, columns=("caption",)
    ),
    "caption_boilerplate": Filter(
        rule=CaptionBoilerplate, measure=measure_boilerplate, judge=judge_boilerplate, columns=("caption",)
    ),
    "caption_language": Filter(
        rule=CaptionLanguage,
        measure=measure_language,
        judge=judge_language,
        columns=("caption",),
        measure_more=measure_languages,
    ),
    "caption_repeats": Filter(rule=CaptionRepeats, measure=measure_repeats, judge=judge_repeats, columns=("caption",)),
    "caption_blocklist": Filter(
        rule=CaptionBlocklist, measure=measure_blocklist, judge=judge_blocklist, columns=("caption",), lookup=True
    ),
    "caption_entities": Filter(
        rule=CaptionEntities, measure=measure_entities, judge=judge_entities, columns=("caption",), lookup=True
    ),
}

IMAGE_FILTERS: dict[str, Filter] = {
    "image_size": Filter(
        rule=ImageSize,
        measure=measure_image_size,
        judge=judge_image_size,
        columns=("width", "height"),
        reasons=("too_small", "not_measured"),
    ),
    "image_aspect": Filter(
        rule=ImageAspect,
        measure=measure_aspect,
        judge=judge_aspect,
        columns=("width", "height"),
        reasons=("aspect", "not_measured"),
    ),
}
