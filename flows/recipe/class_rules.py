"""The rules by which class lists are described and their adapters evaluated, and the run that describes one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenly.adapters.class_texts import DESCRIBING, SYNONYMS, EditedTexts, EvaluationRule
from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.descriptions.chat.endpoint import LanguageModel
from evenly.descriptions.described import METHODS_ABOUT_PAIRS, DescribeRule, NamesRule
from evenly.descriptions.methods import METHODS, UnknownMethodError
from evenly.descriptions.methods.caption_phrases import CaptionPhrases
from evenly.flows.cli.classes.description_versions import edited_description
from evenly.flows.recipe import Recipe, Source
from evenly.flows.recipe.files import ClassListing, ListingText, read_listing
from evenly.flows.runs import build_run, pool_of, workspace_run
from evenly.signatures import Place
from evenly.storage.builds import Builds
from evenly.storage.ledger import StepRecord
from evenly.tasks.classes.confusable import FIND_CONFUSABLE, ConfusableRule
from evenly.tasks.classes.describe import accepted, finished_description
from evenly.tasks.classes.phrases import FIND_PHRASES, PhrasesRule
from evenly.tasks.classes.selection import NOT_JUDGED, SELECT_TEXTS, selection_rule
from evenly.tasks.run import EncoderChoice, Records, Run
from evenly.tasks.splits import split_of_build

DEFAULT_METHODS = ("description", "synonyms")


def describe_rule(listing: ListingText, *, methods: Sequence[str] | None, llm: LanguageModel) -> DescribeRule:
    """The rule of the step `describe`. Raises ClassListError and UnknownMethodError before anything is started."""
    chosen = tuple(methods or DEFAULT_METHODS)
    unknown = [method for method in chosen if method not in METHODS]
    if unknown:
        raise UnknownMethodError(f"`methods` must be of {', '.join(METHODS)}; got `{unknown[0]}`. Choose one of these.")
    return DescribeRule(
        class_list=listing.class_list, text=listing.text, methods=chosen, base_url=llm.base_url, model=llm.model
    )


def pairs_rule(
    rule: DescribeRule, *, pairs: ConfusablePairs, build: str | None, split: str | None
) -> ConfusableRule | None:
    """The rule of the step `find_confusable` before `describe` by `rule`; None where no method is about pairs."""
    if METHODS_ABOUT_PAIRS.isdisjoint(rule.methods):
        return None
    return ConfusableRule(
        list=rule.class_list.name, classes=rule.class_list.classes, build=build, split=split, **vars(pairs)
    )


def phrases_rule(rule: DescribeRule, *, build: str | None, split: str | None) -> PhrasesRule | None:
    """The rule of the step `find_phrases` before `describe` by `rule`; None where no method takes phrases of captions.

    Without a build there are no captions.
    """
    if build is None or CaptionPhrases.name not in rule.methods:
        return None
    return PhrasesRule(list=rule.class_list.name, classes=rule.class_list.classes, build=build, split=split)


def evaluation_rules(run: Run, recipe: Recipe, path: Place, build: str) -> list[EvaluationRule]:
    """The rule of the step `evaluate_adapters` for each class list of a recipe, on one build.

    Texts are those of the newest description of the list by the recipe's methods and endpoint, where there is one.
    """
    manifest = Builds(run.workspace).read(f"{recipe.name}-latest" if build == "latest" else build)
    return [_evaluation_rule(run, recipe, path, manifest["build"], listing) for listing in recipe.classes]


def _evaluation_rule(run: Run, recipe: Recipe, path: Place, build: str, listing: ClassListing) -> EvaluationRule:
    file = read_listing(path, listing)
    split = None if recipe.labels is None else recipe.labels.split
    rule = describe_rule(file, methods=listing.methods, llm=recipe.llm)
    confusable = pairs_rule(rule, pairs=listing.pairs, build=build, split=split)
    described = _finished_description(run, rule, confusable, phrases_rule(rule, build=build, split=split))
    edited = _edited(run, path, listing, file)
    return EvaluationRule(
        build=build,
        list=file.name,
        classes=rule.class_list.classes,
        adapters=listing.adapters,
        **_texts(run, _selected(run, described, rule, build=build, split=split), edited),
        contexts=listing.contexts,
        negations=listing.negations,
        rejections=listing.rejections,
        unseen=listing.unseen,
        split=split,
        aggregate=listing.aggregate,
        frequent_names=listing.frequent_names,
        templates=listing.templates,
        **({} if confusable is None else _about_pairs(run, listing, described)),
    )


def _finished_description(
    run: Run, rule: DescribeRule, confusable: ConfusableRule | None, phrases: PhrasesRule | None
) -> StepRecord | None:
    """The record of `describe` by the rule, after those of the steps before it; None where one of them is missing."""
    keys = [] if confusable is None else [FIND_CONFUSABLE.spec(run, (), confusable).key]
    keys += [] if phrases is None else [FIND_PHRASES.spec(run, (), phrases).key]
    records = [record for key in keys if (record := run.ledger.find(key)) is not None]
    return None if len(records) < len(keys) else finished_description(run, records, rule)


def _selected(
    run: Run, described: StepRecord | None, rule: DescribeRule, *, build: str, split: str | None
) -> StepRecord | None:
    """The record of `select_texts` on the build; that of the description where no texts were chosen."""
    if described is None:
        return None
    chosen = selection_rule(described, classes=rule.class_list.classes, build=build, split=split)
    return run.ledger.find(SELECT_TEXTS.spec(run, (described,), chosen).key) or described


def _edited(run: Run, path: Place, listing: ClassListing, file: ListingText) -> StepRecord | None:
    """The texts that the recipe gives by a file beside it, as the record that holds them."""
    if listing.given is None:
        return None
    return edited_description(run.ledger, file, Path(path).resolve().parent / listing.given, method="description")


def _texts(run: Run, described: StepRecord | None, edited: StepRecord | None) -> dict[str, Any]:
    """`describe`, `texts` and `phrases`: those of the description, but of the edited methods what a person gave.

    `given` says which methods these are, of which file.
    """
    records = [record for record in (described, edited) if record is not None]
    read = [accepted(run, record) for record in records]
    texts = {method: per_class for kept in read for method, per_class in kept.texts().items()}
    phrases = [
        kept.phrases() for record, kept in zip(records, read, strict=True) if {*DESCRIBING} & {*record.rule["methods"]}
    ]
    fields = {
        "describe": records[0].key if records else None,
        "texts": texts,
        "phrases": phrases[-1] if phrases else {},
    }
    if edited is None:
        return fields
    edited_texts = EditedTexts(
        methods=tuple(edited.notes["methods"]),
        file=edited.notes["file"],
        sha256=edited.notes["sha256"],
        step=edited.key,
    )
    return fields | {"given": edited_texts}


def _about_pairs(run: Run, listing: ClassListing, described: StepRecord | None) -> dict[str, Any]:
    """The texts about pairs, and about how many pairs of how many they are."""
    facts = {} if described is None else {name: described.notes[name] for name in ("pairs_asked", "pairs_possible")}
    return {
        "pair_texts": [] if described is None else accepted(run, described).of_pairs(),
        "pairs": {"top": listing.pairs.top} | facts,
    }


@dataclass(frozen=True, kw_only=True)
class Describing:
    """The run, and the rules of `describe`, the steps before it and `count_names`; None: there is no need of the step.

    `pictured` is the build by whose pictures texts are chosen, in the parts of the file `split`; None: all stay.
    """

    run: Run
    rule: DescribeRule
    pairs: ConfusableRule | None
    phrases: PhrasesRule | None
    names: NamesRule | None
    pictured: str | None
    split: str | None

    def with_phrases(self, upstream: Records | None) -> Records | None:
        """These records and that of `find_phrases`, where there is need of it; None where one is not there."""
        if self.phrases is None or upstream is None:
            return upstream
        record = self.run.ledger.find(FIND_PHRASES.spec(self.run, (), self.phrases).key)
        return None if record is None else (*upstream, record)

    def choice(self, described: StepRecord) -> StepRecord | None:
        """The record of `select_texts` after that of `describe`; None where no texts were chosen."""
        if self.pictured is None:
            return None
        chosen = _selected(self.run, described, self.rule, build=self.pictured, split=self.split)
        return None if chosen is described else chosen


@dataclass(frozen=True, kw_only=True)
class ListContext:
    """The source of a description beside the class list: a build, or a pool of captions.

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
        run, build, pictured = workspace_run(root, quiet=quiet, encoder=encoder), None, None
        run = replace(run, progress=replace(run.progress, subject=rule.class_list.name))
    else:
        run = build_run(context.build, root=root, quiet=quiet)
        manifest = Builds(run.workspace).read(context.build)
        build = str(manifest["build"])
        pictured = build if manifest["encoder"] is not None and {*rule.methods} - NOT_JUDGED else None
        if context.split is None:
            context = replace(context, split=split_of_build(run, manifest))
    if context.pool is not None:
        run = replace(run, sources=(pool_of(replace(run, folder=Path()), context.pool),))
    counts = {*SYNONYMS} & {*rule.methods} and (build is not None or context.pool is not None)
    return Describing(
        run=replace(run, payment=llm),
        rule=rule,
        pairs=pairs_rule(rule, pairs=context.pairs, build=build, split=context.split),
        phrases=phrases_rule(rule, build=build, split=context.split),
        pictured=pictured,
        split=context.split,
        names=NamesRule(class_list=rule.class_list, build=build if context.pool is None else None) if counts else None,
    )
