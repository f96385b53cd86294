"""The run and the rules of the steps that describe a class list."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.flows.recipe import Source
from evenly.flows.recipe.class_rules import pairs_rule
from evenly.flows.runs import build_run, pool_of, workspace_run
from evenly.storage.builds import Builds
from evenly.tasks.classes.confusable import ConfusableRule
from evenly.tasks.classes.describe import METHODS_ABOUT_PAIRS, DescribeRule
from evenly.tasks.classes.names import NamesRule
from evenly.tasks.classes.texts import SYNONYMS
from evenly.tasks.run import EncoderChoice, LanguageModel, Run
from evenly.tasks.splits import split_of_build


@dataclass(frozen=True, kw_only=True)
class Describing:
    """The run, and the rules of `describe`, `find_confusable` and `count_names`; None: there is no need of the step."""

    run: Run
    rule: DescribeRule
    pairs: ConfusableRule | None
    names: NamesRule | None


@dataclass(frozen=True, kw_only=True)
class ListContext:
    """What a description may draw on beside the class list: a build, or a pool of captions.

    `build` gives the encoder and the pictures that tell which pairs of classes are taken for each other, in the parts
    of the file `split`, else of the build's own, and the captions in which names are counted; `pool` other captions.
    """

    build: str | None = None
    split: str | None = None
    pairs: ConfusablePairs = field(default_factory=ConfusablePairs)
    pool: Source | None = None


def describing(
    rule: DescribeRule,
    llm: LanguageModel,
    context: ListContext,
    *,
    root: str | os.PathLike[str] | None,
    encoder: EncoderChoice | None = None,
    quiet: bool = False,
) -> Describing:
    """The steps of one class list by a rule (class_rules.describe_rule); nothing is started."""
    if context.build is None:
        run, build = workspace_run(root, quiet=quiet, encoder=encoder), None
        run = replace(run, progress=replace(run.progress, subject=rule.class_list.name))
    else:
        run = build_run(context.build, root=root, quiet=quiet)
        manifest = Builds(run.workspace).read(context.build)
        build = str(manifest["build"])
        if context.split is None and not METHODS_ABOUT_PAIRS.isdisjoint(rule.methods):
            context = replace(context, split=split_of_build(run, manifest))
    if context.pool is not None:
        run = replace(run, sources=(pool_of(replace(run, folder=Path()), context.pool),))
    counts = {*SYNONYMS} & {*rule.methods} and (build is not None or context.pool is not None)
    return Describing(
        run=replace(run, payment=llm),
        rule=rule,
        pairs=pairs_rule(rule, pairs=context.pairs, build=build, split=context.split),
        names=NamesRule(class_list=rule.class_list, build=build if context.pool is None else None) if counts else None,
    )
