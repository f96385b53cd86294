"""The limits of a new recipe: of what is broken alone, with what stricter ones would drop beside them."""

import re

import pyarrow.compute as pc
import yaml

from evenly.curation.filters import IMAGE_FILTERS, TEXT_FILTERS
from evenly.flows.recipe.pools.losses import PoolSample, loss_of
from evenly.tasks.run import Run

_LINE = re.compile(r"^    (\w+): (\{.*\})$", re.MULTILINE)
_MOST_DROPPED = 0.1  # of a sample, by a filter that a new recipe has on
_BROKEN = {"caption_length": "{min_words: 1, max_words: null}", "image_size": "{min_side: 8}"}
"""Nothing is to be read in no word, nor seen in fewer pixels."""
_STRICTER = {
    "caption_length": ("min_words: 2", "min_words: 3", "max_words: 60, min_words: 1"),
    "image_size": ("min_side: 64", "min_side: 200"),
}


def with_limits(text: str, sample: PoolSample, run: Run) -> str:
    """A template with limits that fit a pool, and counts above them; what it cannot tell of pictures stays."""

    def fitted(line: re.Match[str]) -> str:
        name, values = line.groups()
        if name not in TEXT_FILTERS and not (name in IMAGE_FILTERS and sample.has_sizes):
            return line[0]
        if name in _BROKEN:
            return f"    # {_counts(name, sample, run)}\n    {name}: {_BROKEN[name]}"
        dropped = loss_of(run, sample, name, yaml.safe_load(values)).dropped
        count = f"{dropped or 'none'} of {sample.pairs.num_rows:,} pairs"
        if dropped > _MOST_DROPPED * sample.pairs.num_rows:
            return f"    # {name}: {values}".ljust(50) + f"# off: it would drop {count}"
        return f"    {name}: {values}".ljust(50) + f"# drops {count}"

    return _LINE.sub(fitted, text)


def _counts(name: str, sample: PoolSample, run: Run) -> str:
    """The range of what a limit looks at, what it drops, and what stricter limits would."""
    kind = {**TEXT_FILTERS, **IMAGE_FILTERS}[name]
    ends = pc.min_max(kind.measure(sample.pairs, kind.rule())).as_py()
    noun = "words" if name in TEXT_FILTERS else "pixels on the shorter side"
    span = f" of {ends['min']:,.0f} to {ends['max']:,.0f} {noun}" if ends["max"] is not None else ""
    first = "" if sample.is_whole else "the first "
    dropped = loss_of(run, sample, name, yaml.safe_load(_BROKEN[name])).dropped
    stricter = {shown: loss_of(run, sample, name, yaml.safe_load(f"{{{shown}}}")).dropped for shown in _STRICTER[name]}
    would = [f"{shown} would drop {count:,}" for shown, count in stricter.items() if count > dropped]
    return "; ".join([f"{first}{sample.pairs.num_rows:,} pairs{span}: drops {dropped or 'none'}", *would])
