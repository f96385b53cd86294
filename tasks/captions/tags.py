"""Captions out of tags by analogy to example pairs (McKee et al. 2023, language-guided music recommendation).

Differs from the paper: an instruction model answers with JSON, and tags are left out by hash, at a stated share, so
that captions are not all of one form (text dropout).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from evenly.curation.draws import draw
from evenly.descriptions.captions.asked import ChatCaptions, Question, each_row, made
from evenly.descriptions.captions.questions import EXAMPLES, Example, about_tags
from evenly.storage.records import content_hash
from evenly.tasks.captions.captioner import Captioner, Shown, ask_captions
from evenly.tasks.chat.endpoints import endpoint_identity
from evenly.tasks.run import Run

_LONGEST_TAG = 100


@dataclass(frozen=True, kw_only=True)
class TagsRule(ChatCaptions):
    """A chat model that is told tags: the values of `columns` of the pool, lists or text parted by commas.

    `region_labels` is a column as well, where the recipe has `regions`.

    examples: pairs of tags and caption in your words, as `- {tags: [dog, beach], caption: A dog on a beach.}`; a few of
    evenly's own without them. dropout: the share of tags left out, but for the first.
    """

    base_url: str = "embedded"
    model: str = "smollm2"
    columns: tuple[str, ...]
    examples: tuple[Example, ...] = EXAMPLES
    dropout: Annotated[float, Ge(0), Le(1)] = 0.0
    most: Annotated[int, Ge(1), Le(50)] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.columns:
            raise ValueError("columns must name the columns of the pool that hold tags; got none")


def tags_of(values: Sequence[object], *, most: int) -> tuple[str, ...]:
    """The tags in the values of a pair's columns, in order, each once, at most `most`."""
    tags: list[str] = []
    for value in values:
        parts = value if isinstance(value, list | tuple) else str(value).split(",") if value is not None else ()
        tags += [" ".join(str(part).split())[:_LONGEST_TAG] for part in parts if part is not None]
    return tuple(dict.fromkeys(tag for tag in tags if tag))[:most]


def keep_tags(tags: Sequence[str], *, uid: str, sample: int, dropout: float) -> tuple[str, ...]:
    """The tags of a pair that are left: the first, and each other unless it is drawn by hash at `dropout`."""
    return tuple(
        tag
        for number, tag in enumerate(tags)
        if not number or draw(seed=sample, step="tags", uid=uid, entry=tag) >= dropout
    )


def _offer(run: Run, rule: TagsRule, shown: Shown) -> pa.Table:
    tagged = np.array([bool(tags) for _, tags in _tagged(rule, shown)])
    bare = np.flatnonzero(~tagged).tolist()
    untagged = made(shown.pairs, places=bare, captions=[None] * len(bare), refused=["no_tags"] * len(bare))

    def questions() -> Iterator[Question]:
        for place, (uid, tags) in enumerate(_tagged(rule, shown)):
            for sample in range(rule.samples if tags else 0):
                kept = keep_tags(tags, uid=uid, sample=sample, dropout=rule.dropout)
                yield Question(place=place, request=about_tags(kept, rule.examples, rule.sampling, sample=sample))

    if not tagged.any():
        return untagged
    answers = ask_captions(run, rule, shown, questions(), int(tagged.sum()) * rule.samples)
    return pa.concat_tables([answers, untagged])


def _tagged(rule: TagsRule, shown: Shown) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The uid and the tags of each pair."""
    for row in each_row(shown.pairs.select(["uid", *rule.columns])):
        yield row["uid"], tags_of([row[name] for name in rule.columns], most=rule.most)


def _identity(run: Run, rule: TagsRule) -> str:
    examples = [{"tags": list(example.tags), "caption": example.caption} for example in rule.examples]
    return f"{endpoint_identity(run, rule)} {content_hash({'examples': examples})}"


TAGS = Captioner(
    rule=TagsRule, offer=_offer, identity=_identity, columns=lambda rule: rule.columns, reads_pictures=False
)
