"""Mix sources: hold each source of the recipe to its weight, quota or share, before anything is downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from evenly.curation.balance.source_mixing import (
    SourceCounts,
    SourceCut,
    SourceRule,
    count_sources,
    cut_sources,
    draws_in_bins,
    mix_by,
    source_table,
)
from evenly.storage.ledger import StepOutput
from evenly.tasks.moves import Each, Moves
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, plain_rule


@dataclass(frozen=True, kw_only=True)
class MixRule:
    """The rule of each source that has one, by the source's name."""

    sources: Mapping[str, SourceRule]


@dataclass(frozen=True, kw_only=True)
class MixFacts:
    """Where the kept pairs of each source end, and which source bounds a mix of shares."""

    cuts: Mapping[str, SourceCut]
    limiting: str | None


def count_pool(_run: Run, upstream: Records, rule: MixRule, each: Each) -> MixFacts:
    """Count the pairs of each source by their draws, and find the draw at which each ends."""
    counts: dict[str, SourceCounts] = {}
    for part in each.partitions("counting sources", partial(_counts, upstream, rule)):
        counts = {name: counts[name] + part[name] if counts else part[name] for name in part}

    def draws_of(bins: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
        parts = each.partitions("finding thresholds", partial(_draws_in, upstream, bins))
        return {name: [drawn for part in parts for drawn in part[name]] for name in bins}

    cuts, limiting = cut_sources(rule.sources, counts, draws_of)
    return MixFacts(cuts=cuts, limiting=limiting)


def mix_pool(run: Run, upstream: Records, rule: MixRule, facts: MixFacts) -> StepOutput:
    """Decide each pair by its source: the value is its draw, `mix_threshold` what that must be below."""
    uids, sources = _pairs(run, upstream)
    decisions, thresholds = mix_by(uids, sources, rule.sources, facts.cuts, seed=run.seed)
    return StepOutput(decisions=decisions.to_table(uids).append_column("mix_threshold", thresholds))


def mixed_sources(_run: Run, _upstream: Records, rule: MixRule, facts: MixFacts) -> StepOutput:
    """Table `sources`: per source its rule, pairs, threshold and how many are kept."""
    notes = {} if facts.limiting is None else {"limiting_source": facts.limiting}
    return StepOutput(tables={"sources": source_table(rule.sources, facts.cuts)}, notes=notes)


def _counts(upstream: Records, rule: MixRule, run: Run) -> dict[str, SourceCounts]:
    return count_sources(*_pairs(run, upstream), rule.sources, seed=run.seed)


def _draws_in(upstream: Records, bins: Mapping[str, int], run: Run) -> dict[str, list[tuple[float, str]]]:
    return draws_in_bins(*_pairs(run, upstream), bins, seed=run.seed)


def _pairs(run: Run, upstream: Records) -> tuple[pa.Array, pa.Array]:
    pairs = run.ledger.alive(upstream, ["source"])
    return pairs["uid"].combine_chunks(), pairs["source"].combine_chunks()


def _stored(rule: MixRule) -> dict[str, Any]:
    """The rules, each with the fields that are given."""
    sources = plain_rule(rule)["sources"].items()
    return {
        "sources": {
            name: {key: value for key, value in rule_of_source.items() if value is not None}
            for name, rule_of_source in sources
        }
    }


MIX_SOURCES = Step(
    name="mix_sources",
    rule=MixRule,
    stored=_stored,
    moves=Moves(resolve=count_pool, judge=mix_pool, shared=mixed_sources),
    seeded=True,
)
