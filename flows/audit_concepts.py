"""Audit how often the captions of a build or a pool name classes, and how often they mean them."""

from dataclasses import replace

from evenly.curation.concepts.name_audit import FrequencyRule
from evenly.descriptions.chat.endpoint import LanguageModel
from evenly.descriptions.relevance import RelevanceRule
from evenly.flows.recipe import Source
from evenly.flows.runs import build_run, in_shared_use, pool_of, workspace_run
from evenly.tasks.classes.frequency import AUDIT_CONCEPTS, JUDGE_RELEVANCE
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_step


@job("audit-concepts", flow_run_name="audit concepts of {rule.list}")
@in_shared_use
def audit_concepts(
    rule: FrequencyRule,
    judging: RelevanceRule | None = None,
    llm: LanguageModel = LanguageModel(),  # noqa: B008 - frozen
    pool: Source | None = None,
    root: str | None = None,
    quiet: bool = False,
) -> list[str]:
    """Count the names of `rule` (as flows/cli/datasets/concept_audit.py makes it) in the rule's build, or in `pool`.

    With `judging`, a language model judges a sample of the captions. The keys of the step records, in order.
    """
    if rule.build is None:
        run = workspace_run(root, quiet=quiet)
        run = run if pool is None else replace(run, sources=(pool_of(run, pool),))
    else:
        run = build_run(rule.build, root=root, quiet=quiet)
    run = replace(run, payment=llm)
    counted = run_step(run, AUDIT_CONCEPTS, (), rule)
    if judging is None:
        return [counted.key]
    return [counted.key, run_step(run, JUDGE_RELEVANCE, (counted,), judging).key]
