"""The judgements of the steps that mix sources, preselect and balance, by what all pairs give or what was stored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.balance.parts import (
    BalanceFacts,
    Balancing,
    matched_entries,
    pick_of_all,
    stored_rule,
    sum_tables,
)
from evenly.curation.balance.picked_texts import PicksByUrl
from evenly.curation.balance.source_mixing import (
    MixRule,
    SourceCut,
    SourceMixing,
    SourceRule,
    source_table,
    stored_cuts,
)
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import BalanceRule
from evenly.curation.step import ByLedger, Given, Judged, Judgement, PartTables, Rejudging, always


@contextmanager
def _open_balancing(inputs: Given) -> Iterator[Rejudging]:
    with ExitStack() as stack:
        picks: Any = None
        if inputs.rule.texts != "each" and inputs.exchange is not None:
            exchange = stack.enter_context(inputs.exchange())
            picks = PicksByUrl.of(exchange, inputs.each, inputs.upstream, seed=inputs.seed)
        else:
            picks = pick_of_all(inputs.tables, inputs.upstream, inputs.rule, seed=inputs.seed)
        step = inputs.record.name
        balancing = Balancing(step=step, upstream=inputs.upstream, rule=inputs.rule, seed=inputs.seed, picks=picks)
        if inputs.recounts:
            facts, basis = balancing.facts(inputs.each, inputs.tables), "from the matches of all pairs counted again"
        else:
            facts, basis = BalanceFacts.stored(inputs.tables, inputs.record, inputs.upstream), "as stored"

        def judge(tables: PartTables) -> Judged:
            judged = balancing.judged(facts, tables)
            n_draws = len(judged.tables["draws"]["draws"].combine_chunks().flatten())
            draws = {0: "no draw needed", 1: "1 draw made again"}.get(n_draws, f"{n_draws:,} draws made again")
            partial_sums = judged.partial if inputs.recounts else None
            return replace(judged, partial=partial_sums, detail=f"{draws}, probabilities {basis}")

        def totals(partials: Sequence[pa.Table]) -> Mapping[str, pa.Table]:
            concepts = matched_entries(inputs.tables, inputs.upstream)
            sums = BalanceSums.summed(partials, facts.languages, len(concepts))
            return sum_tables(inputs.rule, facts, concepts, sums)

        yield Rejudging(judge=judge, totals=totals)


def _mixing(inputs: Given) -> SourceMixing:
    return SourceMixing(upstream=inputs.upstream, rules=inputs.rule.sources, seed=inputs.seed)


def _cut(inputs: Given) -> tuple[Mapping[str, SourceCut], str | None]:
    """Where the kept pairs of each source end, and which source bounds a mix of shares, if it is counted again."""
    if inputs.recounts:
        return _mixing(inputs).cuts(inputs.each)
    return stored_cuts(inputs.rule.sources, inputs.tables, inputs.record), None


def _mixed(inputs: Given, facts: tuple[Mapping[str, SourceCut], str | None], tables: PartTables) -> Judged:
    """Each pair by its source: the value is its draw, `mix_threshold` the bound of the draw."""
    cuts, mixing = facts[0], _mixing(inputs)
    basis = f"from {sum(cut.pairs for cut in cuts.values()):,} pairs ranked again" if inputs.recounts else "as stored"
    judged = mixing.decided(cuts, tables)
    if not inputs.recounts and pc.any(pc.equal(judged.decisions.value, judged.columns["mix_threshold"])).as_py():
        judged = mixing.decided(mixing.cuts(inputs.each)[0], tables)  # where draws are equal, uids decide
    return replace(judged, detail=f"draw made again, threshold {basis}")


def _limiting(_inputs: Given, facts: tuple[Mapping[str, SourceCut], str | None]) -> dict[str, str]:
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
        totals=lambda inputs, facts: {"sources": source_table(inputs.rule.sources, facts[0])},
        notes=_limiting,
    ),
    rule=MixRule,
    of_all=always,
    seeded=True,
    decides=lambda stored, pair: {pair["source"]: stored["sources"][pair["source"]]},
)
