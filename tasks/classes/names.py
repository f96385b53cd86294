"""Counts of the names of classes in the captions of a pool, and the name that is most frequent (REAL)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Protocol

import pyarrow as pa

from evenly.curation.concepts.name_frequency import NameCounter, most_frequent_name
from evenly.descriptions.class_list import ClassList
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.source import read_captions
from evenly.storage.samples import BuildSamples
from evenly.tasks.classes.describe import accepted_texts
from evenly.tasks.classes.texts import SYNONYMS
from evenly.tasks.rebuild.collect import hash_sources
from evenly.tasks.run import Records, Run
from evenly.tasks.splits import build_inputs
from evenly.tasks.step import Step


class PoolOfCaptions(Protocol):
    """A rule that names the build whose captions are read; None: those of the run's sources."""

    @property
    def build(self) -> str | None:
        """The build."""


@dataclass(frozen=True, kw_only=True)
class NamesRule:
    """The classes whose names are counted, in the captions of a `build`; None: of the run's sources."""

    class_list: ClassList
    build: str | None = None

    def stored(self) -> dict[str, Any]:
        """The rule as the ledger stores it: the list by its name, for its text stands with the description."""
        return {"list": self.class_list.name, "build": self.build}


def count_names(run: Run, upstream: Records, rule: NamesRule) -> StepOutput:
    """Count the captions that hold each class name and each of its accepted synonyms, by the description in `upstream`.

    Captions are all those of the build's pool, or without a build those of the run's sources. Tables: `names` (class,
    name, captions; the class's own name first), `most_frequent` (class, captions that hold any of its names, strict,
    relaxed: the name that each of REAL's rules chooses). Notes: `captions_searched`.
    """
    classes = rule.class_list.classes
    texts = accepted_texts(run, upstream[0])
    names = [[name, *(text for method in SYNONYMS for text in texts.get(method, {}).get(name, ()))] for name in classes]
    counter = NameCounter(names)
    frequencies = reduce(add, map(counter.count, pool_captions(run, rule)), counter.count(pa.array([], pa.string())))
    rows = [
        {"class": name, "name": text, "captions": count}
        for name, counts in zip(classes, frequencies.of_names, strict=True)
        for text, count in counts.items()
    ]
    chosen = [
        {
            "class": name,
            "captions": int(total),
            "strict": most_frequent_name(name, counts, rule="strict"),
            "relaxed": most_frequent_name(name, counts, rule="relaxed"),
        }
        for name, counts, total in zip(classes, frequencies.of_names, frequencies.of_concepts, strict=True)
    ]
    tables = {"names": pa.Table.from_pylist(rows), "most_frequent": pa.Table.from_pylist(chosen)}
    return StepOutput(tables=tables, notes={"list": rule.class_list.name, "captions_searched": frequencies.captions})


def pool_captions(run: Run, rule: PoolOfCaptions) -> Iterator[pa.Array]:
    """All captions of the pool of the rule's build in stretches, or without one those of the run's sources."""
    if rule.build is None:
        return (captions for source in run.sources for captions in read_captions(source))
    manifest = Builds(run.workspace).read(rule.build)
    return iter(BuildSamples(run.workspace, manifest).read(["caption"])["caption"].chunks)


def pool_hash(run: Run, upstream: Records, rule: PoolOfCaptions) -> dict[str, str]:
    """The pool that `pool_captions` reads, by its content."""
    if rule.build is None:
        return hash_sources(run, upstream, rule)
    return build_inputs(run, rule.build)


COUNT_NAMES = Step(name="count_names", rule=NamesRule, stored=NamesRule.stored, judge=count_names, inputs=pool_hash)
