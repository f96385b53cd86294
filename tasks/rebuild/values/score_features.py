"""Measure pairs by methods of evenly on stored features: those of the build's encoder, or of one that a value names."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from evenly.curation.decisions import Decisions
from evenly.curation.values import methods
from evenly.curation.values.methods import MethodsRule
from evenly.curation.values.scoring import refuse_taken
from evenly.storage.files.features import read_linear_head
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.pictures.sent_rows import SentRows, rows_of_uids
from evenly.tasks.rebuild.values.contrasts import measure_negclip_loss
from evenly.tasks.rebuild.values.measuring import Measuring
from evenly.tasks.rebuild.values.of_pictures import measure_aesthetic, measure_normsim
from evenly.tasks.rebuild.values.prunings import measure_density, measure_normsim_d
from evenly.tasks.rebuild.values.soft_caps import measure_soft_cap
from evenly.tasks.reference_sets import check_references, references_hash
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Step, each_for, run_for

MEASURES: Mapping[str, Callable[[Measuring], SentRows]] = {
    "negclip_loss": measure_negclip_loss,
    "normsim": measure_normsim,
    "normsim_d": measure_normsim_d,
    "density": measure_density,
    "aesthetic": measure_aesthetic,
    "soft_cap": measure_soft_cap,
}
"""The columns that each method gives pairs, by uid."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The columns of each value [uid, ...], by uid."""

    values: Mapping[str, SentRows]

    def release(self) -> None:
        """Remove what was sent."""
        for rows in self.values.values():
            rows.release()


def measure_pairs(run: Run, upstream: Records, rule: MethodsRule, engine: Each) -> Measured:
    """Measure all pairs by one method after the other."""
    values = dict[str, SentRows]()
    with ExitStack() as undone:
        for method in rule.in_order:
            refuse_taken(method.name, method.columns, upstream)
            (kind,) = method.chosen
            model_run, runner = run_for(run, method), each_for(engine, method)
            inputs = Measuring(
                run=model_run, upstream=upstream, engine=runner, name=method.name, rule=method.rule, values=dict(values)
            )
            values[method.name] = undone.enter_context(MEASURES[kind](inputs))
        undone.pop_all()
    return Measured(values=values)


def give_values(run: Run, upstream: Records, _rule: MethodsRule, measured: Measured) -> StepOutput:
    """The values as columns of the pairs of a partition; all stay."""
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    decisions = Decisions.keep_all(len(uids)).to_table(uids)
    for rows in measured.values.values():
        table = rows_of_uids(rows.of(run), uids)
        for name in table.column_names[1:]:
            decisions = decisions.append_column(name, table[name])
    return StepOutput(decisions=decisions)


def _hashes(run: Run, _upstream: Records, rule: MethodsRule) -> dict[str, str]:
    """The hashes of files, and the identities of encoders that methods name beside the run's."""
    files = {f"{name} {field}": references_hash(run, path) for name, field, path in rule.files}
    named = [method for method in rule.methods if method.model is not None]
    return files | {f"model of {method.name}": encoder_identity(run_for(run, method)) for method in named}


def _check_ready(run: Run, rule: MethodsRule) -> None:
    for _, field, path in rule.files:
        if field == "aesthetic.head":
            read_linear_head(Path(run.locate(path)))
        else:
            check_references(run, path)


SCORE_FEATURES = Step(
    name=methods.SCORE_FEATURES.name,
    rule=MethodsRule,
    resolve=measure_pairs,
    judge=give_values,
    release=Measured.release,
    inputs=_hashes,
    model=step_encoder,
    ready=_check_ready,
    seeded=True,
    version=2,
)
