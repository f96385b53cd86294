"""Mix sources: hold each source of the recipe to its weight, quota or share, before anything is downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass

from evenly.curation.balance.parts import SourceMixing
from evenly.curation.balance.source_mixing import SourceCut, SourceRule, source_table
from evenly.storage.ledger import StepOutput
from evenly.tasks.each import Each, EachLedger, Records
from evenly.tasks.run import Run
from evenly.tasks.step import Step


@dataclass(frozen=True, kw_only=True)
class MixRule:
    """The rule of each source that has one, by the source's name."""

    sources: Mapping[str, SourceRule]


@dataclass(frozen=True, kw_only=True)
class MixFacts:
    """Where the kept pairs of each source end, and which source bounds a mix of shares."""

    mixing: SourceMixing
    cuts: Mapping[str, SourceCut]
    limiting: str | None


def count_pool(run: Run, upstream: Records, rule: MixRule, each: Each) -> MixFacts:
    """Count the pairs of each source by their draws, and find the draw at which each ends."""
    mixing = SourceMixing(upstream=upstream, rules=rule.sources, seed=run.seed)
    cuts, limiting = mixing.cuts(EachLedger(each=each))
    return MixFacts(mixing=mixing, cuts=cuts, limiting=limiting)


def mix_pool(run: Run, _upstream: Records, _rule: MixRule, facts: MixFacts) -> StepOutput:
    """Decide each pair by its source: the value is its draw, `mix_threshold` what that must be below."""
    return StepOutput(decisions=facts.mixing.decided(facts.cuts, run.ledger))


def mixed_sources(_run: Run, _upstream: Records, rule: MixRule, facts: MixFacts) -> StepOutput:
    """Table `sources`: per source its rule, pairs, threshold and how many are kept."""
    notes = {} if facts.limiting is None else {"limiting_source": facts.limiting}
    return StepOutput(tables={"sources": source_table(rule.sources, facts.cuts)}, notes=notes)


MIX_SOURCES = Step(
    name="mix_sources",
    rule=MixRule,
    resolve=count_pool,
    judge=mix_pool,
    shared=mixed_sources,
    seeded=True,
)
