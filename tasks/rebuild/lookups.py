"""What filters look up, read from files: lists of words, WordNet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from evenly.curation.filters import TEXT_FILTERS
from evenly.curation.filters.caption_blocklist import BlockedWords, CaptionBlocklist
from evenly.curation.filters.caption_entities import CaptionEntities, FirstSenses
from evenly.storage.files.blocklists import check_hash, read_blocklist
from evenly.storage.files.wordnet_senses import read_senses
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Rule


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """What a filter's `measure` is handed, and the sha256 of the files that it was read from."""

    content: Any
    sha256: str


def blocked_words(run: Run, rule: CaptionBlocklist) -> Lookup:
    """The phrases of a list of words."""
    found = read_blocklist(Path(run.locate(rule.file)), sha256=rule.sha256)
    return Lookup(content=BlockedWords.of(found.entries), sha256=found.sha256)


def first_senses(run: Run, rule: CaptionEntities) -> Lookup:
    """WordNet's first synsets and those of ImageNet-21k."""
    found = _senses(run.locate(rule.wordnet))
    check_hash(rule.wordnet, found.sha256, rule.sha256)
    return found


@lru_cache(maxsize=1)
def _senses(what: str) -> Lookup:
    found = read_senses(what)
    content = FirstSenses(first=found.first, exceptions=found.exceptions, entities=found.entities)
    return Lookup(content=content, sha256=found.sha256)


LOOKUPS: Mapping[str, Callable[[Run, Any], Lookup]] = {
    "caption_blocklist": blocked_words,
    "caption_entities": first_senses,
}


def lookup_hashes(run: Run, _before: Records, rule: Rule) -> dict[str, str]:
    """The hash of what each filter of a rule looks up."""
    return {name: LOOKUPS[name](run, TEXT_FILTERS[name].rule(**rule[name])).sha256 for name in LOOKUPS if name in rule}
