"""Describe a class list: by hand, within a rebuild, or caused by the event of `evenly describe --submit`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import WithJsonSchema

from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.descriptions.chat.endpoint import LanguageModel
from evenly.descriptions.methods import METHODS
from evenly.flows.recipe import Source
from evenly.flows.recipe.class_rules import ListContext, describe_rule, describing
from evenly.flows.recipe.files import ListingText
from evenly.flows.runs import in_shared_use
from evenly.options import DescribeOptions, LanguageModelOptions
from evenly.signatures import Quiet, fields_of, options_of, taking_values
from evenly.tasks.classes.confusable import confusable_pairs
from evenly.tasks.classes.describe import COUNT_NAMES, DESCRIBE, announce_described
from evenly.tasks.classes.phrases import FIND_PHRASES
from evenly.tasks.classes.selection import select_helpful_texts
from evenly.tasks.run import EncoderChoice
from evenly.tasks.server.jobs import ended, job
from evenly.tasks.stage import run_step

_Method = Annotated[str, WithJsonSchema({"type": "string", "enum": [*METHODS]})]


@dataclass(frozen=True, kw_only=True)
class ListOptions(LanguageModelOptions):
    """Options of each class list that a flow describes."""

    methods: Annotated[Sequence[_Method] | None, "Description methods; default: description and synonyms."] = None
    encoder: Annotated[
        str, "The open_clip model that tells whether a synonym means its own class; a build has its own."
    ] = "embedded"
    pretrained: Annotated[str | None, "The encoder's weights: a tag of open_clip, or a file."] = None
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class ListDescription(ListOptions, DescribeOptions):
    """Options of the flow: those of the command, and what only a run or a deployment says."""

    split: Annotated[str | None, "The file of parts of the build, else the build's own."] = None
    pairs: Annotated[
        ConfusablePairs, "Which pairs of classes count as taken for each other, for methods that tell classes apart."
    ] = field(default_factory=ConfusablePairs)
    pool: Annotated[Source | None, "A pool whose captions say how names occur, where there is no build."] = None


@job("describe-classes", flow_run_name="describe {name}")
@in_shared_use
@taking_values(ListDescription)
def describe_classes(
    name: Annotated[str, "The name of the class list."],
    text: Annotated[str, "Its classes, one per line."],
    **values: object,
) -> str:
    """Describe the classes of `text`, one per line, by each of the methods; the key of the step record."""
    options = options_of(ListDescription, values)
    llm = LanguageModel(**fields_of(LanguageModel, options))
    todo = describing(
        describe_rule(ListingText(name=name, text=text), methods=options.methods, llm=llm),
        llm,
        encoder=EncoderChoice(model=options.encoder, pretrained=options.pretrained),
        context=ListContext(build=options.build, split=options.split, pairs=options.pairs, pool=options.pool),
        root=options.root,
        quiet=options.quiet,
    )
    upstream = [] if todo.pairs is None else [confusable_pairs(todo.run, todo.pairs)]
    upstream += [] if todo.phrases is None else [run_step(todo.run, FIND_PHRASES, (), todo.phrases)]
    described = run_step(todo.run, DESCRIBE, upstream, todo.rule)
    outcome = announce_described(todo.run, described)
    if todo.pictured is not None:
        select_helpful_texts(
            todo.run, described, classes=todo.rule.class_list.classes, build=todo.pictured, split=todo.split
        )
    if todo.names is not None:
        run_step(todo.run, COUNT_NAMES, (described,), todo.names)
    return ended(described.key, outcome)
