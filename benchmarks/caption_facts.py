"""What pictures show, of scenes and of the demo's web, and a caption held against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from benchmarks.caption_measures import Held
from evenly.curation.concepts.matching import Matcher
from evenly.demo.captions import GOOD
from evenly.demo.draws import DEMO_SEED, demo_draw
from evenly.demo.labels import class_labels
from evenly.demo.names import Name, name_picture, same_subject, toneless
from evenly.demo.nouns import head_noun
from evenly.demo.scenes.scores import facts_of, score_caption


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a picture shows: `held` holds a caption against it.

    group: of pictures that are not independent. is_tested: whether it is reported on, and chooses nothing.
    """

    group: str
    is_tested: bool
    held: Callable[[str], Held]


def scene_facts(row: Mapping[str, Any]) -> Facts:
    """The facts of a row of truth.parquet; a caption errs by a wrong object, kind, count, colour or relation."""
    facts = facts_of(row)

    def held(caption: str) -> Held:
        score = score_caption(caption, facts)
        return Held(named=len(score.named), wrong=len(score.wrong), missed=len(score.missed), has_error=score.has_error)

    return Facts(group=row["objects"][0]["code"], is_tested=row["part"] == "test", held=held)


def demo_facts(truth: pa.Table) -> dict[str, Facts]:
    """By URL, the facts of the demo's pictures; a caption errs by the name of another picture."""
    names = {code: _names(code) for code in truth["code"].unique().to_pylist()}
    said_of_all = {word for text in GOOD for word in text.replace("{a}", "").split()}
    entries = sorted({name for of_picture in names.values() for name in of_picture if name not in said_of_all})
    matcher = Matcher(entries, "normalized", plurals=True)
    own = dict(zip(names, matcher.match(pa.array([" ; ".join(of) for of in names.values()])).to_pylist(), strict=True))
    return {row["url"]: _demo_facts(row["code"], set(own[row["code"]]), matcher) for row in truth.to_pylist()}


def _demo_facts(code: str, own: set[int], matcher: Matcher) -> Facts:
    def held(caption: str) -> Held:
        said = set(matcher.match(pa.array([caption]))[0].as_py())
        is_named, errs = bool(said & own), bool(said - own)
        return Held(named=is_named, wrong=errs, missed=not is_named, has_error=errs)

    subject = same_subject(code)
    return Facts(group=subject, is_tested=demo_draw(DEMO_SEED, "caption truth", subject) < 0.5, held=held)


def _names(code: str) -> list[str]:
    """The words that name a picture: its name and synonyms, the head noun of each, and its class where it has one."""
    name: Name = name_picture(code)
    texts = [text for text in (name.text, *name.synonyms) if text]
    labels = class_labels()
    row = labels.get(code) or labels.get(toneless(code))
    return list(dict.fromkeys([*texts, *(head_noun(text) for text in texts), *([row[0]] if row else [])]))
