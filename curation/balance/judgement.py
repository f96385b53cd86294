"""The judgements of the steps that mix sources, preselect and balance, by what all pairs give or what was stored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.balance.inputs import BalanceFacts, matched_entries, pick_of_all, stored_rule, sum_tables
from evenly.curation.balance.parts import Balancing, PicksByUrl, SourceMixing
from evenly.curation.balance.source_mixing import MixRule, SourceCut, SourceRule, source_table, stored_cuts
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.step import ByLedger, Given, Judged, Judgement, PartTables, Rejudging, always


@contextmanager
def _open_balancing(given: Given) -> Iterator[Rejudging]:
    with ExitStack() as stack:
        picks: Any = None
        if given.rule.texts != "each" and given.exchange is not None:
            exchange = stack.enter_context(given.exchange())
            picks = PicksByUrl.of(exchange, given.each, given.upstream, seed=given.seed)
        else:
            picks = pick_of_all(given.tables, given.upstream, given.rule, seed=given.seed)
        step = given.record.name
        balancing = Balancing(step=step, upstream=given.upstream, rule=given.rule, seed=given.seed, picks=picks)
        if given.recounts:
            facts, known = balancing.facts(given.each, given.tables), "from the matches of all pairs counted again"
        else:
            facts, known = BalanceFacts.stored(given.tables, given.record, given.upstream), "as stored"

        def judge(tables: PartTables) -> Judged:
            judged = balancing.judged(facts, tables)
            n_draws = len(judged.tables["draws"]["draws"].combine_chunks().flatten())
            draws = {0: "no draw needed", 1: "1 draw made again"}.get(n_draws, f"{n_draws:,} draws made again")
            partial_sums = judged.partial if given.recounts else None
            return replace(judged, partial=partial_sums, detail=f"{draws}, probabilities {known}")

        def totals(partials: Sequence[pa.Table]) -> Mapping[str, pa.Table]:
            concepts = matched_entries(given.tables, given.upstream)
            sums = BalanceSums.summed(partials, facts.languages, len(concepts))
            return sum_tables(given.rule, facts, concepts, sums)

        yield Rejudging(judge=judge, totals=totals)


def _mixing(given: Given) -> SourceMixing:
    return SourceMixing(upstream=given.upstream, rules=given.rule.sources, seed=given.seed)


def _cut(given: Given) -> tuple[Mapping[str, SourceCut], str | None]:
    """Where the kept pairs of each source end, and which source bounds a mix of shares, if it is counted again."""
    if given.recounts:
        return _mixing(given).cuts(given.each)
    return stored_cuts(given.rule.sources, given.tables, given.record), None


def _mixed(given: Given, facts: tuple[Mapping[str, SourceCut], str | None], tables: PartTables) -> Judged:
    """Each pair by its source: the value is its draw, `mix_threshold` what that must be below."""
    cuts, mixing = facts[0], _mixing(given)
    known = f"from {sum(cut.pairs for cut in cuts.values()):,} pairs ranked again" if given.recounts else "as stored"
    judged = mixing.decided(cuts, tables)
    if not given.recounts and pc.any(pc.equal(judged.decisions.value, judged.columns["mix_threshold"])).as_py():
        judged = mixing.decided(mixing.cuts(given.each)[0], tables)  # where draws are equal, uids decide
    return replace(judged, detail=f"draw made again, threshold {known}")


def _limiting(_given: Given, facts: tuple[Mapping[str, SourceCut], str | None]) -> dict[str, str]:
    return {} if facts[1] is None else {"limiting_source": facts[1]}


_balancing: Callable[..., Judgement] = partial(
    Judgement,
    value="P(keep)",
    load=stored_rule,
    rule=BalanceRule,
    rejudge=_open_balancing,
    of_all=always,
    needs=lambda _: {"": ["matches"]},
    seeded=True,
)
PRESELECT = _balancing(name="preselect", section="preselect", question="Is it drawn for download, heads less often?")
BALANCE = _balancing(name="balance", section="balance", question="Is it drawn, heads less often than tails?")
MIX_SOURCES = Judgement(
    name="mix_sources",
    question="Is it drawn from its source?",
    value="draw",
    load=lambda stored: MixRule(sources={name: SourceRule(**rule) for name, rule in stored["sources"].items()}),
    rejudge=ByLedger(
        facts=_cut,
        judge=_mixed,
        totals=lambda given, facts: {"sources": source_table(given.rule.sources, facts[0])},
        notes=_limiting,
    ),
    rule=MixRule,
    of_all=always,
    seeded=True,
    decides=lambda stored, pair: {pair["source"]: stored["sources"][pair["source"]]},
)
