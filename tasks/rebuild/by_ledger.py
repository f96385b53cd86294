"""Steps that judge by what the ledger shows alone: all of them is their judgement, in evenly.curation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from evenly.curation.errors import RuleError
from evenly.curation.step import ByLedger, Given, Judgement, gives
from evenly.curation.steps import STEPS
from evenly.storage.ledger import StepOutput
from evenly.tasks.engine import InProcess
from evenly.tasks.run import Each, EachLedger, Records, Run
from evenly.tasks.step import Step, nothing


@dataclass(frozen=True, kw_only=True)
class _Unfinished:
    """The record of a step that runs, as its judgement is given it: it has stored nothing."""

    name: str
    columns: Sequence[str] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _OfLedger:
    """A judgement that runs by the ledger alone, as the functions of a `Step`."""

    name: str

    def given(self, run: Run, upstream: Records, rule: object, each: Each | None = None) -> Given:
        """What the judgement is given; work on every part for its facts alone."""
        reads = STEPS[self.name].reads
        return Given(
            record=_Unfinished(name=self.name),
            upstream=upstream,
            rule=rule,
            seed=run.seed,
            notes={},
            reads=() if reads is None else reads(upstream, rule),
            tables=run.ledger,
            each=EachLedger(each=each or InProcess(run=run)),
        )

    @property
    def judgement(self) -> ByLedger:
        """How it judges."""
        return cast("ByLedger", STEPS[self.name].rejudge)

    def resolve(self, run: Run, upstream: Records, rule: object, each: Each) -> Any:  # noqa: ANN401 - its facts
        """What it must know of all pairs."""
        return self.judgement.facts(self.given(run, upstream, rule, each))

    def judge(self, run: Run, upstream: Records, rule: object, facts: object = None) -> StepOutput:
        """The pairs of a partition. Raises RuleError for a column that pairs have before the step gives it."""
        judged = self.judgement.judge(self.given(run, upstream, rule), facts, run.ledger)
        decisions = judged.decisions.to_table(judged.uids)
        for name, values in judged.columns.items():
            if gives(upstream, name):
                raise RuleError(
                    f"a column of the pool must not be called as one that step `{self.name}` gives; got {name!r}. "
                    "Rename it in the pool."
                )
            decisions = decisions.append_column(name, values)
        return StepOutput(decisions=decisions, tables=judged.tables)

    def shared(self, run: Run, upstream: Records, rule: object, facts: object) -> StepOutput:
        """Its tables and notes of all pairs."""
        given, judgement = self.given(run, upstream, rule), self.judgement
        tables = {} if judgement.totals is None else judgement.totals(given, facts)
        return StepOutput(tables=tables, notes=judgement.notes(given, facts))


def ledger_step(judgement: Judgement) -> Step[Any]:
    """The step of a judgement that runs by the ledger alone. Raises TypeError for another."""
    if not isinstance(judgement.rejudge, ByLedger):
        raise TypeError(f"step `{judgement.name}` must judge by the ledger alone, or have a Step in tasks/rebuild")
    of_ledger = _OfLedger(name=judgement.name)
    return Step(
        name=judgement.name,
        rule=judgement.rule,
        version=judgement.version,
        seeded=judgement.seeded,
        judge=of_ledger.judge,
        shared=of_ledger.shared,
        resolve=of_ledger.resolve if judgement.rejudge.has_facts else nothing,
    )
